"""Screens whose classes say how large the terminal is, for ``app.tcss`` to say what is where."""

from __future__ import annotations

from textual import events
from textual.reactive import var
from textual.screen import Screen
from textual.widget import Widget


class Sized(Screen[None]):
    """Base of the screens that are not dialogs."""

    HORIZONTAL_BREAKPOINTS = [(0, "-small"), (40, "-narrow"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (12, "-short"), (20, "-high")]

    focused: var[Widget | None] = var[Widget | None](None)
    """Not reactive, as in Textual, where all is painted again when the keyboard goes to another field."""

    def fit(self, width: int, height: int) -> None:
        """Say how large the terminal is before anything is styled: Textual would say so after, and style all again."""
        for size, breakpoints in ((width, self.HORIZONTAL_BREAKPOINTS), (height, self.VERTICAL_BREAKPOINTS)):
            self.add_class(max((least, name) for least, name in breakpoints if size >= least)[1], update=False)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Everything was styled when it was mounted; Textual would do it again before the first paint."""
        event.refresh_styles = False
