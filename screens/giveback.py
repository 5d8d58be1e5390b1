"""Giving the terminal back when the app cannot do so itself: it does not answer, or the terminal takes nothing more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from textual.driver import Driver

AS_BEFORE = b"\x1b[?2004l\x1b[?7h\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
"""What Textual's driver switches on, off again: paste, mouse, keys, the alternate screen, focus; wrap and cursor."""


def give_back(driver: Driver | None) -> None:
    """Switch off what the driver has switched on, without waiting for a terminal that takes nothing."""
    before = getattr(driver, "attrs_before", None)
    if before is None or sys.__stderr__ is None or sys.__stdin__ is None:
        return
    import termios  # there, as the driver that has such attributes uses it too

    handle = sys.__stderr__.fileno()
    with suppress(OSError):
        os.set_blocking(handle, False)
        try:
            os.write(handle, AS_BEFORE)
        finally:
            os.set_blocking(handle, True)
    with suppress(termios.error):
        termios.tcsetattr(sys.__stdin__.fileno(), termios.TCSANOW, before)
