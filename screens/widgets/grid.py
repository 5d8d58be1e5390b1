"""The grid under every layer × token picture: labelled rows and columns that stay put while the cells scroll.

Drawn by lines and virtual in both directions, so that its cost is that of what can be seen. It draws whatever
fulfils `GridModel`, and knows nothing of what the cells mean.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from textwrap import wrap
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.events import Click
from textual.geometry import Region, Size, clamp
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.widgets.colours import Shade, block, fill
from screens.widgets.grid_model import GridColumn, GridModel, Place, fit

STRIPS_KEPT = 1024


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
        & > .grid--cursor-column { color: $foreground; text-style: bold underline; }
        & > .grid--row { background: $primary 22%; }
        & > .grid--cursor { color: $foreground; text-style: bold reverse; }
        &:focus > .grid--row { background: $primary 45%; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *(f"grid--{name}" for name in ("plain", "dim", "strong", "target", "foil", "warn", "error")),
        *(f"grid--{name}" for name in ("label", "cursor-label", "cursor-column", "row", "cursor")),
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
        self._columns: tuple[GridColumn, ...] = ()
        self._starts: list[int] = [0]
        self._label_width = 0
        self._laid_out_for = -1
        self._version = 0
        self._strips: LRUCache[object, Strip] = LRUCache(STRIPS_KEPT)
        self._styles_of: dict[tuple[str, bool], Style] = {}

    def show(self, model: GridModel | None, cursor: Place | None = None, pages: int | None = None) -> None:
        """Draw another model, or the placeholder when there is none. The cursor stays unless another is given.

        Of a model that is laid out as the one before, only lines that look different are drawn.
        """
        drawn = self._drawn()
        self._model, self._pages = model, pages
        # With pages no key scrolls sideways: what does not fit is for the model to leave out.
        self.styles.overflow_x = "auto" if pages is None else "hidden"
        self._version += 1
        self._laid_out_for = -1
        self._lay_out()
        self.cursor = self._within(cursor or self.cursor)
        self._scroll_to_cursor()
        width, now = self._seen.width, self._drawn()
        if drawn is None or now is None or drawn[0] != now[0]:
            self.refresh()
        elif lines := [
            Region(0, y, width, 1) for y, (one, other) in enumerate(zip(drawn[1], now[1], strict=True)) if one != other
        ]:
            self.refresh(*lines)

    def _drawn(self) -> tuple[object, list[Strip]] | None:
        """How the lines that can be seen are laid out, and what they look like; None while nothing is drawn."""
        if self._model is None or not self._seen or not self._columns:
            return None
        layout = self._columns, self._label_width, self._model.n_rows, self.scroll_offset, self._pages, self._seen
        return layout, [self.render_line(y) for y in range(self._seen.height)]

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
            self.refresh(*self._changed(before, place))

    def action_move(self, rows: int, columns: int) -> None:
        """Step the cursor."""
        self._go(Place(self.cursor.row + rows, self.cursor.column + columns))

    def action_page(self, direction: int) -> None:
        """Move the cursor by as many rows as can be seen."""
        self._go(Place(self.cursor.row + direction * max(1, self._seen.height - 2), self.cursor.column))

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

    def watch_show_vertical_scrollbar(self) -> None:
        """A scrollbar that comes or goes is another width; only now can its direction be scrolled."""
        self.on_resize()

    def watch_show_horizontal_scrollbar(self) -> None:
        """And another height."""
        self.on_resize()

    def notify_style_update(self) -> None:
        """The theme has changed or the keyboard has come or gone, hence every strip."""
        super().notify_style_update()
        self._strips.clear()
        self._styles_of.clear()

    def render_line(self, y: int) -> Strip:
        """One line of what can be seen: the column labels, then rows."""
        width = self._seen.width
        if self._model is None:
            return self._placeholder_line(y, width)
        scroll_x, scroll_y = self.scroll_offset
        row = y - 1 + scroll_y if y else -1
        cursor = self.cursor.column if row in (-1, self.cursor.row) else None
        key = (self._version, row, cursor, row == self.cursor.row, scroll_x, width)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._draw(row, scroll_x, width)
        return strip

    # Moving

    @property
    def _seen(self) -> Size:
        """What can be seen, without the scrollbars."""
        return self.scrollable_content_region.size

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
        seen = self._seen
        if self._model is None or not seen:
            return
        x, y = self.scroll_offset
        row, column = self.cursor
        y = clamp(y, row + 2 - seen.height, row)
        if self._pages is None and self._columns:
            start, stop = self._starts[column], self._starts[column + 1]
            x = min(max(x, stop - (seen.width - self._label_width)), start)
        if (x, y) != self.scroll_offset:
            self.scroll_to(x, y, animate=False)

    def _changed(self, before: Place, after: Place) -> list[Region]:
        """What looks different because the cursor went from one place to another.

        A row from its label to the cell: Textual (8.2) paints from a widget's left edge to the region anyway.
        """
        regions = []
        for row, column in (before, after):
            width = self._seen.width
            if self._pages is None and column < len(self._columns):
                width = self._label_width + self._starts[column + 1] - self.scroll_offset.x
            regions.append(Region(0, row + 1 - self.scroll_offset.y, width, 1))
        if self._pages is None and before.column != after.column:
            regions.append(Region(0, 0, max(region.width for region in regions), 1))
        return regions

    # Drawing

    def _lay_out(self) -> None:
        """Ask the model for its columns, once for each width."""
        if self._model is None:
            self._columns, self._starts, self._label_width = (), [0], 0
            self.virtual_size = Size(0, 0)
            return
        width = self._seen.width
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
        plain = self._style("plain")
        if row >= self._model.n_rows:
            return Strip.blank(width, plain)
        here = row == self.cursor.row
        dark = self.app.current_theme.dark
        room = max(0, width - self._label_width)
        first = max(0, bisect_right(self._starts, scroll_x) - 1)
        stop = bisect_right(self._starts, scroll_x + room - 1, hi=len(self._columns))
        segments: list[Segment] = []
        for index in range(first, stop):
            segments += self._header(index) if row < 0 else self._cell(row, index, here, dark)
        start = self._starts[first]
        body = Strip(segments, self._starts[max(first, stop)] - start)
        strip = Strip([self._label(row, here), *body.crop(scroll_x - start, scroll_x - start + room)])
        end = self._style("plain", here and self._pages is not None)
        return strip.simplify().adjust_cell_length(width, end)

    def _label(self, row: int, here: bool) -> Segment:
        assert self._model is not None
        text = self._model.corner if row < 0 else self._model.row_label(row)
        drawn = fit(text, self._label_width - 3, self._model.labels_right)
        style = self._style("cursor-label" if here else "label", here and self._pages is not None)
        return Segment(f"{'▸' if here else ' '} {drawn} ", style)

    def _header(self, index: int) -> list[Segment]:
        column = self._columns[index]
        here = self._pages is None and index == self.cursor.column
        style = self._style("cursor-column" if here else "label")
        return [
            Segment(" " * column.lead, self._style("label")),
            Segment(fit(column.label, column.room, column.right), style),
            Segment("" if column.tight else " ", self._style("label")),
        ]

    def _cell(self, row: int, index: int, row_is_here: bool, dark: bool) -> list[Segment]:
        assert self._model is not None
        column = self._columns[index]
        text, tone, shade, badge = self._model.cell(row, column)
        if row_is_here and self._pages is None and index == self.cursor.column:
            style = quiet = self._style("cursor")
        elif shade is not None:
            are_blocks = column.tight and shade.ramp == "sequential"  # signs are texts
            style, quiet = _block_styles(shade, dark) if are_blocks else _shade_styles(shade, dark)
        else:
            style = quiet = self._style(tone, row_is_here and self._pages is not None)
        lead = Segment(" " * column.lead, self._style("plain"))
        free = "" if column.tight else " "
        if not badge:
            return [lead, Segment(fit(text, column.room, column.right) + free, style)]
        space = column.room - cell_len(badge) - len(free)
        return [lead, Segment(fit(text, space, column.right) + free, style), Segment(badge + free, quiet)]

    def _style(self, name: str, on_cursor_row: bool = False) -> Style:
        """The style of a component class, with the widget's background or that of the cursor's row."""
        style = self._styles_of.get((name, on_cursor_row))
        if style is None:
            style = self.get_component_rich_style(f"grid--{name}")
            if on_cursor_row:
                style += Style(bgcolor=self.get_component_rich_style("grid--row").bgcolor)
            self._styles_of[name, on_cursor_row] = style
        return style

    def _placeholder_line(self, y: int, width: int) -> Strip:
        lines = [line for part in self.placeholder.splitlines() for line in wrap(part, max(1, width - 4)) or [""]]
        line = y - max(0, (self._seen.height - len(lines)) // 2)
        if not 0 <= line < len(lines):
            return Strip.blank(width, self._style("dim"))
        text = fit(lines[line], min(width, cell_len(lines[line])))
        left = max(0, (width - cell_len(text)) // 2)
        return Strip([Segment(" " * left + text, self._style("dim"))]).adjust_cell_length(width, self._style("dim"))


@lru_cache(256)
def _shade_styles(shade: Shade, dark: bool) -> tuple[Style, Style]:
    background, foreground, quiet = fill(shade, dark)
    return Style(color=foreground, bgcolor=background), Style(color=quiet, bgcolor=background)


@lru_cache(256)
def _block_styles(shade: Shade, dark: bool) -> tuple[Style, Style]:
    foreground, background = block(shade, dark)
    return (Style(color=foreground, bgcolor=background),) * 2
