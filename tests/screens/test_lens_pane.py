"""The lens pane: what it shows of a result, what it says when keys are pressed, and the states around a result."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.message import Message
from textual.widgets import Static

from screens.messages import Ask, Cursor, CursorMoved
from screens.panes.lens.detail import CellDetail, LensDetail, context
from screens.panes.lens.detail import lines as detail_lines
from screens.panes.lens.pane import LensPane
from screens.panes.lens.views import METRICS, LensGrid, LensTable, metrics_for
from screens.panes.lens.words import Overtake, lead_summary, overtakes, title
from screens.widgets.grid import CellGrid
from screens.widgets.grid_model import GridColumn, Place
from screens.widgets.trust_strip import TrustStrip, arranged, pieces
from tests.screens.asked import BARE, LONG
from tests.screens.recorded import MODEL, STARTED, lens_result, recorded
from tests.waiting import until_timers_end
from workbench.case import Case
from workbench.events import Progressed
from workbench.methods.lens.logit_lens import LensColumn, LensRequest, LensResult
from workbench.methods.lens.patchscope import PatchscopeRequest, PatchscopeResult
from workbench.methods.lens.translators import HeldOutKL, LensFit
from workbench.protocol import Check
from workbench.session import Status, Step, StepError

CASE = BARE
RESULT = lens_result(CASE)
LAST = Cursor(MODEL.layers - 1, 4)


def step(
    result: LensResult | None = RESULT,
    status: Status = "done",
    error: StepError | None = None,
    edits: tuple[str, ...] = (),
    **request: object,
) -> Step:
    """A step of the case."""
    asked = LensRequest.model_validate({"case": CASE, **request})
    return Step(started=STARTED, seconds=0.1, edits=edits, status=status, request=asked, result=result, error=error)


def with_difference(*differences: float) -> LensColumn:
    """A column in which only the logit difference matters."""
    column = RESULT.columns[0]
    assert column is not None
    return column.model_copy(update={"logit_difference": differences})


class PaneApp(App[None]):
    """A lens pane alone; it moves the cursor as the main screen does, and notes what the pane says."""

    CSS = "LensPane { height: 100%; }"

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Message] = []

    def compose(self) -> ComposeResult:
        yield LensPane()

    @property
    def pane(self) -> LensPane:
        return self.query_one(LensPane)

    def on_cursor_moved(self, message: CursorMoved) -> None:
        self.said.append(message)
        self.pane.cursor = message.cursor

    def on_ask(self, message: Ask) -> None:
        self.said.append(message)

    @property
    def cursors(self) -> list[Cursor]:
        return [message.cursor for message in self.said if isinstance(message, CursorMoved)]

    @property
    def asked(self) -> list[LensRequest]:
        return [m.request for m in self.said if isinstance(m, Ask) and isinstance(m.request, LensRequest)]

    @property
    def picture(self) -> str:
        """The visible text of the grid."""
        grid = self.pane.query_one(CellGrid)
        return "\n".join(grid.render_line(y).text for y in range(grid.scrollable_content_region.height))

    @property
    def legend(self) -> str:
        return str(self.pane.query_one("#legend", Static).visual)


# What is drawn, without an app


def test_an_overtake_is_where_the_logit_difference_changes_its_sign() -> None:
    column = with_difference(-1.0, -0.5, 0.5, 0.0, 1.0, -2.0)
    assert overtakes(column) == (Overtake(1, True), Overtake(4, False))


def test_the_embedding_leads_without_overtaking() -> None:
    assert overtakes(with_difference(1.0, 1.0)) == ()
    assert lead_summary(RESULT.encoded, with_difference(1.0, 1.0)) == "Canberra leads at every layer"
    assert lead_summary(RESULT.encoded, with_difference(-1.0, -1.0)) == "Sydney leads at every layer"


def test_the_summary_names_the_last_overtake_and_counts_the_others() -> None:
    column = with_difference(1.0, -1.0, 1.0, -1.0)
    assert lead_summary(RESULT.encoded, column) == "Sydney overtakes Canberra at layer 2 · lead changed 2× below"


def test_the_table_has_the_last_layer_on_top_and_the_embedding_at_the_bottom() -> None:
    table = LensTable(RESULT, 4)
    assert [table.row_label(row) for row in range(table.n_rows)] == ["5", "4", "3", "2", "1", "0", "emb"]
    top = table.cell(0, table.columns(100)[0])
    column = RESULT.columns[4]
    assert column is not None
    assert top.text == column.top_tokens[-1][0]
    assert table.cell(6, table.columns(100)[0]).text == column.top_tokens[0][0]


@pytest.mark.parametrize("width", [26, 30, 40, 60, 70, 100, 150])
def test_the_table_never_needs_more_than_its_width(width: int) -> None:
    columns = LensTable(RESULT, 4).columns(width)
    assert sum(column.width for column in columns) <= width
    assert "T−F" in [column.label for column in columns]


def test_a_case_without_target_and_foil_has_no_columns_for_them() -> None:
    result = lens_result(Case(prompt="cut two onions"))
    labels = [column.label for column in LensTable(result, 0).columns(150)]
    assert "rank" not in labels
    assert "T−F" not in labels
    assert [metric.name for metric in metrics_for(result.encoded)] == ["p(top-1)", "entropy", "KL to final"]
    only_target = lens_result(Case(prompt="cut two onions", target="old"))
    labels = [column.label for column in LensTable(only_target, 0).columns(150)]
    assert "rank" in labels
    assert "T−F" not in labels


def test_the_mark_says_as_much_as_fits() -> None:
    columns = list(RESULT.columns)
    columns[4] = with_difference(1, 1, 1, 1, 1, 1, -1)
    table = LensTable(RESULT.model_copy(update={"columns": tuple(columns)}), 4)
    said = [table.cell(0, GridColumn(table.columns(150)[-1].key, "", width)).text for width in (3, 12, 18, 40)]
    assert said == ["⇄", "⇄ Sydney", "⇄ Sydney leads", "⇄ Sydney overtakes Canberra"]
    assert table.cell(1, table.columns(150)[-1]).text == ""


def test_cells_that_are_still_to_come_are_neither_empty_nor_a_space_token() -> None:
    result = lens_result(CASE, done=1)
    grid = LensGrid(result, METRICS[0])
    pending, there = (grid.cell(0, grid.columns(100)[token]) for token in (0, 4))
    assert (pending.text, pending.tone, pending.shade) == ("⋯", "dim", None)
    assert there.shade is not None
    assert LensTable(result, 0).cell(0, LensTable(result, 0).columns(100)[0]).text == "⋯"


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_colour_of_the_grid_is_also_a_character(metric: object) -> None:
    grid = LensGrid(RESULT, METRICS[METRICS.index(metric)])  # type: ignore[arg-type]
    for column in grid.columns(100):
        for row in range(grid.n_rows):
            cell = grid.cell(row, column)
            assert cell.shade is not None
            assert cell.badge in "▁▂▃▄▅▆▇█·+−▲▼"


def test_a_place_and_a_cursor_are_each_other_s_inverse() -> None:
    table = LensTable(RESULT, 0)
    assert table.place(LAST) == Place(0, 4)
    assert table.cursor(Place(6, 2)) == Cursor(-1, 2)
    assert table.place(table.cursor(Place(3, 1))) == Place(3, 1)


def test_the_title_names_the_token_and_what_is_compared() -> None:
    assert title(RESULT, LAST) == 'Logit lens · at " is" · Canberra against Sydney'
    bare = lens_result(Case(prompt="cut two onions"))
    assert title(bare, Cursor(0, 0)) == f'Logit lens · at "{bare.encoded.texts[0]}"'


def test_the_context_keeps_the_token_when_the_text_is_too_long() -> None:
    long = recorded(LensRequest(case=Case(prompt=LONG.prompt), positions=(30,)), LensResult)
    text = context(long.encoded, 30, 40).plain
    assert long.encoded.texts[30] in text
    assert text.startswith("…")
    assert text.endswith("…")
    assert context(RESULT.encoded, 0, 80).plain == CASE.prompt


def test_the_detail_gives_units_and_every_recorded_token() -> None:
    column = RESULT.columns[4]
    text = "\n".join(line.plain for line in detail_lines(CellDetail(RESULT.encoded, column, LAST), 80))
    assert column is not None
    assert all(unit in text for unit in ("bits", "nats", "logits", "rank"))
    assert all(token in text for token in column.top_tokens[-1])
    assert "not been read" in detail_lines(CellDetail(RESULT.encoded, None, LAST), 80)[-1].plain


def test_warnings_stand_before_what_may_be_cut_off_and_carry_a_sign() -> None:
    checks = (Check(name="parity", text="2e-6", level="ok"), Check(name="first", text="turns", level="warn"))
    said = [piece.plain for piece in pieces(MODEL, ("1",), checks)]
    assert said == ["! first turns", "float32", "cpu", "sdpa", "edits 1", "parity 2e-6"]
    assert [line.plain for line in arranged(pieces(None, (), checks), 16)] == [
        "! first turns",
        "edits 0",
        "parity 2e-6",
    ]


# The pane in an app


async def test_a_result_puts_the_cursor_on_the_last_layer_and_token() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        assert app.cursors == [LAST]
        assert str(app.pane._border_title) == 'Logit lens · at " is" · Canberra against Sydney'
        assert app.picture.splitlines()[1].startswith("▸     5")


async def test_a_cursor_that_fits_stays_where_it_is() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.cursor = Cursor(2, 1)
        app.pane.show_step(step())
        await pilot.pause()
        assert app.cursors == []
        assert app.picture.splitlines()[4].startswith("▸     2")


@pytest.mark.parametrize("view", ["table", "grid"])
async def test_keys_step_layers_and_tokens_in_both_views(view: str) -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        if view == "grid":
            await pilot.press("v")
        await pilot.press("j", "h", "down", "left", "k", "home", "end", "l", "pagedown", "j")
        assert app.cursors == [
            LAST,
            Cursor(4, 4),
            Cursor(4, 3),
            Cursor(3, 3),
            Cursor(3, 2),
            Cursor(4, 2),
            Cursor(4, 0),
            Cursor(4, 4),
            Cursor(-1, 4),
        ]
        assert app.pane.cursor == Cursor(-1, 4)
        assert any(line.startswith("▸") and "emb" in line for line in app.picture.splitlines())


async def test_a_burst_of_keys_is_not_undone_by_the_echo_of_the_first() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        grid = app.pane.query_one(CellGrid)
        for _ in range(4):  # all before the first CursorMoved is answered
            grid.action_move(1, 0)
        await pilot.pause()
        assert app.pane.cursor == Cursor(1, 4)
        assert grid.cursor == Place(4, 4)


async def test_the_cursor_of_another_pane_is_followed() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        app.pane.cursor = Cursor(0, 1)
        await pilot.pause()
        assert '" capital"' in str(app.pane._border_title)
        assert app.pane.query_one(CellGrid).cursor == Place(5, 1)
        assert app.cursors == [LAST]


async def test_the_grid_shows_tokens_and_m_goes_through_the_metrics() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("v")
        assert all(text.strip() in app.picture.splitlines()[0] for text in RESULT.encoded.texts)
        names = [app.legend.split("  ")[0]]
        for _ in METRICS:
            await pilot.press("m")
            names.append(app.legend.split("  ")[0])
        assert names == [*(metric.name for metric in METRICS), METRICS[0].name]


async def test_before_the_first_result_the_pane_says_what_to_do() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)):
        assert "Type a prompt and press enter." in app.picture
        assert not app.pane.query_one(TrustStrip).display


async def test_progress_is_drawn_and_a_cancelled_run_stays_as_partial() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        request = LensRequest(case=CASE)
        app.pane.started(request)
        await pilot.pause()
        assert "Running the model" in app.picture
        partial = lens_result(CASE, done=1)
        app.pane.show_progress(Progressed(1, request, 1, 5, "unembedding", partial, 7.0))
        await pilot.pause()
        assert str(app.pane._border_subtitle) == "1 of 5 tokens · unembedding · 7 s left"
        app.pane.focus_content()
        await pilot.press("v")
        assert "⋯" in app.picture
        app.pane.show_step(step(partial, "partial"))
        await pilot.pause()
        assert str(app.pane._border_subtitle) == "partial: 1 of 5 tokens"


async def test_a_failure_keeps_what_was_there_and_says_that_it_is_stale() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        before = app.picture
        app.pane.show_step(step(None, "failed", StepError(kind="InputError", message="there is no [token] 9")))
        await pilot.pause()
        assert "there is no [token] 9" in app.legend
        assert "stale" in str(app.pane._border_subtitle)
        assert app.picture == before


async def test_a_failure_with_nothing_before_it_is_said_in_place_of_cells() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step(None, "failed", StepError(kind="InputError", message="the prompt is empty")))
        await pilot.pause()
        assert "the prompt is empty" in app.picture
        assert app.legend == ""
        app.pane.show_step(step(None, "cancelled"))
        await pilot.pause()
        assert "Cancelled before anything was found" in app.picture


async def test_a_lens_cancelled_when_all_tokens_were_there_is_not_called_partial() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step(RESULT, "partial"))
        await pilot.pause()
        assert str(app.pane._border_subtitle) == "cancelled when all tokens were there"


async def test_a_pane_that_is_cleared_is_as_it_was_at_first() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        await pilot.pause()
        at_first = app.picture
        app.pane.model = MODEL
        app.pane.show_step(step())
        app.pane.show_step(step(None, "failed", StepError(kind="InputError", message="the prompt is empty")))
        await pilot.pause()
        assert app.picture != at_first
        app.pane.clear()
        await pilot.pause()
        assert (app.picture, app.legend) == (at_first, "")
        assert str(app.pane._border_title) == "Logit lens"
        assert str(app.pane._border_subtitle) == ""
        assert not app.pane.query_one(TrustStrip).display


async def test_a_move_that_arrives_after_the_pane_was_cleared_does_nothing() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        grid = app.pane.query_one(CellGrid)
        grid.action_move(1, 0)
        grid.action_choose()
        app.pane.clear()
        await pilot.pause()
        assert app.cursors == [LAST]
        assert not isinstance(app.screen, LensDetail)


async def test_the_title_follows_a_move_without_waiting_for_the_other_panes() -> None:
    class Alone(PaneApp):
        def on_cursor_moved(self, message: CursorMoved) -> None:
            """The main screen is slow: it has not answered yet."""
            message.prevent_default()

    app = Alone()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("h", "h")
        assert app.pane.cursor is None
        assert 'at " of"' in str(app.pane._border_title)
        assert app.pane.query_one(CellGrid).cursor == Place(0, 2)


async def test_a_step_to_another_layer_paints_nothing_of_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.pause()
        painted: list[str] = []
        monkeypatch.setattr(app.pane, "entitle", painted.append)
        await pilot.press("j", "j")
        assert painted == []
        await pilot.press("h")
        assert painted == ['Logit lens · at " Australia" · Canberra against Sydney']


async def test_what_is_stale_or_cancelled_says_how_to_ask_again_but_not_in_a_replay() -> None:
    for live, hint in ((True, "press enter in the prompt to ask again"), (False, "")):
        app = PaneApp()
        async with app.run_test(size=(110, 25)) as pilot:
            app.pane.live = live
            await pilot.pause()
            assert ("press enter" in app.picture) == live
            app.pane.show_step(step(None, "cancelled"))
            await pilot.pause()
            assert "Cancelled before anything was found" in app.picture
            assert hint in app.picture
            assert ("press" in app.picture) == live
            app.pane.show_step(step())
            app.pane.on_screen = CASE.model_copy(update={"prompt": "something else"})
            await pilot.pause()
            said = str(app.pane._border_subtitle)
            assert said == f"stale: the prompt has changed{'; ' * live}{hint}"


async def test_another_prompt_makes_the_picture_stale() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        app.pane.on_screen = CASE
        await pilot.pause()
        assert "stale" not in str(app.pane._border_subtitle)
        app.pane.on_screen = CASE.model_copy(update={"prompt": "something else"})
        await pilot.pause()
        assert "stale" in str(app.pane._border_subtitle)


async def test_the_detail_asks_for_twenty_tokens_and_shows_them_when_they_come() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 40)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("enter")
        await until_timers_end(pilot, app.pane)
        assert app.asked == [LensRequest(case=CASE, first=4, positions=(4,), top_k=20)]
        before = app.pane._result
        answer = recorded(LensRequest(case=CASE, first=4, positions=(4,), top_k=20), LensResult)
        column = answer.columns[4]
        assert column is not None
        twentieth = column.top_tokens[-1][19].strip()
        assert twentieth not in str(app.screen.query_one(Static).visual)
        app.pane.show_step(step(answer, first=4, positions=(4,), top_k=20))
        await pilot.pause()
        assert twentieth in str(app.screen.query_one(Static).visual)
        assert app.pane._result is before


async def test_the_detail_moves_the_shared_cursor_and_closes() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("enter", "j", "h", "up", "left", "right")
        assert app.cursors == [LAST, Cursor(4, 4), Cursor(4, 3), Cursor(5, 3), Cursor(5, 2), Cursor(5, 3)]
        assert isinstance(app.screen, LensDetail)
        await pilot.press("escape")
        assert not isinstance(app.screen, LensDetail)
        assert app.pane.query_one(CellGrid).cursor == Place(0, 3)


async def test_a_replay_asks_nothing_and_says_that_it_shows_what_was_recorded() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 40)) as pilot:
        app.pane.live = False
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("enter")
        await until_timers_end(pilot, app.pane)
        assert app.asked == []
        assert "Recorded session" in str(app.screen.query_one(Static).visual)


async def test_more_tokens_of_another_case_or_with_other_edits_are_not_shown() -> None:
    app = PaneApp()
    async with app.run_test(size=(80, 40)) as pilot:
        app.pane.show_step(step())
        await pilot.pause()
        app.pane.show_step(step(edits=("1",), positions=(4,)))
        app.pane.show_step(step(case=CASE.model_copy(update={"prompt": "x"}), positions=(4,)))
        assert app.pane._closer.columns == {}


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (40, 12)])
async def test_nothing_is_cut_off_at_any_size(size: tuple[int, int]) -> None:
    app = PaneApp()
    async with app.run_test(size=size) as pilot:
        app.pane.model = MODEL
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.pause()
        column = RESULT.columns[4]
        assert column is not None
        assert "T−F" in app.picture.splitlines()[0]
        assert column.top_tokens[-1][0].strip() in app.picture.splitlines()[1]
        assert not app.pane.query_one(CellGrid).show_horizontal_scrollbar
        await pilot.press("pagedown", "pagedown", "pagedown")
        assert "emb" in app.picture
        assert "float32" in str(app.pane.query_one(TrustStrip).render())


# Corrected lenses and second opinions

FIT = LensFit(
    lens="ridge",
    source="fitted",
    held_out=HeldOutKL(
        tokens=256,
        lens=(6.0, 5.0, 1.4, 1.0, 0.9, 0.2, 0.0),
        logit=(20.0,) * 6 + (0.0,),
        lens_median=(6.0, 4.0, 1.2, 1.0, 0.8, 0.1, 0.0),
        logit_median=(19.0,) * 6 + (0.0,),
        mean_state=4.1,
    ),
)


def ridge_step(overtake: int | None = None) -> Step:
    """What the ridge lens says of the case: at the last token the target overtakes at a layer."""
    columns = list(lens_result(CASE).columns)
    if overtake is not None:
        columns[4] = with_difference(*(-1.0 if row <= overtake else 1.0 for row in range(7)))
    checks = (*RESULT.checks, FIT.check(3))
    return step(RESULT.model_copy(update={"columns": tuple(columns), "fit": FIT, "checks": checks}), lens="ridge")


def answered(pane: LensPane, found: Step) -> None:
    """A step that arrives, as the main screen hands it on."""
    question = pane.question(found.request)
    assert question is not None
    pane.answers.keep(question, found)
    pane.show_step(found)


async def test_a_key_asks_for_the_next_lens_and_goes_through_those_that_are_there() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.case_on_screen = lambda: CASE
        answered(app.pane, step())
        app.pane.focus_content()
        await pilot.press("L")
        assert app.asked == [LensRequest(case=CASE, lens="ridge", first=4)]
        answered(app.pane, ridge_step())
        await pilot.pause()
        assert str(app.pane._border_title).startswith('Ridge lens · at " is"')
        await pilot.press("L")
        assert app.asked[-1].lens == "tuned"
        error = StepError(kind="InputError", message="there is no tuned lens for these weights yet")
        app.pane.show_step(step(None, "failed", error, lens="tuned"))
        await pilot.pause()
        assert "no tuned lens" in app.legend
        assert str(app.pane._border_title).startswith("Ridge lens")
        await pilot.press("L")
        assert app.asked[-1].lens == "jacobian"
        app.pane.show_step(step(None, "failed", error, lens="jacobian"))
        await pilot.press("L")  # the plain one is there
        assert len(app.asked) == 3
        assert str(app.pane._border_title).startswith("Logit lens")


async def test_the_pane_marks_the_lens_that_is_shown_and_says_where_two_disagree_about_the_overtake() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        columns = list(RESULT.columns)
        columns[4] = with_difference(-1, -1, -1, -1, -1, 1, 1)
        answered(app.pane, step(RESULT.model_copy(update={"columns": tuple(columns)})))
        await pilot.pause()
        assert "▸" not in app.legend
        answered(app.pane, ridge_step(overtake=2))
        await pilot.pause()
        assert "logit layer 4 · ▸ridge layer 2: they disagree about the layer of the overtake" in app.legend
        answered(app.pane, ridge_step(overtake=4))
        await pilot.pause()
        assert "logit layer 4 · ▸ridge layer 4: they agree" in app.legend


async def test_the_trust_strip_has_the_lens_own_figure_at_the_cursor_s_layer() -> None:
    app = PaneApp()
    async with app.run_test(size=(200, 40)) as pilot:
        answered(app.pane, ridge_step())
        app.pane.focus_content()
        await pilot.press("j", "j", "j", "j")
        assert "held-out KL at layer 1 1.40 nats, median 1.20 (logit lens 20.00, mean state 4.10)" in str(
            app.pane.query_one(TrustStrip).render()
        )
        await pilot.press("j")
        assert "held-out KL at layer 0 5.00 nats" in str(app.pane.query_one(TrustStrip).render())


async def test_in_a_replay_the_key_goes_through_the_lenses_that_were_recorded() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.live = False
        app.pane.case_on_screen = lambda: CASE
        answered(app.pane, step())
        app.pane.focus_content()
        await pilot.press("L")
        assert str(app.pane._border_title).startswith("Logit lens")
        answered(app.pane, ridge_step())
        await pilot.press("L")
        assert str(app.pane._border_title).startswith("Logit lens")
        await pilot.press("L")
        assert str(app.pane._border_title).startswith("Ridge lens")
        assert app.asked == []


async def test_what_a_fit_is_doing_is_not_counted_in_tokens() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 25)) as pilot:
        app.pane.show_step(step())
        request = LensRequest(case=CASE, lens="ridge")
        app.pane.started(request)
        app.pane.show_progress(Progressed(1, request, 8, 80, "reading the text", None, 60.0))
        await pilot.pause()
        assert str(app.pane._border_subtitle) == "reading the text 10% · 60 s left"


async def test_the_detail_asks_for_a_patchscope_of_the_cell_and_shows_it() -> None:
    app = PaneApp()
    async with app.run_test(size=(110, 40)) as pilot:
        app.pane.show_step(step())
        app.pane.focus_content()
        await pilot.press("j", "enter")
        await until_timers_end(pilot, app.pane)
        asked = [m.request for m in app.said if isinstance(m, Ask) and isinstance(m.request, PatchscopeRequest)]
        assert asked == [PatchscopeRequest(case=CASE, layer=4, position=4)]
        result = PatchscopeResult(
            encoded=RESULT.encoded,
            layer=4,
            position=4,
            top_tokens=(" Canberra", " a"),
            top_probabilities=(0.31, 0.2),
            target=0.31,
            foil=0.1,
            kl=0.75,
            unpatched="\n",
        )
        app.pane.show_step(Step(started=STARTED, seconds=0.1, status="done", request=asked[0], result=result))
        await pilot.pause()
        said = str(app.screen.query_one(Static).visual)
        assert "patchscope Canberra .31, a .20" in said
        assert "0.75 nats" in said
