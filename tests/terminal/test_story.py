"""The hero case from the first key to the replay, as a person sees it: the real program, model and terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.terminal.conftest import Recorded, Start
from workbench.methods.generation.continuation import ContinueResult
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.session import load_session

pytestmark = pytest.mark.terminal

PROMPT = "The capital of Australia is"
FIELDS = {"subject": "Australia", "target": "Canberra", "foil": "Sydney"}


def has_focus(terminal: Recorded, field: str) -> Callable[[str], bool]:
    """Whether a field of the case is lit otherwise than the other two."""

    def lit(_: str) -> bool:
        row = next((row for row, line in enumerate(terminal.text.splitlines()) if all(f in line for f in FIELDS)), None)
        if row is None:
            return False
        line = terminal.text.splitlines()[row]
        grounds = {name: terminal.screen.buffer[row][line.index(name) + len(name) + 7].bg for name in FIELDS}
        return [name for name in FIELDS if list(grounds.values()).count(grounds[name]) == 1] == [field]

    return lit


def row_at_cursor(*cells: str) -> Callable[[str], bool]:
    """Whether the row marked in the lens begins with these cells: the layer, then tokens and probabilities."""
    return lambda text: any(line.partition("▸")[2].split()[: len(cells)] == [*cells] for line in text.splitlines())


ANSWER = row_at_cursor("29", "Sydney", ".36", "Canberra", ".34")


def test_the_hero_case_from_the_first_key_to_the_replay(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "hero.json"
    terminal = start("--session", file, columns=160, rows=48)
    terminal.until("Type a prompt that the model gets wrong")
    terminal.until("smollm2-135m · cpu · float32")

    terminal.type(PROMPT)
    for field, text in FIELDS.items():
        terminal.press("\t")
        terminal.until(has_focus(terminal, field))
        terminal.press(*text)
        terminal.until(f"{field} {text}")
    terminal.press("\r")
    terminal.until('Logit lens · at " is" · Canberra against Sydney')
    terminal.until(ANSWER)
    terminal.until("the top answer becomes “Canberra” 0.46 after BOS or separator")
    terminal.until(lambda text: "unembedding" not in text)

    terminal.press("j")
    terminal.until(row_at_cursor("28"))
    terminal.press("j")
    terminal.until(row_at_cursor("27"))
    terminal.press("k")
    terminal.until(row_at_cursor("28"))
    terminal.press("h")
    terminal.until('Logit lens · at " Australia"')
    terminal.press("l")
    terminal.until('Logit lens · at " is"')
    terminal.press("k")
    terminal.until(row_at_cursor("29"))

    terminal.press("\r")
    terminal.until('layer 29 · token 4 " is"')
    terminal.until(lambda text: any("│  20 " in line for line in text.splitlines()))
    terminal.until(lambda _: terminal.line("│   1 ").partition("│   1 ")[2].split()[:2] == ["Sydney", ".36"])

    terminal.press("\x1bv")
    terminal.until("p(top-1)")
    terminal.until(lambda _: terminal.line(" layer ").partition(" layer ")[2].split()[:5] == PROMPT.split())
    terminal.press("g")
    terminal.until("The capital of Australia is Sydney")
    terminal.until(lambda _: len(load_session(file).steps) == 4)

    terminal.press("q")
    terminal.assert_ended_cleanly()

    steps = load_session(file).steps
    assert [(step.id, step.request.kind, step.status) for step in steps] == [
        (1, "lens", "done"),
        (2, "patchscope", "done"),
        (3, "lens", "done"),
        (4, "continue", "done"),
    ]
    lens, _, detail, continuation = steps
    assert isinstance(lens.result, LensResult)
    assert None not in lens.result.columns
    assert isinstance(detail.request, LensRequest)
    assert (detail.request.positions, detail.request.top_k) == ((4,), 20)
    assert isinstance(continuation.result, ContinueResult)
    assert continuation.result.text.startswith(" Sydney")

    replay = start("replay", file, columns=160, rows=48)
    replay.until("step 4/4 continue · done")
    replay.until(ANSWER)
    replay.until("The capital of Australia is Sydney")
    replay.press("[")
    replay.until("step 3/4 lens · done")
    replay.until(lambda text: "is Sydney" not in text)
    replay.press("[")
    replay.until("step 2/4 patchscope · done")
    replay.press("[")
    replay.until("step 1/4 lens · done")
    replay.until(ANSWER)
    replay.press("]")
    replay.until("step 2/4 patchscope · done")
    replay.press("q")
    replay.assert_ended_cleanly()


def test_a_terminal_that_is_too_small_says_so_and_can_be_left(start: Start, tmp_path: Path) -> None:
    terminal = start(PROMPT, "--model", tmp_path / "none", "--session", tmp_path / "s.json", columns=39, rows=11)
    terminal.until(lambda text: "too small" in " ".join(text.split()))
    terminal.until(lambda text: "40 columns and 12 rows" in " ".join(text.split()))
    terminal.press("\x03")
    terminal.press("\x03")
    terminal.assert_ended_cleanly()


def test_leaving_in_the_middle_of_a_job_ends_it_and_keeps_a_whole_session(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    terminal = start(" ".join(["the river runs down to the sea"] * 40), "--session", file, columns=100, rows=30)
    terminal.until("unembedding")
    terminal.press("\x03")
    terminal.press("\x03")
    terminal.assert_ended_cleanly()
    (step,) = load_session(file).steps
    assert step.status in ("partial", "cancelled")
