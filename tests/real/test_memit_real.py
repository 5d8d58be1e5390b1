"""The default case by MEMIT and AlphaEdit, the value found once for both, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_edits import digest
from workbench.case import Case
from workbench.editing import edit
from workbench.editing.edit import EditRequest
from workbench.editing.editors.memit.details import SpreadDetails
from workbench.editing.said import said

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

pytestmark = pytest.mark.real

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")
NEAR = Case(prompt="The capital of France is", subject="France", target="Paris")


def test_the_default_case_is_written_by_both_leaves_another_capital_and_is_taken_back(
    default_model: LoadedModel, unedited: str, shared_statistics: None
) -> None:
    stages, values = list[str](), list[tuple[float, ...]]()

    def progress(done: int, total: int, partial: object = None, *, stage: str = "") -> None:
        del done, total, partial
        stages.append(stage)

    for name in ("memit", "alphaedit"):
        settings = {"layers": "5-6", "prefixes": 1}
        request = EditRequest.model_validate({"editor": name, "case": HERO, "settings": settings, "test": False})
        stages.clear()
        result = edit.run(default_model, request, progress)
        assert any(stage.startswith("optimising") for stage in stages) == (name == "memit")
        assert [answer.top for answer in result.after] == [" Canberra", " Canberra"]
        assert result.after[0].target > 0.8
        assert result.sound, result.checks
        assert [check.name for check in result.checks if check.level == "warn"] == []
        assert isinstance(result.details, SpreadDetails)
        assert result.details.shares[0] > 0.5
        values.append(result.details.probabilities)
        near = said(default_model, NEAR)
        assert [answer.top for answer in near] == [" Paris", " Paris"]
        default_model.edits.undo()
    assert digest(default_model) == unedited
    assert values[0] == values[1]
