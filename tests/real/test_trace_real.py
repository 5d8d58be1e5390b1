"""The causal trace of the default model: what only a real model shows, the two sites of a fact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.case import Case
from workbench.methods.tracing import causal_trace
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

EIFFEL = Case(prompt="The Eiffel Tower is located in the city of", subject="Eiffel Tower")


def test_the_eiffel_tower_has_an_early_site_at_its_subject_and_a_late_one_at_the_last_token(
    default_model: LoadedModel,
) -> None:
    result = causal_trace.run(default_model, TraceRequest(case=EIFFEL, samples=1, seed=2), silent)
    assert result.answer == " Paris"
    assert result.clean == pytest.approx(0.70, abs=0.01)
    assert result.corrupted < 0.05
    grid = result.grid("states")
    assert grid is not None
    assert grid.complete
    assert grid.peak is not None
    assert result.encoded.subject is not None
    start, stop = result.encoded.subject
    assert start <= grid.peak.token < stop
    assert grid.peak.layer < 15
    share = result.share(grid.peak.value)
    assert share is not None
    assert share > 0.4
    last = [result.share(row[-1] or 0.0) or 0.0 for row in grid.values]
    assert max(last[:20]) < 0.2
    assert last[-1] == pytest.approx(1.0, abs=1e-4)
    assert next(check for check in result.checks if check.name == "path").level == "ok"
