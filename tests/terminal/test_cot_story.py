"""Tom's apples, as a person sees them: 7 becomes 10, the sentence that did it, the lens where the answer is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.terminal import ROOT
from tests.terminal.conftest import Recorded, Start
from workbench.methods.cot.interventions import Early, LeaveOneOut
from workbench.methods.cot.result import CotResult
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.session import Step, load_session

pytestmark = pytest.mark.terminal

QUESTION = "Tom has 3 apples and buys 4 more. How many apples does he have? Let's think step by step."


def ground(terminal: Recorded, field: str) -> str:
    """The colour on which a field of the form stands: another one where the keyboard is."""
    row, line = next((row, line) for row, line in enumerate(terminal.text.splitlines()) if f" {field} " in line)
    return str(terminal.screen.buffer[row][line.index(f" {field} ") + len(field) + 2].bg)


def said(step: Step) -> tuple[str, list[str]]:
    """A reasoning, and the answers that were read after what was made of it."""
    assert isinstance(step.result, CotResult)
    return step.result.reasoning, [step.result.candidates[each.answer].name for each in step.result.outcomes]


def test_seven_apples_become_ten_by_one_sentence(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tom.json"
    terminal = start("--session", file)
    terminal.until("smollm2-135m ·")
    terminal.press(*QUESTION)
    terminal.until("think step by step.")

    terminal.press("\x1br")
    terminal.until("esc Close")
    lit = ground(terminal, "choices")
    terminal.press("\t")
    terminal.until(lambda _: ground(terminal, "right") == lit)
    terminal.press("7")
    terminal.until("right 7")
    terminal.press("\r")
    terminal.until("of at most 256 tokens")
    terminal.until("answer 10 (wrong) · AOC 0.70 · settles at 4 of 5")
    terminal.until("stops after 5 of 5")

    terminal.press("k")
    terminal.until("stops after 4 of 5")
    terminal.until("▸10")
    terminal.press("k")
    terminal.until("stops after 3 of 5")
    terminal.until("▸7")
    terminal.press("j")
    terminal.until("stops after 4 of 5")
    terminal.press("x")
    terminal.until("leave one out of the first 4: another answer without 4")
    terminal.until("◆ necessary")
    terminal.press("j")
    terminal.until("stops after 5 of 5")
    terminal.press("x")
    terminal.until("leave one out: the answer stays what it is")

    terminal.press("k")
    terminal.until("stops after 4 of 5")
    terminal.press("k")
    terminal.until("stops after 3 of 5")
    terminal.press("i")
    terminal.until('Logit lens · at "·" · 1 against 7')
    terminal.until("7 overtakes 1 at layer 23")
    terminal.until(lambda text: "unembedding" not in text)
    terminal.press("q")
    terminal.assert_ended_cleanly()

    steps = load_session(file).steps
    first, within, whole = (step for step in steps if isinstance(step.request, CotRequest))
    for step, intervention in ((first, Early()), (within, LeaveOneOut(within=4)), (whole, LeaveOneOut())):
        assert isinstance(step.request, CotRequest)
        assert step.request.interventions == (intervention,)
    assert isinstance(first.result, CotResult)
    for step, known in zip((first, within, whole), load_session(ROOT / "sessions" / "tom.json").steps, strict=True):
        assert said(step) == said(known)
    looked_at = [step.request.case for step in steps if isinstance(step.request, LensRequest)]
    assert len(looked_at) == 2  # what was on screen, whose rest waits for what is asked meanwhile, and the text inside
    assert first.result.case(first.result.of("kept")[3]) in looked_at

    replay = start("replay", file)
    replay.until("step 5/5 lens ·")  # done, or partial where the model was slower than the fingers
    replay.press("6")
    replay.until("settles at 4 of 5")
    replay.press("q")
    replay.assert_ended_cleanly()
