"""One figure: a grid, tokens, a chart or sentences, its title, and a line that says what is at the cursor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual.app import ComposeResult
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
    opens = False

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
        return action != "choose" or self.opens


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
    opens = False

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
        return action != "choose" or self.opens


def _is_seen(widget: Widget, line: int) -> bool:
    """Whether a line of a figure's widget is within what is shown of all figures."""
    view = next((parent for parent in widget.ancestors if isinstance(parent, VerticalScroll)), None)
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

    def __init__(self, figure: Figure, indices: Mapping[Index, int], opens: bool = False) -> None:
        """``indices`` are the layer and token to begin at, as far as they are known; ``opens``: so do its places."""
        super().__init__()
        self.figure, self._indices = figure, indices
        self._title = Static(classes="title")
        self._said = Static(classes="said")
        self.body = _body_of(figure)
        if isinstance(self.body, FigureGrid | FigureStrip):
            self.body.opens = opens

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
