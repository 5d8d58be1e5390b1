"""The widget that draws any figures: what it says, its keys, and that it looks right from 80×24 to 200×60."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input, Static

from screens.widgets.figure import FigureView
from screens.widgets.figure_box import FigureGrid, FigureStrip
from screens.widgets.figure_models import HeatmapModel, TableModel, mark, ruler
from screens.widgets.figure_words import read_out
from screens.widgets.grid_model import Place
from tests.test_cli_figures import FIGURES, OTHERS, RECORDED
from tests.waiting import until
from workbench.figures import (
    Axis,
    Bar,
    Bars,
    Cell,
    Column,
    Curve,
    Curves,
    Figure,
    Heatmap,
    Scale,
    Table,
    TokenScores,
    line,
    said,
)
from workbench.protocol import Result

HEATMAP = Heatmap(
    title="Restored",
    rows=Axis(name="token", labels=("The", "Australia", "is"), index="token", subject=(1, 2)),
    columns=Axis(name="layer", labels=tuple(map(str, range(30))), index="layer"),
    values=tuple(
        tuple(None if (token, layer) == (0, 0) else 0.02 * token * layer for layer in range(30)) for token in range(3)
    ),
    scale=Scale(high=1.0, unit="probability"),
    estimated=tuple(tuple(token == 2 and layer > 20 for layer in range(30)) for token in range(3)),
    peaks=((1, 29),),
)
SIGNED = Heatmap(
    title="Heads",
    rows=Axis(name="layer", labels=("1", "0", "emb"), index="layer", first=1, step=-1),
    columns=Axis(name="head", labels=("0", "1")),
    values=((-1.25, 2.5), (0.0, 0.5), (None, -2.0)),
    scale=Scale.signed([2.5], "logits"),
)
SCORES = TokenScores(
    title="What pulls", tokens=("<s>", "The", " capital", " is"), scores=(0.0, 1.5, -3.25, 0.125),
    scale=Scale.signed([-3.25], "logits"), attributed=(1, 4), subject=(2, 3), target="Canberra", foil="Sydney",
)  # fmt: skip
TABLE = Table(
    title="Scores",
    columns=("role", Column(heading="score", right=True), Column(heading="what failed", wraps=True)),
    rows=tuple(
        (f"role {n}", f"{n}.5%", Cell(text=f"sentence {n} " + "and on " * 20 + "end", meaning="warning"))
        for n in range(4)
    ),
)
BARS = Bars(
    title="Editors", scale=Scale(high=1.0, unit="score"),
    bars=(Bar(label="ROME", value=0.857, interval=(0.71, 0.93)), Bar(label="FT", value=None)),
)  # fmt: skip
CURVES = Curves(
    title="After so many edits", x="edits", y="score %", right="perplexity",
    curves=(
        Curve(label="as-is", points=((0, 12.0), (1, 89.5), (10, 70.25)), decimals=1),
        Curve(label="held-out", points=((0, 20.0), (10, 25.5)), right=True),
    ),
)  # fmt: skip
LINES = said("one sentence", line("a note", "note"), line("mind this", "warning"))
EVERYTHING: tuple[Figure, ...] = (HEATMAP, SCORES, *LINES, TABLE, SIGNED, BARS, CURVES)


class FigureApp(App[None]):
    """The widget alone; it notes where cursors were moved."""

    def __init__(self, figures: Sequence[Figure], theme: str = "textual-dark") -> None:
        super().__init__()
        self._figures = figures
        self.theme = theme
        self.moved: list[dict[str, int]] = []

    def compose(self) -> ComposeResult:
        yield FigureView()

    def on_mount(self) -> None:
        self.view.show(self._figures)

    def on_figure_view_moved(self, event: FigureView.Moved) -> None:
        self.moved.append({str(index): number for index, number in event.indices.items()})

    @property
    def view(self) -> FigureView:
        return self.query_one(FigureView)

    @property
    def words(self) -> str:
        """The same, wherever lines are broken."""
        return " ".join(self.text.split())

    @property
    def text(self) -> str:
        """What the screen shows."""
        strips = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip)[: self.size.width] for strip in strips)


@asynccontextmanager
async def showing(
    figures: Sequence[Figure], size: tuple[int, int] = (80, 24), theme: str = "textual-dark"
) -> AsyncIterator[tuple[FigureApp, Pilot[None]]]:
    """The widget with the keyboard in its first figure."""
    app = FigureApp(figures, theme)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: all(box.body.size.height for box in app.view.boxes))
        app.view.focus_figure()
        await pilot.pause()
        yield app, pilot


@pytest.mark.parametrize(
    ("figure", "numbers"),
    [
        (SIGNED, ["−1.25", "+2.50", "+0.00", "+0.50", "−2.00", "emb", "Heads", "head", "logits"]),
        (SCORES, ["+1.50", "−3.25", "+0.12", "The", "capital", "Canberra", "Sydney", "logits"]),
        (TABLE, ["role 3", "3.5%", "sentence 0", "what failed"]),
        (BARS, ["ROME", "0.86", "0.71…0.93", "FT", "–", "█"]),
        (CURVES, ["89.5", "70.2", "25.50", "as-is ●", "held-out x", "edits", "perplexity"]),
        (LINES[0], ["one sentence", "· a note", "! mind this"]),
        (
            HEATMAP,
            ["Australia*", "◆ peak", "░▒▓ estimate", "* subject", "0.00", "1.00 probability", "· layer 29 · 0.58"],
        ),
    ],
    ids=lambda value: value.kind if hasattr(value, "kind") else "",
)
async def test_a_figure_says_its_numbers(figure: Figure, numbers: list[str]) -> None:
    async with showing([figure], (120, 40)) as (app, _):
        assert [number for number in numbers if number not in app.text] == []


def test_a_heatmap_with_room_has_numbers_and_else_blocks_and_a_ruler() -> None:
    few, many = HeatmapModel(SIGNED), HeatmapModel(HEATMAP)
    assert few.cell(0, few.columns(40)[1])[::3] == ("+2.50", "▲")
    wide, narrow = many.columns(60), many.columns(40)
    assert ({column.width for column in wide}, {column.width for column in narrow}) == ({2}, {1})
    assert "".join(column.label for column in wide).split() == ["0", "5", "10", "15", "20", "25"]
    assert [many.cell(row, wide[column]).text for row, column in ((0, 0), (1, 10), (1, 29), (2, 25))] == [
        "··", "▂▂", "▅◆", "▓▓",
    ]  # fmt: skip


def test_the_ruler_has_the_labels_that_fit() -> None:
    assert "".join(ruler(["of", "Australia", "is"], 3)) == "of Austr…"
    assert "".join(ruler(["0", "1", "2"], 1)) == "0  "


def test_signs_do_for_colours() -> None:
    assert [mark(SIGNED.scale, value) for value in (-2.5, -0.5, 0.0, 0.5, 2.5, None)] == ["▼", "−", "·", "+", "▲", "·"]
    assert [mark(HEATMAP.scale, 0.5), mark(HEATMAP.scale, 0.5, estimated=True)] == ["▅", "▒"]


def test_a_table_cuts_its_longest_texts_and_the_cursor_reads_them_in_full() -> None:
    columns = TableModel(TABLE).columns(40)
    assert sum(column.width for column in columns) <= 40
    both = Table(columns=("", "a", "b"), rows=(("1", "x" * 30, "x" * 90),))
    assert [column.width for column in TableModel(both).columns(62)] == [31, 31]  # the longest gives way first
    assert read_out(TABLE, Place(1, 1)).startswith("role 1 · what failed: sentence 1 and on")
    assert read_out(TABLE, Place(1, 1)).endswith("end")


async def test_down_goes_through_every_figure_with_a_cursor_and_up_back_again() -> None:
    table = TABLE.model_copy(update={"rows": TABLE.rows[:1]})
    async with showing((HEATMAP, SCORES, *LINES, table, SIGNED, *LINES)) as (app, pilot):
        visited = []
        for key, times in (("j", 26), ("k", 30)):
            for _ in range(times):
                focused = app.focused
                assert focused is not None
                if not visited or visited[-1] is not focused:
                    visited.append(focused)
                await pilot.press(key)
        stops = [box.body for box in app.view.boxes if isinstance(box.body, FigureGrid | FigureStrip)]
        assert len(stops) == 4
        assert visited == [*stops, *stops[-2::-1]]
        assert app.view.scroll_offset.y == 0


async def test_what_stands_under_the_last_cursor_is_scrolled_to() -> None:
    async with showing([TABLE, *said(*(f"sentence number {n}" for n in range(60)))]) as (app, pilot):
        assert "number 59" not in app.text
        for _ in range(5):
            await pilot.press("pagedown")
        await until(pilot, lambda: "number 59" in app.text)
        assert isinstance(app.focused, FigureGrid)


async def test_figures_without_a_cursor_scroll_by_all_keys() -> None:
    async with showing(said(*(f"sentence number {n}." for n in range(100)))) as (app, pilot):
        assert app.focused is app.view
        for key, shown in (("end", 99), ("home", 0), ("pagedown", 40), ("j", 47), ("k", 24), ("pageup", 0)):
            await pilot.press(key)
            await until(pilot, lambda shown=shown: f"number {shown}." in app.text)


async def test_the_cursor_begins_at_the_peak_and_its_moves_are_told_as_layer_and_token() -> None:
    async with showing([HEATMAP, SCORES]) as (app, pilot):
        await pilot.press("h", "k", "home")
        assert app.moved == [{"token": 1, "layer": 28}, {"token": 0, "layer": 28}, {"token": 0, "layer": 0}]
        assert "token The · layer 0 · not known" in app.words


async def test_a_layer_that_runs_downwards_and_heads_that_are_no_index() -> None:
    async with showing([SIGNED]) as (app, pilot):
        app.view.show_index("layer", -1)
        app.view.show_index("token", 1)
        await until(pilot, lambda: "layer emb · head 0 · not known" in app.text)
        await pilot.press("l")
        assert app.moved == [{"layer": -1}]
        assert "layer emb · head 1 · −2.00 logits" in app.text


async def test_newer_figures_of_the_same_kinds_leave_cursor_and_keyboard_where_they_are() -> None:
    async with showing([HEATMAP, *LINES]) as (app, pilot):
        await pilot.press("k")
        before = app.focused
        values = tuple(tuple(0.75 for _ in row) for row in HEATMAP.values)
        app.view.show([HEATMAP.model_copy(update={"values": values}), *said("done")])
        await until(pilot, lambda: "token The · layer 29 · 0.75" in app.words)
        assert app.focused is before
        assert "one sentence" not in app.text
        assert "done" in app.text


async def test_figures_of_other_kinds_take_the_place_and_the_keyboard_of_those_before() -> None:
    async with showing([HEATMAP]) as (app, pilot):
        app.view.show([TABLE])
        await until(pilot, lambda: app.focused is app.view.boxes[0].body)
        assert "Restored" not in app.text
        app.view.show_placeholder("Nothing yet.")
        await until(pilot, lambda: "Nothing yet." in app.text)
        assert "role 1" not in app.text
        app.view.show([TABLE])
        await until(pilot, lambda: "role 1" in app.text)


async def test_a_figure_that_is_higher_than_the_screen_scrolls_within_itself() -> None:
    long = Table(columns=("n", "square"), rows=tuple((str(n), f"={n * n}") for n in range(5000)))
    async with showing([long, *LINES]) as (app, pilot):
        await pilot.press(*["pagedown"] * 3)
        grid = app.focused
        assert isinstance(grid, FigureGrid)
        assert grid.size.height <= 24
        assert f"={grid.cursor.row**2}" in app.text
        assert app.view.scroll_offset.y == 0


class Crowded(App[None]):
    """Figures under something high."""

    def compose(self) -> ComposeResult:
        yield (above := Static())
        above.styles.height = 20
        yield FigureView()


@pytest.mark.parametrize("asked", [False, True])
async def test_a_figure_has_the_room_of_a_layout_that_was_due_and_also_where_its_size_is_asked_for(asked: bool) -> None:
    squares = Table(columns=("n", "square"), rows=tuple((str(n), str(n * n)) for n in range(9)))
    app = Crowded()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        view = app.query_one(FigureView)
        assert view.size.height == 4
        app.query_one(Static).display = False
        view.show([squares])
        if asked:  # as anything does that looks at a widget's region between the two
            app.screen._compositor._full_map_invalidated = True
            assert view.size.height == 24
        await pilot.pause()
        assert view.boxes[0].body.size.height == 10


async def test_a_chart_is_drawn_anew_when_it_has_more_points() -> None:
    async with showing([CURVES], (100, 30)) as (app, pilot):
        assert any(0x2800 < ord(character) < 0x2900 for character in app.text)
        more = CURVES.model_copy(
            update={"right": "", "curves": (Curve(label="loss", points=tuple((n, float(n)) for n in range(40))),)}
        )
        app.view.show([more])
        await until(pilot, lambda: "from 0.00 to 39.00" in app.text)
        assert "held-out" not in app.text


async def test_markup_in_texts_is_text() -> None:
    figures = (
        *said("[bold]not bold[/bold]"),
        Table(title="[red]", columns=("[/]", "b"), rows=(("[i]", "[x]"),)),
        SCORES.model_copy(update={"tokens": ("a", "[b]", "[/b]", "c")}),
    )
    async with showing(figures) as (app, _):
        for text in ("[bold]not bold[/bold]", "[red]", "[/]", "[i]", "[x]", "[b]", "[/b]"):
            assert text in app.text


RESULTS = {**{str(each.id): each.values[0] for each in RECORDED[:4]}, **OTHERS}


@pytest.mark.parametrize(
    ("name", "size"), [*((name, (80, 24)) for name in RESULTS), *(("sequence", size) for size in ((40, 12), (200, 60)))]
)
async def test_the_figures_of_every_method_can_be_walked_through(name: str, size: tuple[int, int]) -> None:
    result: Result = RESULTS[name]
    figures = FIGURES[result.kind](result)
    async with showing(figures, size, "textual-light" if size[0] > 100 else "textual-dark") as (app, pilot):
        seen = app.words
        for _ in range(6 if size[1] < 60 else 1):
            await pilot.press("pagedown")
            seen += app.words
        titles = [figure.title for figure in figures[:3] if figure.title]
        assert [title for title in titles if title.split()[0] not in seen] == []


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
def test_pictures(snap_compare: Any, size: tuple[int, int], theme: str) -> None:
    async def focus(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, FigureApp)
        await until(pilot, lambda: all(box.body.size.height for box in app.view.boxes))
        app.view.focus_figure()
        await pilot.pause()

    assert snap_compare(FigureApp(EVERYTHING, theme), terminal_size=size, run_before=focus)


class AfterFieldApp(FigureApp):
    """The widget after something else that takes the keyboard."""

    def compose(self) -> ComposeResult:
        yield Input()
        yield from super().compose()


async def test_another_picture_is_seen_from_its_beginning_with_the_keyboard_in_it() -> None:
    """A partial result may have been scrolled; and what is removed must not hand the keyboard to the prompt."""
    high = TABLE.model_copy(update={"rows": TABLE.rows * 8})
    app = AfterFieldApp([TABLE, high])
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.focus_figure()
        await pilot.pause()
        await pilot.press("pagedown", "pagedown", "pagedown")
        assert app.view.scroll_offset.y > 0
        focused: list[object] = []
        app.screen.watch(app.screen, "focused", lambda widget: focused.append(widget), init=False)
        app.view.show([*LINES, TABLE, high])
        await until(pilot, lambda: "one sentence" in app.text and isinstance(app.focused, FigureGrid))
        assert app.view.scroll_offset.y == 0
        assert app.focused is app.view.boxes[1].body
        assert not any(isinstance(widget, Input) for widget in focused)


async def test_figures_that_come_later_leave_those_before_them_where_they_are() -> None:
    async with showing([TABLE, *said(*(f"sentence number {n}" for n in range(40)))]) as (app, pilot):
        await pilot.press("j", "pagedown", "pagedown")
        there, place, focused = app.view.scroll_offset.y, app.view.boxes[0].place, app.focused
        assert there > 0
        app.view.show([TABLE, *said(*(f"sentence number {n}" for n in range(40))), BARS])
        await until(pilot, lambda: len(app.view.query("FigureBox")) == 3)
        assert (app.view.scroll_offset.y, app.view.boxes[0].place, app.focused) == (there, place, focused)
