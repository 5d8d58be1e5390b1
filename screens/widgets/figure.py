"""Any figures, one under the other: heatmaps, tables and scores with a cursor each, and keys that lead through all.

A figure of cells is drawn by the grid, tokens by the strip, curves by plotext. A key that goes beyond the last row of
one leads to the next as soon as that can be seen, and scrolls until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from screens.widgets import figure_curves, figure_words
from screens.widgets import figure_models as models
from screens.widgets.grid import CellGrid
from screens.widgets.grid_model import Place
from screens.widgets.in_place import update_in_place
from screens.widgets.score_strip import ScoreStrip
from workbench.figures import Axis, Curves, Figure, Heatmap, Index, Lines, TokenScores

AROUND = 3
"""Lines kept for what stands above and under a figure, when the figure takes all there is."""

CHART = 16
"""Lines of a chart, where there are so many."""


@dataclass
class Beyond(Message):
    """A key would have gone beyond the first (−1) or last (+1) row of a figure, by a row or a page."""

    direction: int
    page: bool = False


class FigureGrid(CellGrid):
    """A heatmap, a table or bars: as high as its rows, and no higher than there is room."""

    DEFAULT_CSS = """
    FigureGrid {
        & > .grid--cursor { text-style: bold underline; }
        &:focus > .grid--cursor { text-style: bold reverse; }
    }
    """
    most = 20

    def fit(self) -> None:
        """Be as high as all rows, and the scrollbar where there is one."""
        wanted = self.virtual_size.height + (self.virtual_size.width > max(1, self._seen.width))
        self.styles.height = max(2, min(self.most, wanted))

    def _lay_out(self) -> None:
        super()._lay_out()
        self.fit()

    def action_move(self, rows: int, columns: int) -> None:
        """Step the cursor, or leave the figure."""
        before = self.cursor
        if not rows or _is_seen(self, 1 + before.row - self.scroll_offset.y):
            super().action_move(rows, columns)
        if rows and self.cursor == before:
            self.post_message(Beyond(rows))

    def action_page(self, direction: int) -> None:
        """Move by what can be seen, or leave the figure."""
        before = self.cursor
        super().action_page(direction)
        if self.cursor == before:
            self.post_message(Beyond(direction, page=True))

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Where no place opens, there is no more about a cell than is said under the figure."""
        return action != "choose" or _opens(self)


class FigureStrip(ScoreStrip):
    """Tokens with their scores: as high as their lines, and no higher than there is room."""

    DEFAULT_CSS = """
    FigureStrip {
        padding: 0 1;
        & > .score-strip--cursor { text-style: bold underline; }
        &:focus > .score-strip--cursor { text-style: bold reverse; }
    }
    """
    most = 20

    def fit(self) -> None:
        """Be as high as all lines."""
        self.styles.height = max(2, min(self.most, self.virtual_size.height))

    def _lay_out(self) -> None:
        super()._lay_out()
        self.fit()

    def action_line(self, by: int) -> None:
        """To the line above or below, or leave the figure."""
        before = self.cursor
        if _is_seen(self, self._line_of(before) * 2 - self.scroll_offset.y):
            super().action_line(by)
        if self.cursor == before and by:
            self.post_message(Beyond(by))

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Where no place opens, there is nothing to ask about a token."""
        return action != "choose" or _opens(self)


def _opens(widget: Widget) -> bool:
    return any(isinstance(parent, FigureView) and parent.opens for parent in widget.ancestors)


def _is_seen(widget: Widget, line: int) -> bool:
    """Whether a line of a figure's widget is within what the view shows of all figures."""
    view = next((parent for parent in widget.ancestors if isinstance(parent, FigureView)), None)
    if view is None or not isinstance(box := widget.parent, Widget):
        return True
    y = box.virtual_region.y + widget.virtual_region.y + line - view.scroll_offset.y
    return 0 <= y < view.size.height


class FigureBox(Vertical):
    """One figure: its title, its own widget, and a line that says the scale and what is at the cursor."""

    DEFAULT_CSS = """
    FigureBox {
        height: auto;
        & > .title { height: auto; padding: 0 1; color: $foreground; text-style: bold; }
        & > .said { height: auto; padding: 0 1; color: $foreground 65%; }
        & > .lines { height: auto; padding: 0 1; }
    }
    """

    def __init__(self, figure: Figure, indices: Mapping[Index, int]) -> None:
        """``indices`` are the layer and token that the view is to show, as far as it was told."""
        super().__init__()
        self.figure, self._indices = figure, indices
        self._title = Static(classes="title")
        self._said = Static(classes="said")
        self.body = _body_of(figure)

    def compose(self) -> ComposeResult:
        """Title, figure, what is said under it."""
        yield self._title
        yield self.body
        yield self._said

    def on_mount(self) -> None:
        """Draw what it was made for, with the cursor where there is most to see."""
        self.take(self.figure)
        if isinstance(self.body, FigureGrid) and isinstance(self.figure, Heatmap) and self.figure.peaks:
            self.body.move_to(Place(*self.figure.peaks[0]))
        elif isinstance(self.body, FigureStrip) and isinstance(self.figure, TokenScores):
            self.body.move_to(self.figure.attributed[0])
        for index, number in self._indices.items():
            self.show_index(index, number)
        self.say()

    def take(self, figure: Figure) -> None:
        """Draw a figure of the same kind in place of the one before; the cursor stays."""
        self.figure = figure
        if not self.body.is_attached:
            return
        self._title.update(Content(figure.title))
        self._title.display = bool(figure.title)
        self.set_class(bool(figure.title), "-titled")
        if isinstance(self.body, FigureGrid):
            self.body.show(models.grid_model(figure))
        elif isinstance(self.body, FigureStrip):
            assert isinstance(figure, TokenScores)
            self.body.show(models.scores(figure), self.body.cursor)
        elif isinstance(figure, Lines):
            assert isinstance(self.body, Static)
            self.body.update(_sentences(figure))
        elif isinstance(figure, Curves):
            _draw_chart(self.body, figure)
        self.say()

    @property
    def place(self) -> Place:
        """Where the figure's cursor is; that of tokens is in their only row."""
        if isinstance(self.body, FigureGrid):
            return self.body.cursor
        return Place(0, self.body.cursor if isinstance(self.body, FigureStrip) else 0)

    def say(self) -> None:
        """Say the scale, and what is at the cursor."""
        if isinstance(self.figure, Curves):
            said = Content("\n").join(Content(line) for line in figure_curves.points(self.figure))
        else:
            legend = figure_words.legend(self.figure, self.app.current_theme.dark)
            here = Content.styled(figure_words.read_out(self.figure, self.place), "$foreground")
            said = Content("   ").join(each for each in (legend, here) if each.plain)
        update_in_place(self._said, said)
        self._said.display = bool(said.plain)

    def limit(self, height: int) -> None:
        """The figure's own widget may take so many lines."""
        if isinstance(self.body, FigureGrid | FigureStrip):
            self.body.most = max(3, height)
            self.body.fit()
        elif isinstance(self.figure, Curves):
            self.body.styles.height = max(6, min(CHART, height))

    def enter(self, direction: int) -> None:
        """The keyboard comes from above (+) or below (−)."""
        if isinstance(self.body, FigureGrid):
            last = self.body.virtual_size.height - 2
            self.body.move_to(self.body.cursor._replace(row=0 if direction > 0 else last))
            self.say()
        self.body.focus(scroll_visible=False)

    def show_index(self, index: Index, number: int) -> None:
        """Put the cursor on a layer or token, where that is what a row or column is."""
        place = self.place
        if isinstance(self.figure, Heatmap) and isinstance(self.body, FigureGrid):
            rows, columns = self.figure.rows, self.figure.columns
            row = rows.place_of(number) if rows.index == index else place.row
            self.body.move_to(Place(row, columns.place_of(number) if columns.index == index else place.column))
        elif isinstance(self.body, FigureStrip) and index == "token":
            self.body.move_to(number)
        if self.place != place:
            self.say()

    def indices(self) -> dict[Index, int]:
        """The layer and the token that the cursor is on, as far as rows and columns are such."""
        if isinstance(self.figure, TokenScores):
            return {"token": self.place.column}
        if not isinstance(self.figure, Heatmap):
            return {}
        axes: tuple[tuple[Axis, int], ...] = (
            (self.figure.rows, self.place.row),
            (self.figure.columns, self.place.column),
        )
        return {axis.index: axis.index_of(at) for axis, at in axes if axis.index}


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
            self._replace(same, [FigureBox(figure, self._indices) for figure in figures[same:]])

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
        if loses:
            self.call_after_refresh(self.focus_figure)


def _body_of(figure: Figure) -> Widget:
    if isinstance(figure, Lines):
        return Static(classes="lines")
    if isinstance(figure, TokenScores):
        return FigureStrip()
    if isinstance(figure, Curves):
        from textual_plotext import PlotextPlot  # a third of a second at the first chart, and none before

        return PlotextPlot()
    return FigureGrid()


def _draw_chart(widget: Widget, figure: Curves) -> None:
    from textual_plotext import PlotextPlot

    assert isinstance(widget, PlotextPlot)
    widget.plt.clear_data()
    figure_curves.draw_curves(widget.plt, figure, widget.app.current_theme.dark)
    widget.refresh()


def _sentences(figure: Lines) -> Content:
    return Content("\n").join(
        Content.styled(line.shown, models.STYLES[models.TONES[line.meaning]]) for line in figure.lines
    )
