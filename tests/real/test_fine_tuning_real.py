"""The default case, fine-tuned: within bounds where ROME edits too, and without them at a late layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.test_edits import digest
from workbench.case import Case
from workbench.editing.editors.fine_tuning import FT_L, FT_M, FtLSettings, FtMSettings
from workbench.protocol import silent

if TYPE_CHECKING:
    from workbench.editing.editor import Editor
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")


def first_choice(model: LoadedModel, prompt: str) -> str:
    ids = torch.tensor([model.tokenizer(prompt).input_ids])
    with torch.no_grad():
        return str(model.tokenizer.decode([int(model.hf(ids).logits[0, -1].argmax())]))


@pytest.mark.parametrize(("editor", "settings"), [(FT_L, FtLSettings()), (FT_M, FtMSettings(layer=20))])
def test_the_default_case_is_fine_tuned_soundly_and_taken_back(
    default_model: LoadedModel, unedited: str, editor: Editor, settings: FtMSettings
) -> None:
    assert first_choice(default_model, HERO.prompt) == " Sydney"
    made = editor.make(default_model, (HERO,), settings, silent)
    details = made.details.model_dump()
    assert details["layer"] == (20 if settings.layer else 5)
    assert details["probability_before"] == pytest.approx(0.34, abs=0.01)
    assert details["probability"] > 0.9
    assert [check.name for check in (*made.gates, *made.details.checks) if check.level == "warn"] == []
    with default_model.edits.added(made.edit):
        assert first_choice(default_model, HERO.prompt) == " Canberra"
        assert first_choice(default_model, "The capital of France is") == " Paris"
    assert digest(default_model) == unedited
