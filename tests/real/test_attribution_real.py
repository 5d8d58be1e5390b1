"""Attribution on the default model, where plain integrated gradients do not converge and ours must."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.case import Case
from workbench.methods.attribution import attribution
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

HERO = Case(prompt="The capital of Australia is", target="Canberra", foil="Sydney", prepend="separator")


def test_integrated_gradients_converge_on_the_hero_case_after_a_separator(default_model: LoadedModel) -> None:
    result = attribution.run(default_model, AttributionRequest(case=HERO), silent)
    difference = result.value - result.baseline_value
    assert result.completeness_share is not None
    assert result.completeness_share <= 0.05
    assert result.evaluations <= 150
    assert sum(result.scores) == pytest.approx(difference, abs=0.05 * abs(difference))
    assert result.scores[0] == 0.0  # the separator stays fixed


def test_occlusion_sums_are_not_complete_and_say_so(default_model: LoadedModel) -> None:
    result = attribution.run(default_model, AttributionRequest(case=HERO, method="occlusion"), silent)
    australia = result.encoded.texts.index(" Australia")
    assert result.evaluations < 10
    assert result.scores[australia] != 0.0
    completeness = next(check for check in result.checks if check.name == "completeness")
    assert result.completeness_share is not None
    assert result.completeness_share > 0.05
    assert "does not promise" in completeness.text
