"""Leaving by a signal: the step is saved, the terminal is as it was, and the end comes soon."""

from __future__ import annotations

import io
import os
import signal
import sys
import termios
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from benchmarks.terminal import ROOT, end
from tests.forked import ForkedSpawn
from tests.terminal.conftest import WAIT, Start
from tests.tiny import save_tiny
from workbench.methods.lens.logit_lens import LensResult
from workbench.session import load_session

pytestmark = pytest.mark.terminal

PROMPT = "the cat sat on the mat"

SOON = 60.0
"""Seconds, where two are promised: this machine may have other things to do, and what does not end never will."""

PROGRAM = """
    import dataclasses, time
    from workbench import engine
    from workbench.cli import main
    from workbench.methods.lens import logit_lens
    from workbench.registry import method

    def endless(model, request, progress):
        found = logit_lens.run(model, request, progress)
        progress(0, 2, found, stage="half way")
        while True:
            time.sleep(0.02)
            if not DEAF:
                progress(1, 2, found, stage="half way")

    engine.method = lambda kind: dataclasses.replace(method(kind), run=endless) if kind == "lens" else method(kind)
    main.main()
"""
"""The program with a lens that never ends, and that hears of being cancelled or, as deep in torch, does not."""

OFF = {
    "the alternate screen": (b"\x1b[?1049h", b"\x1b[?1049l"),
    "the mouse": (b"\x1b[?1000h", b"\x1b[?1000l"),
    "bracketed paste": (b"\x1b[?2004h", b"\x1b[?2004l"),
    "the hidden cursor": (b"\x1b[?25l", b"\x1b[?25h"),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("tiny") / "model")


class Program:
    """The program in a pseudo-terminal, of which every byte is kept, in the middle of a job."""

    def __init__(self, deaf: bool, *arguments: str | Path) -> None:
        code = textwrap.dedent(PROGRAM).replace("DEAF", str(deaf))
        environment = {**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
        command = ["-c", code, *map(str, arguments)]
        self.child = ForkedSpawn(
            sys.executable, command, dimensions=(30, 100), env=environment, cwd=str(ROOT), timeout=WAIT
        )
        self.written = io.BytesIO()
        self.child.logfile_read = self.written
        self.child.expect(b"half way")

    def end(self) -> int:
        """Wait for it; returns the exit code, or the signal that ended it as a negative number."""
        began = time.monotonic()
        self.child.expect(pexpect.EOF)
        self.child.wait()
        assert time.monotonic() - began < SOON
        return int(self.child.exitstatus if self.child.signalstatus is None else -self.child.signalstatus)

    def assert_gave_the_terminal_back(self) -> None:
        raw = self.written.getvalue()
        for name, (on, off) in OFF.items():
            assert on in raw, f"{name} was never switched on"
            assert raw.rindex(off) > raw.rindex(on), f"{name} was left on"
        assert b"Traceback" not in raw
        modes = termios.tcgetattr(self.child.child_fd)[3]
        assert modes & termios.ECHO
        assert modes & termios.ICANON


@contextmanager
def running(deaf: bool, *arguments: str | Path) -> Iterator[Program]:
    program = Program(deaf, *arguments)
    try:
        yield program
    finally:
        if not program.child.ptyproc.fileobj.closed:
            end(program.child)


def assert_saved(file: Path) -> None:
    (step,) = load_session(file).steps
    assert step.status == "partial"
    assert isinstance(step.result, LensResult)
    assert step.result.columns[-1] is not None


@pytest.mark.parametrize("deaf", [False, True])
def test_terminate_saves_the_step_and_gives_the_terminal_back(tiny: Path, tmp_path: Path, deaf: bool) -> None:
    file = tmp_path / "s.json"
    with running(deaf, PROMPT, "--model", tiny, "--session", file) as program:
        program.child.kill(signal.SIGTERM)
        assert program.end() == 128 + signal.SIGTERM
        program.assert_gave_the_terminal_back()
        line = f"workbench open --session {file}  # goes on with 1 step".encode()
        assert line in program.written.getvalue().rpartition(OFF["the alternate screen"][1])[2]
    assert_saved(file)
    assert [each.name for each in tmp_path.glob(".*")] == []


def test_quitting_saves_the_step_too(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    with running(True, PROMPT, "--model", tiny, "--session", file) as program:
        program.child.send("\x03")
        program.child.expect("again")
        program.child.send("\x03")
        assert program.end() == 0
        program.assert_gave_the_terminal_back()
    assert_saved(file)


@pytest.mark.parametrize(("command", "deaf"), [((), True), (("lens",), False)], ids=["app", "command line"])
def test_a_hang_up_saves_the_step(tiny: Path, tmp_path: Path, deaf: bool, command: tuple[str, ...]) -> None:
    file = tmp_path / "s.json"
    with running(deaf, *command, PROMPT, "--model", tiny, "--session", file) as program:
        program.child.ptyproc.fileobj.close()  # the terminal is gone: every write to it is an error from now on
        began = time.monotonic()
        assert program.child.ptyproc.wait() == (130 if command else 128 + signal.SIGHUP)
        assert time.monotonic() - began < SOON
    assert_saved(file)


@pytest.mark.parametrize(("told", "deaf"), [(signal.SIGTERM, True), (signal.SIGHUP, False), (signal.SIGINT, True)])
def test_a_command_that_is_told_to_end_saves_its_step(
    tiny: Path, tmp_path: Path, deaf: bool, told: signal.Signals
) -> None:
    file = tmp_path / "s.json"
    with running(deaf, "lens", PROMPT, "--model", tiny, "--session", file) as program:
        program.child.kill(told)
        program.child.kill(signal.SIGTERM)  # who is in a hurry tells more than once
        assert program.end() == 130
        assert b"Traceback" not in program.written.getvalue()
    assert_saved(file)


def test_a_terminal_that_takes_nothing_more_keeps_nobody_from_leaving(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    with running(False, PROMPT, "--model", tiny, "--session", file) as program:
        for _ in range(40):  # what this makes the app draw is read by nobody
            program.child.send("\t?")
            time.sleep(0.05)
        program.child.kill(signal.SIGTERM)
        began = time.monotonic()
        while program.child.isalive() and time.monotonic() - began < SOON:
            time.sleep(0.05)
        assert not program.child.isalive()
    assert_saved(file)


def test_the_last_session_is_opened_again_and_its_interrupted_step_offered(
    start: Start, tiny: Path, tmp_path: Path
) -> None:
    file = tmp_path / "s.json"
    with running(False, PROMPT, "--model", tiny, "--session", file) as program:
        program.child.kill(signal.SIGTERM)
        program.end()
    with running(False, "lens", PROMPT, "--model", tiny, "--session", tmp_path / "other.json") as program:
        program.child.kill(signal.SIGTERM)
        program.end()
    terminal = start("open", "--last", "--model", tiny, columns=240, rows=40)
    terminal.until(lambda text: "interrupted" in text and file.name in text)
