"""The README's first step typed with no pause, at any moment from the start of the program until it is ready."""

from __future__ import annotations

import json
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from screens.panes.cot.pane import CotPane
from screens.panes.edits.pane import EditsPane
from screens.panes.erasure.pane import ErasurePane
from tests.terminal.conftest import Recorded, Start
from tests.tiny import save_tiny
from workbench.case import Case
from workbench.methods.lens.logit_lens import LensRequest
from workbench.session import load_session

pytestmark = pytest.mark.terminal

HERO = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")
FIRST_STEP = "The capital of Australia is\tAustralia\tCanberra\tSydney\r"
READY = "Type a prompt that the model gets wrong"


def after(seconds: float) -> Callable[[Recorded], None]:
    """Some time after the program was started."""
    return lambda _: time.sleep(seconds)


def raw(terminal: Recorded) -> None:
    """As soon as the terminal no longer echoes."""
    while termios.tcgetattr(terminal.child.child_fd)[3] & termios.ECHO:
        time.sleep(0.001)


def shows(what: str) -> Callable[[Recorded], None]:
    """As soon as the screen shows something."""
    return lambda terminal: terminal.until(what)


def writes(number: int) -> Callable[[Recorded], None]:
    """As soon as the program has written something for the third time, say."""

    def waits(terminal: Recorded) -> None:
        seen = 0
        while seen < number:
            seen += bool(terminal.read(0.05))

    return waits


DELAYS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)
MOMENTS = {
    "at once": after(0),
    "in raw mode": raw,
    **{f"at output {number}": writes(number) for number in (1, 2, 3, 5)},
    "at the prompt": shows(READY),
    "while loading": shows("no model yet"),
    "at the last key of the footer": shows("palette"),
    **{f"after {seconds} s": after(seconds) for seconds in DELAYS},
}
TELLING = ("in raw mode", "at output 1", "at the prompt")
"""What can be different: before there is an app, before its screen is there, and after. Before the terminal is ours the
whole program is typed to, with the default model.

The other moments lie among these, and where depends on the machine: they are for `make soak`.
"""


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=() if moment in TELLING else pytest.mark.soak) for moment in MOMENTS]
)
def test_the_first_step_typed_without_a_pause_is_one_case(moment: str, start: Start, own_home: Path) -> None:
    terminal = start("--model", own_home / "none", columns=100, rows=30, forked=False)
    MOMENTS[moment](terminal)
    terminal.press(FIRST_STEP)
    terminal.until(lambda _: bool(list(own_home.rglob("history.jsonl"))))
    (history,) = own_home.rglob("history.jsonl")
    terminal.until(lambda _: history.read_text().endswith("\n"))
    assert [Case.model_validate(json.loads(line)) for line in history.read_text().splitlines()] == [HERO]


def test_the_first_step_typed_at_once_is_the_first_step_of_the_session(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    terminal = start("--session", file, columns=100, rows=30, forked=False)
    terminal.press(FIRST_STEP)
    terminal.until("Canberra against Sydney")
    terminal.until(lambda _: file.exists() and bool(load_session(file).steps))
    terminal.press("q")
    terminal.assert_ended_cleanly()
    (step, *_) = load_session(file).steps
    assert isinstance(step.request, LensRequest)
    assert step.request.case == HERO


def test_text_after_a_key_that_opens_a_form_is_typed_into_it(start: Start, own_home: Path) -> None:
    terminal = start(HERO.prompt, "--model", own_home / "none", columns=120, rows=40)
    terminal.until("load one first")
    for number, pane in enumerate((EditsPane, CotPane, ErasurePane)):
        terminal.press(f"{pane.ASK_KEY}one{number}\ttwo{number}")
        for word in ("one", "two"):
            terminal.until(f"{word}{number}")
        assert f"{pane.ASK_KEY}one" not in terminal.text  # which would be in the form before
        terminal.press("\x1b")
    terminal.press("\x03\x03")
    terminal.assert_ended_cleanly()


@pytest.mark.parametrize("sent", [("\x1b4E",), ("\x1b", "4", "E")])
def test_escape_leaves_a_dialog_though_another_key_is_sent_with_it(
    sent: tuple[str, ...], start: Start, own_home: Path
) -> None:
    terminal = start(HERO.prompt, "--model", own_home / "none", columns=100, rows=30)
    terminal.until("load one first")
    terminal.press("\x0c")  # ctrl+l
    terminal.until("escape goes back")
    terminal.press(*sent)
    terminal.until("this pane alone")
    assert "No causal trace yet" in terminal.text
    assert "escape goes back" not in terminal.text
    terminal.press("\x1bq")
    terminal.assert_ended_cleanly()


CRASHING = """
import screens.main
def crash(self): raise RuntimeError("a bug")
screens.main.MainScreen.action_jump = crash
from workbench.__main__ import main
main()
"""


def test_after_a_crash_the_exit_code_is_not_0_the_terminal_is_whole_and_the_session_is_named(
    start: Start, tmp_path: Path
) -> None:
    file, tiny = tmp_path / "a session.json", save_tiny("llama", tmp_path / "tiny")
    asked = ("the cat sat on the mat", "--model", tiny, "--session", file)
    terminal = start(*asked, rows=40, columns=150, program=(sys.executable, "-c", CRASHING))
    terminal.until(lambda _: file.exists() and bool(load_session(file).steps))
    terminal.press("\x07")  # ctrl+g
    assert terminal.wait_for_end() == 1
    raw = terminal.written.getvalue()
    assert raw.rindex(b"\x1b[?1049l") > raw.rindex(b"\x1b[?1049h")
    said = "".join(terminal.text.split())  # lines are broken anywhere
    assert "RuntimeError:abug" in said
    kept = f"everything up to step 1 is in {file}; go on with: workbench open --session '{file}'"
    assert "".join(kept.split()) in said
    assert termios.tcgetattr(terminal.child.child_fd)[3] & (termios.ECHO | termios.ICANON)
