"""Steering the default model: replies become more formal where they are steered to, and the model stays fluent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from workbench.editing import edit
from workbench.editing.edit import EditRequest
from workbench.editing.editors.steering.steered import Steered
from workbench.editing.editors.steering.steering import ContrastSettings
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real


def test_replies_become_more_formal_and_stay_fluent(default_model: LoadedModel) -> None:
    """More strongly than is documented, so that short replies show it."""
    settings = ContrastSettings(contrast="formality", layers=(8,), strength=0.4, tokens=24)
    result = edit.run(default_model, EditRequest(editor="contrast", settings=settings, test=False), silent)
    try:
        found = result.details
        assert isinstance(found, Steered)
        assert found.directions[0].told_apart >= 0.9
        assert found.behaviour.works()
        assert found.behaviour.fluent
        assert found.behaviour.effect.value > 1
        assert abs(found.behaviour.perplexity_growth) < 0.08
        assert result.sound
    finally:
        default_model.edits.undo()
