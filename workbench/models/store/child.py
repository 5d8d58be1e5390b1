"""Run a program beside us: looked at ten times a second, and ended when the one who waits no longer wants it."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_LOOK_EVERY = 0.1  # seconds: how soon a cancelled job is noticed
_PATIENCE = 5.0  # seconds between asking a program to end and ending it
_NO_SPACE = re.compile(rf"(errno|os error) {errno.ENOSPC}\b", re.IGNORECASE)  # as Python and as Rust say it


@dataclass(frozen=True)
class Ended:
    """How a program ended, and every line that it printed on stdout and stderr."""

    code: int
    lines: list[str]

    @property
    def disk_was_full(self) -> bool:
        """Whether it ended for want of room on a disk."""
        return self.code != 0 and any(_NO_SPACE.search(line) for line in self.lines)

    def last(self, prefix: str = "") -> str:
        """The last line that begins with ``prefix`` (without it), or the last one that is not empty."""
        written = [line for line in self.lines if line.strip()]
        chosen = [line.removeprefix(prefix) for line in written if line.startswith(prefix)] or written
        return chosen[-1].strip() if chosen else "no message"


def run_python(
    arguments: list[str], look: Callable[[list[str]], None], environment: Mapping[str, str] | None = None
) -> Ended:
    """Run this Python with ``arguments`` until it ends, calling ``look(lines so far)`` ten times a second.

    What ``look`` raises (`workbench.errors.Cancelled`) ends the program first. ``environment`` is added to ours.
    """
    process = subprocess.Popen(
        # -P: what lies in the user's folder (a gguf.py, say) is not imported in place of the library.
        [sys.executable, "-P", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **(environment or {})},
    )
    lines: list[str] = []
    reader = threading.Thread(target=_collect, args=(process, lines), daemon=True)
    reader.start()
    try:
        while not _has_ended(process):
            look(list(lines))
    finally:
        _end(process)
    reader.join(_PATIENCE)
    return Ended(process.returncode, lines)


def _collect(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        lines.extend(line.rstrip("\n") for line in process.stdout)


def _has_ended(process: subprocess.Popen[str]) -> bool:
    try:
        process.wait(_LOOK_EVERY)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
