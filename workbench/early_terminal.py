"""The terminal in raw mode before anything large is imported, so that keys typed meanwhile arrive as they were typed.

Until the app's driver starts, about a second, the terminal would echo them, and turn enter into a line break. What was
typed even before `take` is read there and kept for the app. A line says so until there is something else to see.
Imports nothing that takes time; not every system has terminals like these, and where there is none nothing happens.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
from collections.abc import Sequence
from typing import Any

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

NOT_THE_APP = frozenset({"--help", "--version", "--install-completion", "--show-completion"})
"""The options with which no app is opened."""

OPENS = frozenset({"open", "replay"})
"""The commands that open the app."""

STARTING = b"workbench is starting; what you type is kept"

_before: list[Any] | None = None
_typed = ""
_is_said = False


def opens_app(arguments: Sequence[str]) -> bool:
    """Whether the command line opens the app: on a prompt, a session, or a recorded session.

    Any other word by itself is taken for a command, as which commands there are is not known here: on a prompt of one
    word the terminal is raw only when the app is there.
    """
    if not arguments:
        return True
    first = arguments[0]
    return first in OPENS or " " in first.strip() or (first.startswith("-") and first not in NOT_THE_APP)


def take() -> None:
    """Put the terminal on standard input into raw mode, but that ctrl+c still ends the program."""
    global _before, _typed, _is_said
    if termios is None or _before is not None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    terminal = sys.stdin.fileno()
    if os.tcgetpgrp(terminal) != os.getpgrp():
        return  # in the background, where this would stop the program
    _before = termios.tcgetattr(terminal)
    atexit.register(give_back)
    raw = termios.tcgetattr(terminal)
    raw[0] &= ~(termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR | termios.IGNCR)
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    termios.tcsetattr(terminal, termios.TCSANOW, raw)
    os.write(sys.stdout.fileno(), STARTING)
    _is_said = True
    early = b""
    while select.select([terminal], [], [], 0)[0] and (some := os.read(terminal, 4096)):
        early += some
    # What came before was translated: a line break among it was an enter.
    _typed = early.decode(errors="replace").replace("\n", "\r")


def typed() -> str:
    """What was typed before `take`; once."""
    global _typed
    found, _typed = _typed, ""
    return found


def erase() -> None:
    """Take the line away, as there is something else to see. Does nothing a second time."""
    global _is_said
    if _is_said:
        _is_said = False
        with contextlib.suppress(OSError, ValueError):  # the terminal has gone
            os.write(sys.__stdout__.fileno(), b"\r\x1b[K")  # type: ignore[union-attr]


def give_back() -> None:
    """Put the terminal into the mode that it was in. Does nothing a second time."""
    global _before
    erase()
    if _before is not None:
        before, _before = _before, None
        with contextlib.suppress(termios.error, ValueError):  # the terminal has gone
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)
