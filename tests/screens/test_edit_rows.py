"""An edit that is on its way says what it is about, of a subject or of a prompt."""

from __future__ import annotations

import pytest

from screens.panes.edits.ledger import EditLedger
from workbench.case import Case
from workbench.editing.edit import EditRequest
from workbench.editing.queue import QueueState


@pytest.mark.parametrize(("subject", "about"), [("Australia", "Australia"), (None, "The capital of Australia is")])
def test_the_row_of_an_edit_that_waits_names_its_subject_or_else_its_prompt(subject: str | None, about: str) -> None:
    case = Case(prompt="The capital of Australia is", subject=subject, target=" Canberra")
    ledger = EditLedger()
    ledger.asked(EditRequest.model_validate({"case": case, "settings": {"layer": 5}}))
    (row,) = ledger.rows(QueueState())
    assert row.title == f"L5 {about} → Canberra"
