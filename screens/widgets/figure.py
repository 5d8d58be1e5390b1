"""Any figures, one under the other: heatmaps, tables and scores with a cursor each, and keys that lead through all.

A figure of cells is drawn by the grid, tokens by the strip, curves by plotext. A key that goes beyond the last row of
one leads to the next as soon as that can be seen, and scrolls until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from screens.widgets.figure_box import Beyond, FigureBox
from screens.widgets.grid import CellGrid
from screens.widgets.score_strip import ScoreStrip
from workbench.figures import Figure, Index

AROUND = 3
"""Lines kept for what stands above and under a figure, when the figure takes all there is."""


class FigureView(VerticalScroll, can_focus=True, inherit_bindings=False):
    """Shows figures, or says something in their place."""

    DEFAULT_CSS = """
    FigureView {
        height: 1fr; scrollbar-size: 1 1; background: $surface;
        & > #instead { height: 1fr; content-align: center middle; text-align: center; color: $foreground 55%; }
        & > FigureBox.-titled { margin-top: 1; }
        & > FigureBox:first-of-type { margin-top: 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k,up", "by(-1)", "Up", tooltip="One line up", show=False, id="figures.up"),
        Binding("j,down", "by(1)", "Down", tooltip="One line down", show=False, id="figures.down"),
        Binding("pageup", "by_page(-1)", "Page up", tooltip="One page up", show=False, id="figures.page_up"),
        Binding("pagedown", "by_page(1)", "Page down", tooltip="One page down", show=False, id="figures.page_down"),
        Binding("home", "to_end(-1)", "First", tooltip="To the first line", show=False, id="figures.first"),
        Binding("end", "to_end(1)", "Last", tooltip="To the last line", show=False, id="figures.last"),
    ]

    @dataclass
    class Moved(Message):
        """The person moved a cursor to a layer, a token, or both."""

        indices: dict[Index, int]

    @dataclass
    class Opened(Message):
        """The person opened a place (row, column) of a figure; that of tokens is in their only row."""

        figure: Figure
        place: tuple[int, int]

    def __init__(self, *, id: str | None = None, opens: bool = False) -> None:  # noqa: A002 - as in Textual
        """``opens``: a place of a figure can be opened, which is told by `Opened`."""
        super().__init__(id=id)
        self.opens = opens
        self._instead = Static(id="instead")
        self.boxes: list[FigureBox] = []
        self._indices: dict[Index, int] = {}

    def compose(self) -> ComposeResult:
        """Nothing but a place for words, at first."""
        yield self._instead

    def show(self, figures: Sequence[Figure]) -> None:
        """Draw other figures. The first ones that are of the same kinds as those before keep cursor and keyboard.

        Where already the first is of another kind it is another picture, which is seen from its beginning.
        """
        self._instead.display = False
        pairs = zip(self.boxes, figures, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: type(pair[0].figure) is type(pair[1]), pairs))
        for box, figure in zip(self.boxes, figures[:same], strict=False):
            box.take(figure)
        if not same == len(self.boxes) == len(figures):
            self._replace(same, [FigureBox(figure, self._indices, self.opens) for figure in figures[same:]])

    def show_placeholder(self, text: str) -> None:
        """Say something in place of figures."""
        self._replace(0, [])
        self._instead.display = True
        self._instead.update(Content(text))

    def show_index(self, index: Index, number: int) -> None:
        """Put all cursors on a layer or token, those of figures to come too."""
        self._indices[index] = number
        for box in self.boxes:
            box.show_index(index, number)

    def focus_figure(self) -> None:
        """Put the keyboard into the first figure that has a cursor, or else into all of it."""
        stops = self._stops
        if stops:
            stops[0].body.focus(scroll_visible=False)
        else:
            self.focus()

    def on_resize(self) -> None:
        """A figure takes no more than can be seen at once."""
        for box in self.boxes:
            box.limit(self.size.height - AROUND)

    def on_beyond(self, event: Beyond) -> None:
        """Go to the next figure with a cursor if it can be seen; until then scroll."""
        event.stop()
        stops, direction = self._stops, event.direction
        here = next((place for place, box in enumerate(stops) if box.has_focus_within), None)
        following = None if here is None else here + direction
        if following is not None and 0 <= following < len(stops) and self._can_be_seen(stops[following]):
            stops[following].enter(direction)
            self.scroll_to_widget(stops[following], animate=False)
        elif event.page:
            self.action_by_page(direction)
        else:
            self.action_by(direction)

    def on_cell_grid_moved(self, event: CellGrid.Moved) -> None:
        """The person moved in a grid."""
        event.stop()
        self._moved()

    def on_score_strip_moved(self, event: ScoreStrip.Moved) -> None:
        """The person moved in tokens."""
        event.stop()
        self._moved()

    def on_cell_grid_chosen(self, event: CellGrid.Chosen) -> None:
        """The person asked for more about a cell."""
        event.stop()
        self._open()

    def on_score_strip_chosen(self, event: ScoreStrip.Chosen) -> None:
        """The person asked for more about a token."""
        event.stop()
        self._open()

    def action_by(self, lines: int) -> None:
        """Scroll."""
        self.scroll_relative(y=lines, animate=False)

    def action_by_page(self, direction: int) -> None:
        """Scroll by what can be seen, but for a line."""
        self.scroll_relative(y=direction * max(1, self.size.height - 1), animate=False)

    def action_to_end(self, direction: int) -> None:
        """Scroll to the first or last line."""
        self.scroll_to(y=0 if direction < 0 else self.max_scroll_y, animate=False)

    @property
    def _stops(self) -> list[FigureBox]:
        """The figures that have a cursor."""
        return [box for box in self.boxes if box.body.can_focus]

    def _can_be_seen(self, box: FigureBox) -> bool:
        """Whether a row of it is, not only its title."""
        top, bottom = box.virtual_region.y, box.virtual_region.bottom
        return top + 2 < self.scroll_offset.y + self.size.height and bottom - 2 > self.scroll_offset.y

    def _moved(self) -> None:
        box = next((box for box in self._stops if box.has_focus_within), None)
        if box is not None:
            box.say()
            self.scroll_to_widget(box, animate=False)
            if indices := box.indices():
                self.post_message(self.Moved(indices))

    @property
    def here(self) -> tuple[Figure, tuple[int, int]] | None:
        """The figure that has the keyboard, and the place (row, column) of its cursor."""
        box = next((box for box in self._stops if box.has_focus_within), None)
        return None if box is None else (box.figure, (box.place.row, box.place.column))

    def _open(self) -> None:
        if self.opens and (here := self.here) is not None:
            self.post_message(self.Opened(*here))

    def _replace(self, kept: int, boxes: list[FigureBox]) -> None:
        """Put other figures in place of all but the first ``kept``; the keyboard stays here if it was here.

        Textual hands the keyboard of a widget that is removed to whatever stands before it, which may be the prompt.
        """
        gone = self.boxes[kept:]
        loses = self.has_focus or any(box.has_focus_within for box in gone)
        if loses:
            self.can_focus = True
            self.screen.set_focus(self, scroll_visible=False)
        for box in gone:
            box.remove()
        self.boxes = [*self.boxes[:kept], *boxes]
        self.can_focus = not self._stops
        if not kept:  # what was scrolled to was in another picture
            self.scroll_to(y=0, animate=False, immediate=True)
        for box in boxes:
            box.limit(self.size.height - AROUND)
        if boxes:
            self.mount_all(boxes)
            # A layout may be due, and Textual sends no `Resize` to a widget whose size was asked for before it.
            self.call_after_refresh(self.on_resize)
        if loses:
            self.call_after_refresh(self.focus_figure)
