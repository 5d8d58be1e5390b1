"""The grid under every layer × token picture: labelled rows and columns that stay put while the cells scroll.

Drawn by lines and virtual in both directions, so that its cost is that of what can be seen. It draws whatever
fulfils `GridModel`, and knows nothing of what the cells mean.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from textwrap import wrap
from typing import ClassVar, Literal, NamedTuple, Protocol

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.events import Click
from textual.geometry import Region, Size, clamp
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.widgets.colours import Shade, fill

Tone = Literal["plain", "dim", "strong", "target", "foil", "warn", "error"]
"""How a text is set. Each is a component class ``grid--…`` of `CellGrid`."""

STRIPS_KEPT = 1024


class Cell(NamedTuple):
    """One cell: display-safe text, how it is set, and a background where its value is coloured.

    ``badge`` stands at the right end: the value as a character, for who cannot see the colour.
    """

    text: str
    tone: Tone = "plain"
    shade: Shade | None = None
    badge: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``width`` cells, the last of them free between texts. ``key`` is the model's own."""

    key: object
    label: str
    width: int
    right: bool = False


class GridModel(Protocol):
    """What a grid draws. Must not change once shown: show a new one instead."""

    @property
    def n_rows(self) -> int:
        """How many rows there are."""

    @property
    def corner(self) -> str:
        """The label above the row labels."""

    @property
    def labels_right(self) -> bool:
        """Whether row labels stand to the right, as numbers do."""

    def columns(self, width: int) -> tuple[Column, ...]:
        """All columns, laid out for ``width`` cells beside the row labels; they may be wider and then scroll."""

    def row_label(self, row: int) -> str:
        """The label of a row, counted from the top."""

    def cell(self, row: int, column: Column) -> Cell:
        """The cell of a row and one of `columns`."""


class Place(NamedTuple):
    """A cell, counted from the top left."""

    row: int
    column: int


class CellGrid(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows a `GridModel` with a cursor.

    The cursor is a cell; or, when shown with ``pages``, a whole row, and left and right then turn pages
    (``cursor.column`` is the page) that the owner shows by another model.
    """

    DEFAULT_CSS = """
    CellGrid {
        height: 1fr;
        scrollbar-size: 1 1;
        background: $surface;
        & > .grid--plain { color: $foreground; }
        & > .grid--dim { color: $foreground 55%; }
        & > .grid--strong { color: $foreground; text-style: bold; }
        & > .grid--target { color: $text-primary; text-style: bold; }
        & > .grid--foil { color: $text-warning; text-style: bold; }
        & > .grid--warn { color: $text-warning; }
        & > .grid--error { color: $text-error; }
        & > .grid--label { color: $foreground 55%; }
        & > .grid--cursor-label { color: $foreground; text-style: bold; }
        & > .grid--row { background: $primary 22%; }
        & > .grid--cursor { color: $foreground; text-style: bold reverse; }
        &:focus > .grid--row { background: $primary 45%; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"grid--{name}" for name in ("plain", "dim", "strong", "target", "foil", "warn", "error")),
        *(f"grid--{name}" for name in ("label", "cursor-label", "row", "cursor")),
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k,up", "move(-1, 0)", "Up", tooltip="One row up", show=False, id="grid.up"),
        Binding("j,down", "move(1, 0)", "Down", tooltip="One row down", show=False, id="grid.down"),
        Binding("h,left", "move(0, -1)", "Left", tooltip="One column left", show=False, id="grid.left"),
        Binding("l,right", "move(0, 1)", "Right", tooltip="One column right", show=False, id="grid.right"),
        Binding("pageup", "page(-1)", "Page up", tooltip="One page up", show=False, id="grid.page_up"),
        Binding("pagedown", "page(1)", "Page down", tooltip="One page down", show=False, id="grid.page_down"),
        Binding("home", "edge(-1)", "First", tooltip="To the first column", show=False, id="grid.first"),
        Binding("end", "edge(1)", "Last", tooltip="To the last column", show=False, id="grid.last"),
        Binding("enter", "choose", "Detail", tooltip="Open this cell", id="grid.choose"),
    ]

    @dataclass
    class Moved(Message):
        """The person moved the cursor: it is there already."""

        place: Place

    @dataclass
    class Chosen(Message):
        """The person asked for more about a cell."""

        place: Place

    def __init__(self, placeholder: str = "", *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.placeholder = placeholder
        self.cursor = Place(0, 0)
        self._model: GridModel | None = None
        self._pages: int | None = None
        self._columns: tuple[Column, ...] = ()
        self._starts: list[int] = [0]
        self._label_width = 0
        self._laid_out_for = -1
        self._version = 0
        self._strips: LRUCache[object, Strip] = LRUCache(STRIPS_KEPT)

    def show(self, model: GridModel | None, cursor: Place | None = None, pages: int | None = None) -> None:
        """Draw another model, or the placeholder when there is none. The cursor stays unless another is given."""
        self._model, self._pages = model, pages
        self.styles.overflow_x = (
            "auto" if pages is None else "hidden"
        )  # a row that is too wide has no key to scroll it
        self._version += 1
        self._laid_out_for = -1
        self._lay_out()
        self.cursor = self._within(cursor or self.cursor)
        self._scroll_to_cursor()
        self.refresh()

    def show_placeholder(self, text: str) -> None:
        """Say something in place of cells."""
        self.placeholder = text
        self.show(None)

    def move_to(self, place: Place) -> None:
        """Put the cursor somewhere, without a message. Draws again only what that changes."""
        place = self._within(place)
        if place == self.cursor:
            return
        before, self.cursor = self.cursor, place
        offset = self.scroll_offset
        self._scroll_to_cursor()
        if self.scroll_offset == offset:
            self._refresh_cursor(before)
            self._refresh_cursor(place)

    def action_move(self, rows: int, columns: int) -> None:
        """Step the cursor."""
        self._go(Place(self.cursor.row + rows, self.cursor.column + columns))

    def action_page(self, direction: int) -> None:
        """Move the cursor by as many rows as can be seen."""
        self._go(Place(self.cursor.row + direction * max(1, self.size.height - 2), self.cursor.column))

    def action_edge(self, direction: int) -> None:
        """Move the cursor to the first or last column (or page)."""
        self._go(Place(self.cursor.row, 0 if direction < 0 else self._n_steps - 1))

    def action_choose(self) -> None:
        """Ask for more about the cursor's cell."""
        if self._model is not None:
            self.post_message(self.Chosen(self.cursor))

    def on_click(self, event: Click) -> None:
        """Move the cursor to the cell clicked on; a second click asks for more about it."""
        offset = event.get_content_offset(self)
        if self._model is None or offset is None or offset.y < 1:
            return
        column = self.cursor.column
        if self._pages is None and offset.x >= self._label_width:
            column = bisect_right(self._starts, offset.x - self._label_width + self.scroll_offset.x) - 1
        row = offset.y - 1 + self.scroll_offset.y
        if row < self._model.n_rows and column < self._n_steps:
            self._go(Place(row, column))
            if event.chain == 2:
                self.action_choose()

    def on_resize(self) -> None:
        """Columns may be laid out otherwise."""
        self._lay_out()
        self._scroll_to_cursor()

    def on_focus(self) -> None:
        """The cursor's row looks different with the keyboard in it."""
        self._strips.clear()

    def on_blur(self) -> None:
        """And without."""
        self._strips.clear()

    def notify_style_update(self) -> None:
        """The theme has changed, hence every strip."""
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        """One line of what can be seen: the column labels, then rows."""
        width = self.size.width
        if self._model is None:
            return self._placeholder_line(y, width).apply_style(self.rich_style)
        scroll_x, scroll_y = self.scroll_offset
        row = y - 1 + scroll_y if y else -1
        cursor = self.cursor.column if row in (-1, self.cursor.row) else None
        key = (self._version, row, cursor, row == self.cursor.row, scroll_x, width, self.has_focus, self.app.theme)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._draw(row, scroll_x, width).apply_style(self.rich_style)
        return strip

    # Moving

    @property
    def _n_steps(self) -> int:
        """How many places the cursor can take from left to right."""
        return len(self._columns) if self._pages is None else self._pages

    def _within(self, place: Place) -> Place:
        n_rows = self._model.n_rows if self._model else 1
        return Place(clamp(place.row, 0, max(0, n_rows - 1)), clamp(place.column, 0, max(0, self._n_steps - 1)))

    def _go(self, place: Place) -> None:
        place = self._within(place)
        if self._model is not None and place != self.cursor:
            self.move_to(place)
            self.post_message(self.Moved(place))

    def _scroll_to_cursor(self) -> None:
        """Scroll as little as brings the cursor's cell into view, and without animation: that costs bytes."""
        if self._model is None or not self.size:
            return
        x, y = self.scroll_offset
        row, column = self.cursor
        y = clamp(y, row + 2 - self.size.height, row)
        if self._pages is None and self._columns:
            start, stop = self._starts[column], self._starts[column + 1]
            x = min(max(x, stop - (self.size.width - self._label_width)), start)
        if (x, y) != self.scroll_offset:
            self.scroll_to(x, y, animate=False)

    def _refresh_cursor(self, place: Place) -> None:
        """Draw again what looks different because the cursor is, or was, there."""
        y = place.row + 1 - self.scroll_offset.y
        if self._pages is not None:
            self.refresh(Region(0, y, self.size.width, 1))
            return
        if place.column >= len(self._columns):
            return
        x = self._label_width + self._starts[place.column] - self.scroll_offset.x
        width = self._columns[place.column].width
        self.refresh(Region(0, y, self._label_width, 1), Region(x, y, width, 1), Region(x, 0, width, 1))

    # Drawing

    def _lay_out(self) -> None:
        """Ask the model for its columns, once for each width."""
        if self._model is None:
            self._columns, self._starts, self._label_width = (), [0], 0
            self.virtual_size = Size(0, 0)
            return
        width = self.size.width
        if width == self._laid_out_for:
            return
        if self._laid_out_for == -1:
            labels = (self._model.row_label(row) for row in range(self._model.n_rows))
            self._label_width = max(cell_len(self._model.corner), *map(cell_len, labels), 0) + 3
        self._laid_out_for = width
        self._version += 1
        self._columns = self._model.columns(max(0, width - self._label_width))
        self._starts = [0]
        for column in self._columns:
            self._starts.append(self._starts[-1] + column.width)
        self.virtual_size = Size(self._label_width + self._starts[-1], 1 + self._model.n_rows)

    def _draw(self, row: int, scroll_x: int, width: int) -> Strip:
        """A line as a strip; row −1 is the line of labels."""
        assert self._model is not None
        if row >= self._model.n_rows:
            return Strip.blank(width)
        here = row == self.cursor.row
        base = self._row_style() if here else Style.null()
        first = max(0, bisect_right(self._starts, scroll_x) - 1)
        segments: list[Segment] = []
        start = self._starts[first]
        for index in range(first, len(self._columns)):
            if self._starts[index] - scroll_x >= width - self._label_width:
                break
            segments += self._header(index) if row < 0 else self._cell(row, index, base)
        body = Strip(segments).crop(scroll_x - start, scroll_x - start + max(0, width - self._label_width))
        strip = Strip([self._label(row, here), *body]).simplify()
        return strip.adjust_cell_length(width, base)

    def _label(self, row: int, here: bool) -> Segment:
        assert self._model is not None
        text = self._model.corner if row < 0 else self._model.row_label(row)
        marker = "▸ " if here else "  "
        style = self._text_style("grid--cursor-label" if here else "grid--label")
        return Segment(
            marker + fit(text, self._label_width - 3, self._model.labels_right) + " ", style + self._row_style(here)
        )

    def _header(self, index: int) -> list[Segment]:
        column = self._columns[index]
        here = self._pages is None and index == self.cursor.column
        style = self._text_style("grid--cursor-label" if here else "grid--label")
        text = fit(column.label, column.width - 1, column.right)
        if here:  # visible without colour too
            style += Style(underline=True)
        return [Segment(text, style), Segment(" ")]

    def _cell(self, row: int, index: int, base: Style) -> list[Segment]:
        assert self._model is not None
        column = self._columns[index]
        text, tone, shade, badge = self._model.cell(row, column)
        space = column.width - 1 - cell_len(badge)
        drawn = fit(text, space - 1, column.right) + " " if badge else fit(text, space, column.right)
        if self._pages is None and self.cursor == (row, index):
            style = quiet = self.get_component_rich_style("grid--cursor")
        elif shade is not None:
            style, quiet = _shade_styles(shade, self.app.current_theme.dark)
        else:
            style = quiet = base + self._text_style(f"grid--{tone}")
        return [Segment(drawn, style), Segment(badge + " ", quiet)]

    def _text_style(self, name: str) -> Style:
        """The style of a component class without its background, which is the row's."""
        style = self.get_component_rich_style(name)
        return Style(color=style.color, bold=style.bold)

    def _row_style(self, here: bool = True) -> Style:
        if not here or self._pages is None:
            return Style.null()
        return Style(bgcolor=self.get_component_rich_style("grid--row").bgcolor)

    def _placeholder_line(self, y: int, width: int) -> Strip:
        lines = [line for part in self.placeholder.splitlines() for line in wrap(part, max(1, width - 4)) or [""]]
        line = y - max(0, (self.size.height - len(lines)) // 2)
        if not 0 <= line < len(lines):
            return Strip.blank(width)
        text = fit(lines[line], min(width, cell_len(lines[line])))
        left = max(0, (width - cell_len(text)) // 2)
        style = self._text_style("grid--dim")
        return Strip([Segment(" " * left), Segment(text, style)]).adjust_cell_length(width)


@lru_cache(16384)
def fit(text: str, width: int, right: bool = False) -> str:
    """Make a text exactly ``width`` cells wide; what is cut off is marked by "…"."""
    if width <= 0:
        return ""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    padding = " " * (width - length)
    return padding + text if right else text + padding


@lru_cache(256)
def _shade_styles(shade: Shade, dark: bool) -> tuple[Style, Style]:
    background, foreground, quiet = fill(shade, dark)
    return Style(color=foreground, bgcolor=background), Style(color=quiet, bgcolor=background)
