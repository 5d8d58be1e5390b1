"""The default case, edited: what the model says with the edit, without it, and with it again elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.test_edits import digest
from workbench.case import Case
from workbench.editing import edit
from workbench.editing import operations as edit_queue
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.rome.details import RomeDetails
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.operations import QueueRequest
from workbench.protocol import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")


@pytest.fixture
def edited(default_model: LoadedModel, shared_statistics: None) -> Iterator[EditResult]:
    """The hero case with the defaults; afterwards the model is as it was."""
    before = digest(default_model)
    yield edit.run(default_model, EditRequest(case=HERO, settings=RomeSettings()), silent)
    while default_model.edits.can_undo:
        default_model.edits.undo()
    assert digest(default_model) == before


def test_the_default_case_is_edited_tested_saved_and_taken_back(
    default_model: LoadedModel, edited: EditResult, tmp_path: Path
) -> None:
    assert [said.top for said in edited.before] == [" Sydney", " Canberra"]
    assert [said.top for said in edited.after] == [" Canberra", " Canberra"]
    assert edited.after[0].target > 0.9
    assert edited.sound, edited.checks
    assert isinstance(edited.details, RomeDetails)
    assert edited.details.layer_from == "known for this model"
    assert edited.edit is not None

    suite = edited.suite
    assert suite is not None
    for role in ("rewrite", "neighborhood"):
        score = suite.score(role, "as-is")
        assert score is not None
        assert score.score >= score.score_before
    after = suite.score("paraphrase", "separator")
    assert after is not None
    assert after.score == 1.0
    unrelated = suite.score("unrelated", "as-is")
    assert unrelated is not None
    assert unrelated.score >= unrelated.score_before - 0.05
    assert suite.perplexity is not None
    assert suite.perplexity_before is not None
    assert suite.perplexity < 1.01 * suite.perplexity_before

    patch = str(tmp_path / "canberra.safetensors")
    with_edit = digest(default_model)
    edit_queue.run(default_model, QueueRequest(action="save", path=patch), silent)
    edit_queue.run(default_model, QueueRequest(action="remove", edit=edited.edit.id), silent)
    assert digest(default_model) != with_edit
    edit_queue.run(default_model, QueueRequest(action="apply", path=patch), silent)
    assert digest(default_model) == with_edit
