"""The perplexity of the unedited default model; its answers to a suite are in the story of the edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.editing.suite.held_out import perplexity

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real


def test_the_held_out_perplexity(default_model: LoadedModel) -> None:
    assert perplexity(default_model) == pytest.approx(23.94, abs=0.1)
