"""The grid widget: what it draws, where its cursor goes, and that it draws no more than it must."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.color import Color
from textual.geometry import Size

from screens.widgets import numbers
from screens.widgets.colours import (
    LEVELS,
    Shade,
    contrast,
    fill,
    sequential,
    signed,
)
from screens.widgets.grid import CellGrid
from screens.widgets.grid_model import GridCell, GridColumn, Place, fit
from workbench.blocks import bar, horizontal_bar, sign


@dataclass(frozen=True)
class Squares:
    """Says its own row and column in each cell."""

    n_rows: int
    n_columns: int
    text: str = ""
    corner: str = "row"
    labels_right: bool = True

    def columns(self, width: int) -> tuple[GridColumn, ...]:
        return tuple(GridColumn(index, f"c{index}", 10) for index in range(self.n_columns))

    def row_label(self, row: int) -> str:
        return f"r{row}"

    def cell(self, row: int, column: GridColumn) -> GridCell:
        text = self.text or f"{row}×{column.key}"
        return GridCell(text, shade=sequential((row % 16) / 16), badge=bar((row % 16) / 16))


class GridApp(App[None]):
    """A grid alone, and what it said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[object] = []

    def compose(self) -> ComposeResult:
        yield CellGrid("Nothing here yet.")

    @property
    def grid(self) -> CellGrid:
        return self.query_one(CellGrid)

    def on_cell_grid_moved(self, event: CellGrid.Moved) -> None:
        self.said.append(event.place)

    def on_cell_grid_chosen(self, event: CellGrid.Chosen) -> None:
        self.said.append(("chosen", event.place))


def seen(grid: CellGrid) -> Size:
    """What is left of the widget beside its scrollbars."""
    return grid.scrollable_content_region.size


def lines(grid: CellGrid) -> list[str]:
    """The visible text, line by line."""
    return [grid.render_line(y).text for y in range(seen(grid).height)]


async def test_an_empty_grid_says_what_it_was_given() -> None:
    async with GridApp().run_test(size=(40, 10)) as pilot:
        app = pilot.app
        assert isinstance(app, GridApp)
        assert "Nothing here yet." in "\n".join(lines(app.grid))


async def test_labels_stay_while_cells_scroll() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.grid.show(Squares(81, 2000), Place(80, 1999))
        await pilot.pause()
        drawn = lines(app.grid)
        assert drawn[0].startswith("  row")
        assert "c1999" in drawn[0]
        assert any(line.startswith("▸ r80") and "80×1999" in line for line in drawn)
        assert all(cell_len(line) == seen(app.grid).width for line in drawn)


async def test_every_move_is_said_once_and_stays_inside() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.grid.show(Squares(20, 5))
        app.grid.focus()
        await pilot.press("k", "j", "down", "l", "right", "h", "end", "home", "pagedown", "up", "enter")
        assert app.said == [
            Place(1, 0),
            Place(2, 0),
            Place(2, 1),
            Place(2, 2),
            Place(2, 1),
            Place(2, 4),
            Place(2, 0),
            Place(2 + seen(app.grid).height - 2, 0),
            Place(2 + seen(app.grid).height - 3, 0),
            ("chosen", app.grid.cursor),
        ]


async def test_with_pages_left_and_right_turn_pages_and_the_row_is_marked() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.grid.show(Squares(20, 3), Place(1, 0), pages=7)
        app.grid.focus()
        await pilot.press("end", "h", "j")
        assert app.said == [Place(1, 6), Place(1, 5), Place(2, 5)]
        assert lines(app.grid)[3].startswith("▸  r2")


async def test_a_click_moves_the_cursor_to_the_cell_under_it_also_when_scrolled() -> None:
    app = GridApp()
    async with app.run_test(size=(40, 10)) as pilot:
        app.grid.show(Squares(30, 30), Place(29, 29))
        await pilot.pause()
        y = next(y for y, line in enumerate(lines(app.grid)) if " r25 " in line)
        x = lines(app.grid)[y].index("25×28")
        await pilot.click(CellGrid, offset=(x, y))
        assert app.said == [Place(25, 28)]


async def test_a_move_inside_the_view_draws_only_the_cells_that_change() -> None:
    app = GridApp()
    async with app.run_test(size=(80, 20)) as pilot:
        app.grid.show(Squares(10, 5))
        await pilot.pause()
        drawn: list[int] = []
        original = app.grid.render_line
        app.grid.render_line = lambda y: (drawn.append(y), original(y))[1]  # type: ignore[method-assign]
        app.grid.move_to(Place(1, 0))
        await pilot.pause()
        assert set(drawn) <= {0, 1, 2}
        assert drawn


async def test_strips_are_kept_until_something_changes_them() -> None:
    app = GridApp()
    async with app.run_test(size=(80, 20)) as pilot:
        app.grid.show(Squares(10, 5), Place(9, 4))
        await pilot.pause()
        first = app.grid.render_line(3)
        assert app.grid.render_line(3) is first
        app.grid.show(Squares(10, 5, text="new"))
        assert "new" in app.grid.render_line(3).text
        before = app.grid.render_line(3)
        app.theme = "textual-light"
        await pilot.pause()
        assert app.grid.render_line(3)._segments != before._segments


async def test_a_large_grid_is_drawn_again_in_a_few_milliseconds() -> None:
    app = GridApp()
    async with app.run_test(size=(200, 50)) as pilot:
        app.grid.show(Squares(81, 2000))
        await pilot.pause()
        times = []
        for column in range(100, 400, 30):
            app.grid.scroll_to(column * 10, column % 30, animate=False)
            began = time.process_time()
            lines(app.grid)
            times.append(time.process_time() - began)
        assert min(times) < 0.1  # 10 ms where nothing else runs


async def test_two_wide_characters_and_markup_keep_the_columns_straight() -> None:
    app = GridApp()
    async with app.run_test(size=(60, 6)) as pilot:
        for text in ("日本語日本語日本語", "e\u0301" * 12, "[red]not markup[/red]", "👩‍👩‍👧 family of tokens"):
            app.grid.show(Squares(3, 4, text=text), Place(2, 3))
            await pilot.pause()
            line = app.grid.render_line(1).text
            assert cell_len(line) == seen(app.grid).width
            assert line.count("…") == 4


@given(st.text(max_size=30), st.integers(0, 20), st.booleans())
def test_a_fitted_text_has_exactly_the_width_asked_for(text: str, width: int, right: bool) -> None:
    assert cell_len(fit(text, width, right)) == width or cell_len(text) != sum(map(cell_len, text))


@pytest.mark.parametrize("dark", [True, False])
def test_text_can_be_read_on_every_shade(dark: bool) -> None:
    for shade in [
        *(Shade("sequential", n) for n in range(LEVELS)),
        *(Shade("signed", n) for n in range(LEVELS - 1)),
    ]:
        colours = fill(shade, dark)
        assert contrast(Color.parse(colours.background), Color.parse(colours.foreground)) >= 4.5


@pytest.mark.parametrize("dark", [True, False])
def test_the_sequential_ramp_runs_one_way_in_grey(dark: bool) -> None:
    greys = [Color.parse(fill(Shade("sequential", level), dark).background).monochrome.r for level in range(LEVELS)]
    assert greys == sorted(greys, reverse=not dark)
    assert abs(greys[-1] - greys[0]) > 120


def test_the_signed_ramp_is_blue_above_and_orange_below_and_neutral_at_nothing() -> None:
    up, down, none = (signed(value) for value in (1.0, -1.0, 0.0))
    assert up is not None
    assert down is not None
    assert none is not None
    assert Color.parse(fill(up).background).b > Color.parse(fill(up).background).r
    assert Color.parse(fill(down).background).r > Color.parse(fill(down).background).b
    neutral = Color.parse(fill(none).background)
    assert max(neutral.rgb) - min(neutral.rgb) < 10


def test_values_off_the_scale_saturate_and_values_that_are_none_have_no_colour() -> None:
    assert sequential(7) == sequential(1)
    assert signed(-3) == signed(-1)
    assert sequential(float("nan")) is None
    assert signed(float("inf")) is None
    assert [bar(value) for value in (0, 1, float("nan"))] == ["▁", "█", "?"]
    assert [sign(value) for value in (0, 0.2, 0.9, -0.2, -0.9)] == ["·", "+", "▲", "−", "▼"]
    assert [horizontal_bar(value, 4) for value in (0, 0.001, 0.5, 1, 2)] == ["", "▏", "██", "████", "████"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.364, ".36"), (1.0, "1.0"), (0.9999, "1.0"), (0.0003, "3e-4"), (0, "0"), (1e-30, "~0")]
)
def test_probabilities_take_four_cells(value: float, text: str) -> None:
    assert numbers.probability(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.12, "−0.1"), (2.34, "+2.3"), (-13.2, "−13"), (0.01, "0.0"), (-0.01, "0.0"), (9.97, "+10")],
)
def test_differences_carry_their_sign(value: float, text: str) -> None:
    assert numbers.signed(value) == text
