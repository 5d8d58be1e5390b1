"""Leaving when told to: by terminate, by hang-up and by ctrl+c, with everything saved and within two seconds."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

WITHIN = 1.0
"""Seconds that a running job is given to stop by itself, of the two that leaving may take."""

HANG_UP: int | None = getattr(signal, "SIGHUP", None)
TOLD_TO_LEAVE = tuple(number for number in (HANG_UP, signal.SIGTERM) if number is not None)


def on_signals(leave: Callable[[int], None]) -> None:
    """Call ``leave`` with the number of every signal that asks the program to end. For the main thread only.

    One that is ignored, as hang-up is under nohup, stays so.
    """

    def told(number: int, _: FrameType | None) -> None:
        if number == HANG_UP:
            let_go_of_the_terminal()
        leave(number)

    for number in TOLD_TO_LEAVE:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, told)


def interrupt_on_signals() -> None:
    """Let terminate and hang-up do what ctrl+c does."""
    if threading.current_thread() is threading.main_thread():
        on_signals(_interrupt)


def _interrupt(_: int) -> None:
    raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """A context in which no signal interrupts what is being saved: for something that ends in time by itself."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *TOLD_TO_LEAVE)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def let_go_of_the_terminal() -> None:
    """After a hang-up every write to the terminal is an error: write into nothing instead."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(handle).st_mode):
                os.dup2(nothing, handle)
    os.close(nothing)


def is_anything_left() -> bool:
    """Whether a thread is alive that the program does not wait for: in torch it would end it with torch's own error."""
    return any(thread.daemon for thread in threading.enumerate())


def end(code: int) -> None:
    """End at once, though a thread is still at work in the model's libraries. Everything must be saved by now."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
