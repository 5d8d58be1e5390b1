"""A real pseudo-terminal with the program in it, and what its screen shows. Shared by benchmarks and tests."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

ROOT = Path(__file__).parent.parent
WORKBENCH = (sys.executable, "-m", "workbench")


class Terminal:
    """Runs a command in a pty of ``columns`` × ``rows`` and keeps the screen that it draws."""

    spawn: type[pexpect.spawn] = pexpect.spawn

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = WORKBENCH,
        cwd: Path = ROOT,
    ) -> None:
        command = [*program, *arguments]
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._text: str | None = None
        self.started = time.perf_counter()
        self.child = self.spawn(
            command[0],
            command[1:],
            dimensions=(rows, columns),
            env=_environment() | {"TERM": "xterm-256color", **(env or {})},
            cwd=str(cwd),
            timeout=120,
        )
        self.child.delaybeforesend = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self.child)

    @property
    def text(self) -> str:
        """The screen as lines, which cost some milliseconds, so that they are made once of what was written."""
        if self._text is None:
            self._text = "\n".join(self.screen.display)
        return self._text

    def read(self, seconds: float) -> int:
        """Take what the program writes within some seconds; returns how many bytes came first."""
        try:
            data = self.child.read_nonblocking(65536, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return 0
        self._stream.feed(data)
        self._text = None
        return len(data)

    def wait_for(self, what: str | Callable[[str], bool], seconds: float = 60.0) -> float:
        """Wait until the screen shows a text (or satisfies a condition); returns seconds since the start."""
        shows = what if callable(what) else lambda text: what in text
        end = time.perf_counter() + seconds
        while not shows(self.text):
            if time.perf_counter() > end or not (self.read(0.05) or self.child.isalive()):
                raise AssertionError(f"waited {seconds:.0f} s for {what!r}; the screen shows:\n{self.text}")
        return time.perf_counter() - self.started

    def wait_for_end(self, seconds: float = 60.0) -> int:
        """Wait until the program has ended and the screen shows its last words; returns its exit code."""
        end = time.perf_counter() + seconds
        while self.read(0.05) or self.child.isalive():
            if time.perf_counter() > end:
                raise AssertionError(f"the program did not end in {seconds:.0f} s; the screen shows:\n{self.text}")
        self.settle()
        self.child.wait()
        return int(self.child.exitstatus if self.child.signalstatus is None else -self.child.signalstatus)

    def settle(self, seconds: float = 0.15) -> None:
        """Take output until there has been none for a while."""
        while self.read(seconds):
            pass

    def press(self, *keys: str) -> None:
        """Send keys as a terminal does."""
        for key in keys:
            self.child.send(key)


def end(child: pexpect.spawn) -> None:
    """End a program at once and wait until it has: pexpect would give up after some tenths of a second."""
    if not child.closed and child.isalive():
        child.kill(signal.SIGKILL)
        child.ptyproc.wait()
    child.close()


def _environment() -> dict[str, str]:
    """Ours, but for a size of the terminal that somebody has exported: the program has a terminal of its own."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
