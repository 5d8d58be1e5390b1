"""Patching on the default model: a passage with two names, and the same passage in the order that it reads rightly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.case import Case
from workbench.methods.patching import patching
from workbench.methods.patching.patching import PatchRequest
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

COPIED = Case(
    prompt="Peter lives in Berlin. Emma lives in Lisbon. I visited Peter in",
    target="Berlin",
    foil="Lisbon",
    prepend="separator",
)
REORDERED = "Emma lives in Lisbon. Peter lives in Berlin. I visited Peter in"


def test_the_answer_stands_at_the_right_name_in_the_middle_layers_and_at_the_last_token_from_block_23(
    default_model: LoadedModel,
) -> None:
    result = patching.run(default_model, PatchRequest(case=COPIED, source=REORDERED), silent)
    assert (result.base_top, result.source_top) == (" Lisbon", " Berlin")
    assert result.base < -1
    assert result.source > 0
    (grid,) = result.grids
    assert grid.complete
    name = result.encoded.texts.index(" Berlin")
    assert result.encoded_source.texts[result.partners[name]] == " Berlin"
    at_name = [row[name] or 0.0 for row in grid.values]
    at_last = [row[-1] or 0.0 for row in grid.values]
    assert max(at_name[10:18]) > 0.3
    assert max(at_last[:18]) < 0.2
    assert min(at_last[24:]) > 0.8
    assert at_last[-1] == pytest.approx(1, abs=1e-4)
    assert result.correlations[0] is not None
    assert result.correlations[0] > 0.85
