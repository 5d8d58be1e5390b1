"""The hero case repaired, as a person sees it: edited, tested, compared, saved, and applied in a new session.

The new session is in a narrow terminal.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.terminal.conftest import Recorded, Start
from tests.terminal.test_story import ANSWER, PROMPT, row_at_cursor
from workbench.case import Case
from workbench.datasets.suites import ROLES, Suite, suite_for
from workbench.editing.edit import EditResult
from workbench.editing.editors.rome.details import RomeDetails
from workbench.editing.suite.regression import SuiteResult
from workbench.session import load_session

pytestmark = pytest.mark.terminal

LONG = 600.0
"""Seconds: the first edit of a model samples text and computes statistics from it."""

CASE = Case(prompt=PROMPT, subject="Australia", target="Canberra", foil="Sydney")
ASKED = (PROMPT, "--subject", "Australia", "--target", "Canberra", "--foil", "Sydney")
REPAIRED = row_at_cursor("29", "Canberra", ".99")


FEW = 4
"""Facts of each role that the suite of the story has, of those that the shipped facts give."""


def little_suite() -> Suite:
    """The suite of the case with the first facts of each role, and without text to be generated."""
    suite = suite_for(CASE)
    assert suite is not None
    facts = [fact for role in ROLES for fact in [fact for fact in suite.facts if fact.role == role][:FEW]]
    return Suite(name="few facts", facts=tuple(facts))


def typed(terminal: Recorded, key: str, path: Path) -> None:
    """Open the line for a file by its key in the edits pane, and enter a path."""
    terminal.press("5")
    terminal.until(lambda text: "x Remove" in text or "u Undo" in text)
    terminal.press(key)
    terminal.until("Close")
    terminal.press(*str(path), "\r")


def assert_repaired(made: EditResult) -> None:
    """What the edit does to the fact, and to what is next to it."""
    assert [said.top for said in made.before] == [" Sydney", " Canberra"]
    assert [said.top for said in made.after] == [" Canberra", " Canberra"]
    assert made.after[0].target > 0.9
    assert made.sound, made.checks
    assert isinstance(made.details, RomeDetails)
    assert made.details.layer_from == "known for this model"

    suite = made.suite
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


def assert_as_before_any_edit(suite: SuiteResult) -> None:
    """What the suite says of the default model without an edit."""
    outcomes = {(outcome.fact, outcome.prepend): outcome for outcome in suite.outcomes}
    rewrite = outcomes[0, "as-is"].before
    assert (rewrite.target, rewrite.against) == pytest.approx((0.341, 0.362), abs=0.005)
    assert (rewrite.top, rewrite.passes, rewrite.exact) == (" Sydney", False, False)
    after = outcomes[0, "separator"].before
    assert (after.target, after.against) == pytest.approx((0.456, 0.418), abs=0.005)
    assert after.passes
    assert after.exact

    # The phrasing that begins with its subject is lost as it stands, and known after BOS or separator.
    [first] = [index for index, fact in enumerate(suite.suite.facts) if fact.prompt.startswith("Australia ")]
    assert outcomes[first, "as-is"].first_position
    assert not outcomes[first, "separator"].first_position

    for role in ("neighborhood", "unrelated", "attribute"):
        score = suite.score(role, "separator")
        assert score is not None
        assert (score.score_before, score.exact_before) == (1.0, 1.0)


def test_the_hero_case_is_repaired_compared_saved_and_repaired_again_from_the_patch(
    start: Start, shared_statistics: None, tmp_path: Path
) -> None:
    session, patch, suite = tmp_path / "hero.json", tmp_path / "p.safetensors", tmp_path / "few.json"
    suite.write_text(little_suite().model_dump_json())
    terminal = start(*ASKED, "--session", session, columns=160, rows=48, cwd=tmp_path)
    terminal.until(ANSWER)
    terminal.until("next:")  # all of the lens is there, to compare with

    terminal.press("e")
    terminal.until("of the shipped facts")
    terminal.press("\t", "\t", *suite.name)
    terminal.until(f"suite {suite.name}")
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
    assert_repaired(made)
    assert made.suite is not None
    assert made.suite.suite == little_suite()
    assert_as_before_any_edit(made.suite)

    again = start(*ASKED, "--session", tmp_path / "new.json", columns=80, rows=24, cwd=tmp_path)
    again.until(ANSWER)
    again.until(PROMPT)
    again.until("2 Logit lens")
    again.until(lambda text: "unembedding" not in text)
    again.press("2")
    again.until("Table/grid")
    again.press("j")
    again.until(row_at_cursor("28"))
    again.press("k")
    again.until(ANSWER)
    typed(again, "o", Path(patch.name))
    again.press("2")
    again.until(REPAIRED)
    again.press("q")
    again.assert_ended_cleanly()
