"""The names of panes in a line, of which one is shown: as many whole names as there is room for, and never a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

BEFORE, AFTER = "‹ ", " ›"


class TabLine(Widget):
    """Shows the ``active`` one of some names, those around it, and by an arrow that there are more."""

    DEFAULT_CSS = """
    TabLine { height: 1; padding: 0 1; color: $text-muted; }
    """

    active: reactive[int] = reactive(0)

    @dataclass
    class Chosen(Message):
        """A name was clicked: its place."""

        place: int

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = tuple(names)

    def render(self) -> Content:
        """The line."""
        shown = self._shown()
        parts: list[Content | str] = [BEFORE if shown.start else ""]
        for place in shown:
            parts.append("  " if place > shown.start else "")
            parts.append(Content.styled(self._names[place], "bold reverse" if place == self.active else ""))
        parts.append(AFTER if shown.stop < len(self._names) else "")
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        """To the name that was clicked; an arrow leads to the first name that is not shown."""
        shown, at = self._shown(), event.get_content_offset(self)
        if at is None:
            return
        edge = len(BEFORE) if shown.start else 0
        if at.x < edge:
            self.post_message(self.Chosen(shown.start - 1))
            return
        for place in shown:
            edge += cell_len(self._names[place])
            if at.x < edge:
                self.post_message(self.Chosen(place))
                return
            edge += 2 * (place + 1 < shown.stop)
        if shown.stop < len(self._names):
            self.post_message(self.Chosen(shown.stop))

    def _shown(self) -> range:
        """The places that there is room for: as many before the active one as after it, where there are as many."""
        room = self.content_size.width
        shown = range(self.active, self.active + 1)
        while True:
            wider = (range(shown.start, shown.stop + 1), range(shown.start - 1, shown.stop))
            if self.active - shown.start < shown.stop - 1 - self.active:
                wider = wider[::-1]
            fits = (
                each
                for each in wider
                if each.start >= 0 and each.stop <= len(self._names) and self._width(each) <= room
            )
            if (found := next(fits, None)) is None:
                return shown
            shown = found

    def _width(self, places: range) -> int:
        names = sum(cell_len(self._names[place]) + 2 for place in places) - 2
        arrows = len(BEFORE) * (places.start > 0) + len(AFTER) * (places.stop < len(self._names))
        return names + arrows
