"""The frame of a picture and the legend in it, drawn as far as they have changed: each byte goes over SSH."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from screens.panes.pane import Pane

MOST_LINES = 3
"""Of a legend."""


class PictureFrame:
    """Knows what of a pane is drawn already: its title, what its lower edge says, its legend."""

    def __init__(self, pane: Pane) -> None:
        self._pane = pane
        self._title: tuple[int | None, str] | None = None
        self._status = ""
        self._legend = Content(""), 0  # and how wide
        self._lines = 0

    def entitle(self, title: str) -> None:
        """Draw the title, after the number of the pane."""
        if (self._pane.number, title) != self._title:  # to draw it costs bytes, and a key may change nothing in it
            self._title = self._pane.number, title
            self._pane.entitle(title)

    def say_below(self, status: str) -> None:
        """Draw what the lower edge says."""
        if status != self._status:
            self._status = status
            self._pane.say_below(status)

    def forget_lines(self) -> None:
        """Something else is asked: its legend begins with the lines that it needs."""
        self._lines = 0

    def draw_legend(self, legend: Content) -> None:
        """Draw what stands above the picture; what is not seen waits until it is.

        The screen is laid out anew only where more lines are needed, which paints all scrollbars and what has moved:
        lines that the legend has taken at one place stay its own at the others, until something else is asked.
        """
        width = self._pane.size.width - 2
        if (legend, width) == self._legend or width <= 0:
            return
        if width != self._legend[1] or not legend.plain:
            self._lines = 0
        self._legend = legend, width
        lines = max(self._lines, len(legend.wrap(width)) if legend.plain else 0)
        static = self._pane.query_one("#legend", Static)
        static.styles.min_height = min(MOST_LINES, lines)
        static.update(legend, layout=lines != self._lines)
        static.display = bool(legend.plain)
        self._lines = lines
