"""What adds to Canberra and what to Sydney in the default case, and that it is all there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.case import Case
from workbench.methods.dla import logit_attribution as dla
from workbench.methods.dla.logit_attribution import DlaRequest
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")


def test_the_default_cases_parts_sum_to_the_models_own_difference(default_model: LoadedModel) -> None:
    result = dla.run(default_model, DlaRequest(case=HERO), silent)
    summed = result.embedding + sum(result.attention) + sum(result.mlp) + result.bias
    assert result.difference < 0  # Sydney is ahead
    assert summed == pytest.approx(result.difference, abs=1e-4)
    assert result.checks[0].level == "ok"
    late = sum(abs(part) for part in result.attention[20:] + result.mlp[20:])
    assert late > sum(abs(part) for part in result.attention[:20] + result.mlp[:20])  # facts are written late
