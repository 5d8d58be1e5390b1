"""A home with the default model in it, and programs in pseudo-terminals of which every byte is kept."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pexpect
import pytest

from benchmarks.terminal import Terminal
from tests.conftest import REAL_MODELS
from tests.fork_server import HASHED
from tests.forked import ForkedSpawn
from tests.real.conftest import default_model_is_here

__all__ = ["default_model_is_here"]  # what is true of the tests in tests/real is true of these

WAIT = 180.0
"""Seconds to wait for anything. Conditions are waited for, so a quick machine is not slowed."""


class Recorded(Terminal):
    """A terminal that remembers what was written to it, as pyte's screen knows no alternate one.

    ``forked`` is false where the start itself is what is looked at.
    """

    def __init__(self, *arguments: str, forked: bool = True, **settings: Any) -> None:
        self.spawn = ForkedSpawn if forked else pexpect.spawn
        super().__init__(*arguments, **settings)
        self.written = io.BytesIO()
        self.child.logfile_read = self.written

    def until(self, what: str | Callable[[str], bool]) -> None:
        """Wait, as long as a slow machine needs."""
        self.wait_for(what, WAIT)

    def type(self, text: str) -> None:
        """Type a text, and wait until the screen shows it."""
        self.press(*text)
        self.until(text)

    def line(self, what: str) -> str:
        """The first line of the screen that holds a text; empty when there is none."""
        return next((line for line in self.text.splitlines() if what in line), "")

    def assert_ended_cleanly(self) -> None:
        """Exit code 0, and everything that was switched on in the terminal is switched off again."""
        assert self.wait_for_end(WAIT) == 0, self.text
        raw = self.written.getvalue()
        for name, on, off in (
            ("the alternate screen", b"\x1b[?1049h", b"\x1b[?1049l"),
            ("the mouse", b"\x1b[?1000h", b"\x1b[?1000l"),
            ("bracketed paste", b"\x1b[?2004h", b"\x1b[?2004l"),
            ("the hidden cursor", b"\x1b[?25l", b"\x1b[?25h"),
        ):
            assert on in raw, f"{name} was never switched on"
            assert raw.rindex(off) > raw.rindex(on), f"{name} was left on"
        assert b"Traceback" not in raw


Start = Callable[..., Recorded]


@pytest.fixture
def start(own_home: Path, default_model_is_here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start the program; whatever still runs at the end of the test is ended."""
    monkeypatch.setenv(HASHED, str(default_model_is_here))
    models = own_home / "cache" / "models"
    models.parent.mkdir(parents=True)
    models.symlink_to(REAL_MODELS)
    with ExitStack() as running:

        def start(*arguments: str | Path, **settings: Any) -> Recorded:
            terminal = Recorded(*map(str, arguments), **settings)
            running.enter_context(terminal)
            return terminal

        yield start
