"""The trace pane: its heatmap, its keys, the estimate that becomes exact, and traces that take long."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from textual.app import App, ComposeResult
from textual.message import Message
from textual.widgets import Input, Static

from screens.messages import Ask, Cursor, CursorMoved
from screens.panes.edits.form import EditForm
from screens.panes.picture import needs_yes
from screens.panes.trace import views
from screens.panes.trace.pane import TracePane
from screens.panes.trace.views import Traced, TracePicture
from screens.panes.trace.widgets import SubjectInput, TraceHeatmap
from screens.replay import ReplayApp
from screens.widgets.grid_model import Place
from screens.widgets.trust_strip import TrustStrip
from tests.screens.recorded import MODEL, STARTED, trace_result
from tests.screens.test_app import HERO, ask_hero, running
from workbench.blocks import BARS
from workbench.case import Case
from workbench.errors import InputError
from workbench.events import Progressed
from workbench.methods.tracing import sweep
from workbench.methods.tracing.causal_trace import TraceRequest, TraceResult
from workbench.methods.tracing.layer import traced_layer
from workbench.session import Session, Status, Step, StepError

REQUEST = TraceRequest(case=HERO)
OTHERS = TraceRequest(case=HERO, kinds=("mlp", "attention"))
ALL = TraceRequest(case=HERO, kinds=("states", "mlp", "attention"))
LAST = Cursor(MODEL.layers - 1, 4)
TOO_LONG = StepError(
    kind="NotConfirmed",
    message="this trace would take about 2.1 hours; a shorter prompt takes less",
)


def step(
    request: TraceRequest = REQUEST,
    status: Status = "done",
    error: StepError | None = None,
    result: TraceResult | None = None,
) -> Step:
    """A step with an answer, unless it failed or was cancelled."""
    if result is None and status in ("done", "partial"):
        result = trace_result(request)
    return Step(started=STARTED, seconds=0.1, status=status, request=request, result=result, error=error)


def traced(kind: str = "states", exact: int | None = None) -> Traced:
    """One kind of a trace."""
    result = trace_result(ALL, exact)
    return Traced(result, next(grid for grid in result.grids if grid.kind == kind))


class PaneApp(App[None]):
    """The pane alone; it moves the cursor as the main screen does, and notes what the pane says."""

    CSS = "TracePane { height: 100%; }"

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Message] = []

    def compose(self) -> ComposeResult:
        yield TracePane()

    def on_mount(self) -> None:
        self.pane.case, self.pane.model = HERO, MODEL

    @property
    def pane(self) -> TracePane:
        return self.query_one(TracePane)

    def on_cursor_moved(self, message: CursorMoved) -> None:
        self.said.append(message)
        self.pane.cursor = message.cursor

    def on_ask(self, message: Ask) -> None:
        self.said.append(message)

    @property
    def cursors(self) -> list[Cursor]:
        return [message.cursor for message in self.said if isinstance(message, CursorMoved)]

    @property
    def asked(self) -> list[TraceRequest]:
        return [m.request for m in self.said if isinstance(m, Ask) and isinstance(m.request, TraceRequest)]

    @property
    def lines(self) -> list[str]:
        grid = self.pane.query_one(TraceHeatmap)
        return [grid.render_line(y).text for y in range(grid.scrollable_content_region.height)]

    @property
    def cell(self) -> str:
        return str(self.pane.query_one("#cell", Static).visual)

    @property
    def legend(self) -> str:
        return str(self.pane.query_one("#legend", Static).visual)


# What is drawn, without an app


def test_tokens_go_down_and_the_subject_is_starred() -> None:
    picture = TracePicture((traced(),))
    assert [picture.row_label(row) for row in range(picture.n_rows)] == ["The", "capital", "of", "Australia*", "is"]


def test_a_layer_is_two_cells_wide_where_that_fits_and_else_one() -> None:
    picture = TracePicture((traced(),))
    assert {column.width for column in picture.columns(12)} == {2}
    assert {column.width for column in picture.columns(11)} == {1}


def test_three_kinds_stand_side_by_side_with_a_gap_between_them() -> None:
    picture = TracePicture(tuple(traced(kind) for kind in ("states", "mlp", "attention")))
    columns = picture.columns(3 * MODEL.layers + 2 * views.GAP)
    assert [column.width for column in columns] == [1] * 6 + [3] + [1] * 5 + [3] + [1] * 5
    assert sum(column.width for column in columns) == 3 * MODEL.layers + 2 * views.GAP


def test_the_ruler_numbers_layers_where_they_stand() -> None:
    line = "".join(views.ruler("", 30, 2))
    assert [line[2 * layer :].split()[0] for layer in (0, 5, 10, 25)] == ["0", "5", "10", "25"]
    assert len(line) == 60
    named = "".join(views.ruler("attention", 30, 1))
    assert named.startswith("attention 10")
    assert named[20:22] == "20"


def test_a_cell_is_as_high_as_the_share_of_the_gap_that_it_restores() -> None:
    assert [views.mark(share, exact=True) for share in (0.0, 0.5, 0.99, 1.3)] == [
        BARS[0],
        BARS[4],
        BARS[7],
        BARS[7],
    ]
    assert views.mark(-0.2, exact=True) == "−"
    assert views.mark(math.nan, exact=True) == "?"


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 1.2])
def test_an_estimate_is_never_drawn_like_an_exact_cell(share: float) -> None:
    assert views.mark(share, exact=False) not in BARS
    assert views.mark(share, exact=False) in views.DOTS


def test_a_cell_that_is_not_known_has_neither_colour_nor_height() -> None:
    there = traced()
    empty = there.grid.model_copy(update={"values": ((None,) * 5,) * 6, "exact": ((False,) * 5,) * 6, "peak": None})
    picture = TracePicture((Traced(there.result, empty),))
    cell = picture.cell(0, picture.columns(100)[0])
    assert (cell.shade, cell.badge) == (None, "··")
    assert "not known" in views.read_out(picture.shown[0], Cursor(0, 0))


def test_the_peak_has_a_sign_of_its_own() -> None:
    picture = TracePicture((traced(),))
    peak = picture.shown[0].grid.peak
    assert peak is not None
    signs = [
        (layer, row)
        for row in range(picture.n_rows)
        for layer, column in enumerate(picture.columns(100))
        if views.PEAK in picture.cell(row, column).badge
    ]
    assert signs == [(peak.layer, peak.token)]


@pytest.mark.parametrize("group", [0, 1, 2])
def test_a_place_and_a_cursor_are_each_other_s_inverse(group: int) -> None:
    picture = TracePicture(tuple(traced(kind) for kind in ("states", "mlp", "attention")))
    assert picture.cursor(picture.place(Cursor(4, 2), group)) == (group, Cursor(4, 2))
    assert picture.place(Cursor(-1, 2), group) == Place(2, group * MODEL.layers)  # the lens has the embedding too


def test_the_read_out_has_value_share_and_how_it_is_known() -> None:
    there = traced(exact=4)
    known, guessed = (there.grid.exact[3].index(each, 3) for each in (True, False))  # from the subject on
    value = there.grid.values[3][known]
    assert value is not None
    share = (value - there.result.corrupted) / (there.result.clean - there.result.corrupted)
    text = views.read_out(there, Cursor(3, known))
    said = f"p(Sydney) {f'{value:.2f}'[1:]} · {share:.0%} of the gap · exact"
    assert text == f'layer 3 · "{there.result.encoded.texts[known]}" · {said}'
    assert "estimate" in views.read_out(there, Cursor(3, guessed))


def test_a_window_is_clipped_at_both_ends_as_the_method_does_it() -> None:
    there = traced("mlp")
    for layer in range(MODEL.layers):
        assert views.restored(there, layer) == sweep.window(layer, there.result.window, MODEL.layers)
    assert views.restored(traced(), 3) == range(3, 4)


def test_the_method_s_own_refusal_is_recognised() -> None:
    endless = cast("sweep.Sweep", SimpleNamespace(seconds=lambda *_: 2 * sweep.LONG))
    with pytest.raises(InputError) as refused:
        sweep.refuse_hours(endless, ("states",), True, "this trace", "fewer samples")
    assert needs_yes(StepError(kind=refused.type.__name__, message=str(refused.value)))
    assert not needs_yes(StepError(kind="InputError", message="a trace needs a subject"))


# The pane in an app


async def test_before_the_first_result_the_pane_says_which_key_asks() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)):
        assert any("then press t" in line for line in app.lines)
        assert not app.pane.query_one(TrustStrip).display
        assert not app.pane.query_one("#cell").display


async def test_states_are_asked_for_first_and_not_twice() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.ask()
        app.pane.ask()
        await pilot.pause()
    assert app.asked == [REQUEST]


async def test_arrows_follow_the_picture_and_letters_step_layers_and_tokens() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("up", "left", "h", "j", "l", "down", "k", "right", "home", "end")
        assert app.cursors == [
            LAST,
            *(Cursor(5, 3), Cursor(4, 3), Cursor(4, 2), Cursor(3, 2), Cursor(3, 3), Cursor(3, 4)),
            *(Cursor(4, 4), Cursor(5, 4), Cursor(0, 4), Cursor(5, 4)),
        ]
        assert 'layer 5 · " is"' in app.cell


async def test_the_cursor_of_another_pane_is_followed() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        app.pane.cursor = Cursor(-1, 3)
        await pilot.pause()
        assert app.pane.query_one(TraceHeatmap).cursor == Place(3, 0)
        assert 'layer 0 · " Australia"' in app.cell


async def test_a_burst_of_keys_is_not_undone_by_the_echo_of_the_first() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        grid = app.pane.query_one(TraceHeatmap)
        for _ in range(4):
            grid.action_move(0, -1)
        await pilot.pause()
        assert grid.cursor == Place(4, 1)
        assert app.pane.cursor == Cursor(1, 4)


async def test_a_first_picture_is_dotted_and_exact_cells_take_its_place() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.started(REQUEST)
        app.pane.show_progress(Progressed(1, REQUEST, 0, 100, "exact cells", trace_result(REQUEST, exact=3), None))
        await pilot.pause()
        exact, dotted = {*BARS, views.PEAK}, set(views.DOTS)
        *before, subject, last = (row.split()[-1] for row in app.lines[1:6])
        assert all(set(row) <= exact for row in before)  # nothing before the subject depends on it
        assert set(subject[:-2]) | set(last) <= dotted
        app.pane.show_progress(Progressed(1, REQUEST, 30, 100, "exact cells", trace_result(REQUEST, exact=4), 9.0))
        await pilot.pause()
        assert str(app.pane._border_subtitle) == "exact cells 30% · 9 s left"
        subject, last = (row.split()[-1] for row in app.lines[4:6])
        assert set(subject[:-2]) <= dotted
        assert set(last) <= exact
        app.pane.show_step(step(status="partial", result=trace_result(REQUEST, exact=4)))
        await pilot.pause()
        assert str(app.pane._border_subtitle) == "partial: 25 of 30 cells are exact"
        assert set(app.lines[4].split()[-1][:-2]) <= dotted


async def test_x_asks_for_the_kinds_that_are_missing_and_then_goes_through_them() -> None:
    app = PaneApp()
    async with app.run_test(size=(30, 24)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("m")
        assert app.asked == [OTHERS]
        assert "states" in str(app.pane._border_title)
        app.pane.show_step(step(OTHERS))
        await pilot.pause()
        assert "MLP" in str(app.pane._border_title)
        assert "MLP" in str(app.pane.query_one(TrustStrip).tooltip)
        titles = []
        for _ in range(3):
            await pilot.press("m")
            titles.append(str(app.pane._border_title).split(" · ")[1])
        assert titles == ["attention", "states", "MLP"]
        assert app.asked == [OTHERS]


async def test_all_kinds_stand_side_by_side_where_there_is_room() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step(ALL))
        await pilot.pause()
        assert all(name in app.lines[0] for name in ("states", "MLP", "attention"))
        await pilot.resize_terminal(30, 24)
        await pilot.pause()
        assert not any(name in app.lines[0] for name in ("MLP", "attention"))


async def test_the_peak_can_be_gone_to_and_its_layer_handed_to_the_next_edit() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("full_stop")
        peak = trace_result(REQUEST).grids[0].peak
        assert peak is not None
        assert app.pane.cursor == Cursor(peak.layer, peak.token)


async def test_without_an_exact_cell_there_is_no_peak_to_go_to() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        result = trace_result(REQUEST, exact=3)
        grid = result.grids[0].model_copy(update={"peak": None})
        app.pane.show_step(step(result=result.model_copy(update={"grids": (grid,)}), status="partial"))
        app.pane.focus_content()
        await pilot.press("full_stop")
        assert app.cursors == [Cursor(MODEL.layers - 1, 4)]
        assert "No exact cell" in "".join(notification.message for notification in app._notifications)


async def test_a_trace_of_hours_starts_only_when_it_is_confirmed() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.on_screen = HERO
        app.pane.focus_content()
        await pilot.press("y")
        assert app.asked == []
        app.pane.ask()
        await pilot.pause()
        app.pane.show_step(step(status="failed", error=TOO_LONG))
        await pilot.pause()
        shown = " ".join(" ".join(app.lines).split())
        assert "would take about 2.1 hours; a shorter prompt takes less; press y to do it all the same" in shown
        await pilot.press("y")
        assert app.asked == [REQUEST, REQUEST.model_copy(update={"confirmed": True})]
        app.pane.waiting(app.asked[-1])
        await pilot.press("y")
        assert len(app.asked) == 2


async def test_a_failure_is_said_in_the_pane_and_what_was_there_stays() -> None:
    app = PaneApp()
    failed = step(status="failed", error=StepError(kind="InputError", message="a trace needs a subject; name it"))
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(failed)
        await pilot.pause()
        assert any("a trace needs a subject" in line for line in app.lines)
        app.pane.show_step(step())
        before = app.lines
        app.pane.show_step(failed)
        await pilot.pause()
        assert "a trace needs a subject" in app.legend
        assert app.lines[1:6] == before[1:6]
        assert "stale" in str(app.pane._border_subtitle)


async def test_another_subject_can_take_the_place_of_noise() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("n", *"France", "enter")
        replaced = REQUEST.model_copy(update={"replacement": "France"})
        assert app.asked == [replaced]
        assert app.pane.query_one(TraceHeatmap).has_focus
        app.pane.case = HERO.model_copy(update={"subject": "capital"})
        app.pane.ask()
        assert app.pane._asked[-1].replacement is None  # France was for Australia
        app.pane.case = HERO
        await pilot.press("n", "escape")
        assert not app.pane.query_one(SubjectInput).has_class("-open")
        app.pane.show_step(step(replaced))
        await pilot.press("n", *("backspace",) * 6, "enter")
        assert (app.asked[0], app.asked[-1]) == (replaced, REQUEST)


async def test_another_question_forgets_the_kinds_of_the_one_before() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step(ALL))
        app.pane.show_step(step(REQUEST.model_copy(update={"seed": 2})))
        await pilot.pause()
        assert "MLP" not in app.lines[0]


async def test_enter_says_more_about_the_cell_and_then_less() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 30)) as pilot:
        app.pane.show_step(step(ALL))
        app.pane.focus_content()
        await pilot.press("enter")
        rows = app.cell.splitlines()[1:]
        assert [row.split()[0] for row in rows] == ["states", "MLP", "attention"]
        assert "layers 2–5" in rows[1]
        assert "peak" in rows[0]
        await pilot.press("enter")
        assert len(app.cell.splitlines()) == 1


async def test_another_prompt_makes_the_picture_stale() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        assert "stale" not in str(app.pane._border_subtitle)
        app.pane.on_screen = Case(prompt="something else")
        await pilot.pause()
        assert "stale" in str(app.pane._border_subtitle)


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (40, 12)])
async def test_picture_cell_and_trust_are_in_view_at_any_size(size: tuple[int, int]) -> None:
    app = PaneApp()
    async with app.run_test(size=size) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        assert any("▸ is" in line for line in app.lines)
        assert app.pane.region.contains_region(app.pane.query_one("#cell").region)
        assert app.pane.region.contains_region(app.pane.query_one(TrustStrip).region)
        assert not app.pane.query_one(TraceHeatmap).show_horizontal_scrollbar


# In the whole app


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (130, 16)])
async def test_t_shows_the_pane_and_asks(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await ask_hero(run)
        await run.pilot.press("t")
        await run.settle()
        assert run.engine.last == REQUEST
        assert "Waiting for the model" in run.text
        run.engine.say_finished(trace_result(REQUEST))
        await run.settle()
        assert "lifts p(Sydney)" in run.text
        assert "Australia*" in run.text or size[1] < 24
        await run.pilot.press("up", "left")
        await run.settle()
        assert run.main.cursor == Cursor(MODEL.layers - 2, 3)


async def test_e_hands_the_layer_that_the_trace_found_to_the_form_of_an_edit() -> None:
    async with running((80, 24)) as run:
        await ask_hero(run)
        await run.pilot.press("t")
        await run.settle()
        run.engine.say_finished(trace_result(REQUEST))
        await run.settle()
        await run.pilot.press("e")
        await run.settle()
        found = traced_layer([(REQUEST, trace_result(REQUEST))], HERO)
        assert found is not None
        assert run.main.query_one(EditForm).query_one("#layer", Input).value == str(found)
        assert re.search(rf"layer +{found} ", run.text)


async def test_a_replay_has_all_kinds_traced_until_then_and_none_that_came_later() -> None:
    app = ReplayApp(
        Session(model=MODEL, steps=(step(), step(OTHERS).model_copy(update={"id": 1}))), Path("recorded.json")
    )
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        pane = app.screen.query_one(TracePane)
        pane.focus_content()
        assert set(pane._found) == {"states", "mlp", "attention"}
        await pilot.press("left_square_bracket")
        await pilot.pause()
        assert set(pane._found) == {"states"}
        for _ in range(2):
            await pilot.press("m")
        await pilot.pause()
        assert pane.kind == "states"
        assert "This is a replay" in "".join(notification.message for notification in app._notifications)
