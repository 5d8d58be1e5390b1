"""The hero case repaired, as a person sees it: edited, tested, compared, saved, and applied in a new session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.terminal.conftest import Recorded, Start
from tests.terminal.test_story import ANSWER, PROMPT, row_at_cursor
from workbench.editing.edit import EditResult
from workbench.session import load_session

pytestmark = pytest.mark.terminal

LONG = 600.0
"""Seconds: the first edit of a model samples text and computes statistics from it."""

CASE = (PROMPT, "--subject", "Australia", "--target", "Canberra", "--foil", "Sydney")
REPAIRED = row_at_cursor("29", "Canberra", ".99")


def typed(terminal: Recorded, key: str, path: Path) -> None:
    """Open the line for a file by its key in the edits pane, and enter a path."""
    terminal.press("5")
    terminal.until(lambda text: "x Remove" in text or "u Undo" in text)
    terminal.press(key)
    terminal.until("Close")
    terminal.press(*str(path), "\r")


def test_the_hero_case_is_repaired_compared_saved_and_repaired_again_from_the_patch(
    start: Start, shared_statistics: None, tmp_path: Path
) -> None:
    session, patch = tmp_path / "hero.json", tmp_path / "p.safetensors"
    terminal = start(*CASE, "--session", session, columns=160, rows=48)
    terminal.until(ANSWER)
    terminal.until("next:")  # all of the lens is there, to compare with

    terminal.press("e")
    terminal.until("suite")
    terminal.press("\r")
    terminal.wait_for("eff. 1/1", LONG)
    terminal.wait_for("● on", LONG)
    terminal.until(REPAIRED)
    terminal.until("with 1 edit: Canberra .99")

    terminal.press("b")
    terminal.until(ANSWER)
    terminal.until("all off to compare")
    terminal.press("b")
    terminal.until(REPAIRED)

    typed(terminal, "s", patch)
    terminal.until("was saved to")
    terminal.press("q")
    terminal.assert_ended_cleanly()
    made = next(step.result for step in load_session(session).steps if step.request.kind == "edit")
    assert isinstance(made, EditResult)
    assert made.suite is not None

    again = start(*CASE, "--session", tmp_path / "new.json", columns=160, rows=48)
    again.until(ANSWER)
    typed(again, "o", patch)
    again.until(REPAIRED)
    again.press("q")
    again.assert_ended_cleanly()
