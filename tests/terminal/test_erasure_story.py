"""A concept erased, as a person sees it at 80×24: by the form, looked at, switched, saved, replayed.

And what only a real model shows of it: that the concept was there, and what the edit costs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.terminal.conftest import Recorded, Start
from workbench.editing.edit import EditResult
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.patches import load_patch
from workbench.loading import LoadedModel
from workbench.session import load_session

pytestmark = pytest.mark.terminal

PROMPT = "The nurse was late because"
PLAIN = "without edits: she .41 #1, he .07"
TEXTS = 300


def has_focus(terminal: Recorded, field: str) -> Callable[[str], bool]:
    """Whether the field of a setting is lit otherwise than the last one."""

    def ground(name: str) -> str | None:
        for row, line in enumerate(terminal.text.splitlines()):
            if label := re.search(rf"\b{name} {{2,}}(?=\w)", line):
                return str(terminal.screen.buffer[row][label.end()].bg)
        return None

    return lambda _: None not in (ground(field), ground("seed")) and ground(field) != ground("seed")


def fill(terminal: Recorded, field: str, tabs: int, text: str) -> None:
    """Go on to a field, and type into it."""
    for _ in range(tabs):
        terminal.press("\t")
        terminal.settle()
    terminal.until(has_focus(terminal, field))
    terminal.press(*text)
    terminal.until(lambda shown: re.search(rf"\b{field} {{2,}}{text}", shown) is not None)


def assert_erased(found: Erased) -> None:
    """The pronoun is read before and not after, and little else changes."""
    row = found.at(12)
    assert row is not None
    assert row.before.texts > 0.75
    assert row.after.texts <= found.majority.texts + 0.03
    assert row.after.templates is not None
    assert row.after.templates <= 0.53
    assert row.rank == 1
    assert row.class_means[1] < 1e-6 < 1e-2 < row.class_means[0]
    assert row.nonlinear_after.texts > 0.6  # the guarantee is about linear readers, and this shows it
    effects = found.effects
    assert effects is not None
    assert effects.perplexity_change < 0.03
    assert effects.known >= 30
    assert effects.kept >= effects.known - 3
    assert effects.case is not None
    assert effects.case.before.logit_difference is not None
    assert effects.case.after.logit_difference is not None
    assert effects.case.after.logit_difference[-1] < effects.case.before.logit_difference[-1]


def test_a_concept_is_erased_looked_at_switched_saved_and_another_one_cancelled(
    start: Start, shared_statistics: None, tmp_path: Path, default_model: LoadedModel
) -> None:
    session, patch = tmp_path / "nurse.json", tmp_path / "p.safetensors"
    terminal = start(PROMPT, "--target", "she", "--foil", "he", "--session", session)
    terminal.until("she overtakes he at layer 26")
    terminal.until(lambda text: "unembedding" not in text)

    terminal.press("z")
    terminal.until("enter erases")
    fill(terminal, "layers", 2, "12-13")
    fill(terminal, "limit", 2, str(TEXTS))
    fill(terminal, "above", 1, "no")
    terminal.press("\r")
    terminal.until("before: ")
    terminal.until("● on · Pronoun gender · LEACE L12–13")
    terminal.until("layer 13 (changed) · ● before .")
    assert "○ after .50/.50" in terminal.text

    terminal.press("v")
    terminal.until("before      after      fresh non-linear  rank")
    assert all(line in terminal.text for line in ("◆    13", "◆    12"))
    terminal.press("v")
    terminal.press("\r")
    terminal.until("Probes at layer 13")
    terminal.press("\x1b[6~")
    terminal.until("facts kept")

    terminal.press("\x1b2")
    terminal.until(PLAIN)
    terminal.until("with 1 edit: she")
    with_edit = terminal.line("▸")
    terminal.press("7")
    terminal.until("● on")
    terminal.press(" ")
    terminal.until("○ off")
    terminal.press("2")
    terminal.until(lambda _: "she        .41" in terminal.line("▸"))
    assert terminal.line("▸") != with_edit
    terminal.press("7")
    terminal.until("○ off")
    terminal.press(" ")
    terminal.until("● on")

    terminal.press("5")
    terminal.until("LEACE L12–13 Pronoun gender erased")
    terminal.press("s")
    terminal.until("Close")
    terminal.press(*str(patch), "\r")
    terminal.until("was saved to")

    terminal.press("z")
    terminal.until("enter erases")
    terminal.settle()
    terminal.press("\x1b[B")
    terminal.until("sentiment")
    terminal.press("\r")
    terminal.until("before: ")
    terminal.press("\x1b")
    terminal.until("cancelled · stale: this is the result before")
    terminal.press("q")
    terminal.assert_ended_cleanly()

    recorded = load_session(session)
    steps = [step for step in recorded.steps if step.request.kind == "edit"]
    assert [step.status for step in steps] == ["done", "cancelled"]
    made = steps[0].result
    assert isinstance(made, EditResult)
    assert isinstance(made.details, Erased)
    assert sum(made.details.texts.values()) == TEXTS
    assert_erased(made.details)
    assert {check.name: check.level for check in made.checks}["in the model"] == "ok"
    assert recorded.model is not None
    assert [edit.info for edit in load_patch(patch, default_model)] == [made.edit]

    again = start("replay", session)
    again.until("LEACE L12–13")
    again.press("2")
    again.until("she overtakes he")
    again.press("q")
    again.assert_ended_cleanly()
