"""From a bare prompt to a saved patch: diagnosed, fixed, and saved by few keys, on a small terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.terminal.conftest import Recorded, Start
from tests.terminal.test_story import PROMPT
from workbench.editing.fix import FixResult
from workbench.methods.diagnose.diagnosis import DiagnoseResult
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.session import Step, load_session

pytestmark = pytest.mark.terminal

LONG = 2400.0
"""Seconds, for a machine with much else to do: every editor makes its edit, and text is sampled for statistics."""

MOST_KEYS = 12


class Counted:
    """A terminal whose keys are counted."""

    def __init__(self, terminal: Recorded) -> None:
        self.terminal, self.keys = terminal, 0

    def press(self, *keys: str) -> None:
        self.keys += len(keys)
        self.terminal.press(*keys)


def asked_after_separator(step: Step) -> bool:
    """Whether it is the lens of a case that has the separator prepended."""
    return isinstance(step.request, LensRequest) and step.request.case.prepend == "separator"


@pytest.mark.soak
def test_the_hero_case_is_fixed_and_saved_with_at_most_twelve_keys(
    start: Start, shared_statistics: None, tmp_path: Path
) -> None:
    session = tmp_path / "hero.json"
    terminal = start("--session", session, columns=80, rows=24, cwd=tmp_path)
    terminal.until("of the fact")
    terminal.type(PROMPT)
    counted = Counted(terminal)
    counted.press("\r")
    terminal.until("Sydney")
    counted.press("F")
    terminal.wait_for("enter: Steering", LONG)
    counted.press("\r")
    terminal.wait_for("next: 5 s saves a patch", LONG)
    counted.press("5", "s", "\r")
    terminal.until("a patch of 1 edit was saved")
    assert counted.keys <= MOST_KEYS
    assert list(tmp_path.glob("*.safetensors"))

    steps = load_session(session).steps
    diagnosis = next(step.result for step in steps if isinstance(step.result, DiagnoseResult))
    assert diagnosis.failure == "prompt"
    assert (diagnosis.case.subject, diagnosis.case.target, diagnosis.case.foil) == ("Australia", "Canberra", "Sydney")
    fixes = next(step.result for step in steps if isinstance(step.result, FixResult))
    assert fixes.recommended is not None
    recommended = fixes.candidates[fixes.recommended]
    assert (recommended.name, recommended.changed, recommended.against) == ("steer-answer", True, ())
    (separator,) = (each for each in fixes.candidates if each.name == "prompt")
    assert (separator.title, separator.changed, len(separator.against)) == ("separator prepended", True, 1)
    (rome,) = (each for each in fixes.candidates if each.name == "rome")
    assert rome.changed
    assert rome.against == ("what else is known of the subject falls from 100 to 0",)


def test_a_passage_is_diagnosed_to_the_head_that_copies_and_mended_by_the_prompt(
    start: Start, shared_statistics: None, tmp_path: Path
) -> None:
    """No weight is touched: what is prepended is another."""
    session = tmp_path / "passage.json"
    passage = "Peter lives in Berlin. Emma lives in Oslo. Question: Where does Peter live? Answer: Peter lives in"
    terminal = start("--session", session, columns=80, rows=24)
    terminal.until("of the fact")
    terminal.press(*passage)
    terminal.press("\r")
    terminal.until("Oslo")
    terminal.press("D")
    terminal.wait_for("copied from the wrong place", LONG)
    terminal.press("F")
    terminal.wait_for("enter: separator prepended", LONG)
    terminal.press("\r")
    terminal.until("prepended BOS or separator")
    terminal.until(lambda _: asked_after_separator(load_session(session).steps[-1]))
    steps = load_session(session).steps
    found = next(step.result for step in steps if isinstance(step.result, DiagnoseResult))
    assert found.failure == "context"
    assert (found.case.target, found.case.foil) == ("Berlin", "Oslo")
    assert any("head L23H4" in sentence.text and "Oslo" in sentence.text for sentence in found.sentences)
    assert found.fixes[0] == "prompt"
    fixes = next(step.result for step in steps if isinstance(step.result, FixResult))
    assert fixes.recommended is not None
    assert fixes.candidates[fixes.recommended].name == "prompt"
    assert isinstance(steps[-1].result, LensResult)
    column = steps[-1].result.columns[-1]
    assert column is not None
    assert column.top_tokens[-1][0].strip() == "Berlin"
    assert not steps[-1].edits
