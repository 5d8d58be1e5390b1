"""The logit lens pane: what the model would say at each layer, as a table at one token or a grid over all."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, Literal, get_args

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import clamp
from textual.reactive import reactive
from textual.timer import Timer

from screens import signs
from screens.keys import Key
from screens.messages import Ask, Cursor
from screens.panes.lens.closer import CloserLooks
from screens.panes.lens.detail import CellDetail, LensDetail
from screens.panes.lens.views import LensGrid, LensTable, Metric, metrics_for, ramp_legend
from screens.panes.lens.words import at_cell, lead_summary, lenses_summary, title
from screens.panes.picture import PicturePane
from screens.widgets.grid import CellGrid
from workbench.events import Progressed
from workbench.methods.lens.logit_lens import STAGES, LensColumn, LensRequest, LensResult
from workbench.methods.lens.patchscope import PatchscopeRequest
from workbench.methods.lens.translators import LensName
from workbench.protocol import Check, Request, Result
from workbench.session import Step

ASK_AFTER = 0.25
"""Seconds that the detail's cursor rests on a token before more is asked about it: each is a forward pass."""

EMPTY = "No lens yet.\nType a prompt and press enter."


class LensPane(PicturePane):
    """Draws the last `LensResult` of the whole case, and opens the detail of a cell."""

    TITLE = "Logit lens"
    SIGNS = signs.LENS
    ASK_BY = "enter in the prompt"
    ASKS_AGAIN = True
    accepts: ClassVar[tuple[type[Request], ...]] = (LensRequest, PatchscopeRequest)

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.VIEW, "view", "Table/grid", tooltip="Switch between one token and all", id="lens.view"),
        Binding(Key.NEXT, "next", "Colour by", tooltip="Colour the grid by the next metric", id="lens.metric"),
        Binding(Key.LENS, "lens", "Next lens", tooltip="Plain, ridge, tuned, Jacobian", id="lens.lens"),
    ]

    view: reactive[Literal["table", "grid"]] = reactive[Literal["table", "grid"]]("table", init=False)
    metric: reactive[int] = reactive(0, init=False)

    def __init__(self) -> None:
        super().__init__()
        self._result: LensResult | None = None
        self._request: LensRequest | None = None
        self._at = Cursor(0, 0)  # the cell that is drawn as the cursor's
        self._detail: LensDetail | None = None
        self._closer = CloserLooks()
        self._wanted: LensName = "logit"  # which the key asked for last
        self._rests: Timer | None = None  # the detail's cursor, for a moment

    def compose_picture(self) -> ComposeResult:
        """The table or grid."""
        yield CellGrid(EMPTY)

    def focus_content(self) -> None:
        """Put the keyboard into the grid."""
        self._grid.focus()

    # What happened

    @property
    def empty(self) -> bool:
        """Whether there is no lens yet."""
        return self._result is None

    def clear(self) -> None:
        """Begin empty again."""
        self._result, self._request, self._wanted = None, None, "logit"
        self._closer = CloserLooks()
        super().clear()

    def slot(self, request: Request) -> Hashable:
        """Lenses stand side by side, and beside them what details show: wider columns and patchscopes."""
        if isinstance(request, PatchscopeRequest):
            return request.layer, request.position
        return (request.lens, request.positions) if isinstance(request, LensRequest) else super().slot(request)

    def pictures(self, request: Request) -> bool:
        """A request for some tokens only is for the detail."""
        return isinstance(request, LensRequest) and request.positions is None

    def question(self, request: Request) -> Hashable:
        """Which token comes first is no question, nor where a lens was read from."""
        if not (self.pictures(request) and isinstance(request, LensRequest)):
            return None
        return request.model_copy(update={"first": None, "lens_file": None})

    def pictured(self) -> tuple[Request, ...]:
        """One lens."""
        return (self._request,) if self._request is not None else ()

    def at_cursor(self, result: Result) -> str:
        """Target and foil, or what is most likely."""
        assert isinstance(result, LensResult)
        return at_cell(result, self._at)

    def show_step(self, step: Step) -> None:
        """Draw a result, or show it in the detail."""
        if self.pictures(step.request):
            super().show_step(step)
        elif step.case == self.drawn_case and getattr(step.request, "lens", self.lens) == self.lens:
            self._closer.take(step, self.drawn_edits, self.live)
            self._draw_detail()

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Make a result the one that is drawn; a cursor that does not fit goes to the last layer and token.

        But not where another case has been asked about meanwhile: its own lens says where the cursor begins.
        """
        assert isinstance(request, LensRequest)
        assert isinstance(result, LensResult)
        if (request.case, edits) != (self.drawn_case, self.drawn_edits):
            self._closer.patchscopes.clear()
            self._closer.columns.clear()
        if request.lens != self.lens:  # a patchscope is read through none
            self._closer.columns.clear()
        self._result, self._request, self._wanted = result, request, request.lens
        self.drawn_case, self.drawn_edits = request.case, edits
        if self.case in (None, request.case) and (self.here is None or self.here != self._within(self.here)):
            self.move_cursor(Cursor(result.layers - 1, len(result.columns) - 1))

    def how_far(self, progress: Progressed) -> str:
        """Tokens are what is counted, once a lens is there."""
        if progress.stage not in STAGES:
            return super().how_far(progress)
        return f"{progress.done} of {progress.total} tokens · {progress.stage}"

    def unfinished(self, result: Result) -> str:
        """How many tokens are there, which may be all: after the last one there are only checks to come."""
        assert isinstance(result, LensResult)
        there, total = sum(column is not None for column in result.columns), len(result.columns)
        return f"partial: {there} of {total} tokens" if there < total else "cancelled when all tokens were there"

    # The cursor

    def on_cell_grid_moved(self, event: CellGrid.Moved) -> None:
        """The person moved."""
        event.stop()
        if not self.empty:  # in a replay another step may have been shown since
            self._go(self._view().cursor(event.place))

    def _go(self, cursor: Cursor) -> None:
        """Draw the cursor elsewhere, and tell everybody."""
        self.move_cursor(cursor)
        self.draw_cursor()
        self.draw_frame()

    def _within(self, cursor: Cursor) -> Cursor:
        """The cell of the picture that is nearest to a cursor."""
        return Cursor(
            clamp(cursor.layer, -1, self._shown.layers - 1), clamp(cursor.token, 0, len(self._shown.columns) - 1)
        )

    # Drawing

    @property
    def _grid(self) -> CellGrid:
        return self.query_one(CellGrid)

    @property
    def _shown(self) -> LensResult:
        assert self._result is not None, "there is something to draw"
        return self._result

    @property
    def _metric(self) -> Metric:
        metrics = metrics_for(self._shown.encoded)
        return metrics[self.metric % len(metrics)]

    def _view(self) -> LensTable | LensGrid:
        """What is drawn, for the grid."""
        return LensGrid(self._shown, self._metric) if self.view == "grid" else LensTable(self._shown, self._at.token)

    def draw(self) -> None:
        """Draw the table or the grid, and the detail where it is open."""
        self._at = self._within(self.here or self._at)
        self._draw_grid()
        self._draw_detail()

    def draw_cursor(self) -> None:
        """Draw the cursor where it is now: in the table another token is another page."""
        before, self._at = self._at, self._within(self.here or self._at)
        if before == self._at:
            return
        if self.view == "table" and before.token != self._at.token:
            self._draw_grid()
        else:
            self._grid.move_to(self._view().place(self._at))
        self._draw_detail()

    def _draw_grid(self) -> None:
        pages = len(self._shown.columns) if self.view == "table" else None
        self._grid.show(self._view(), self._view().place(self._at), pages)

    def say_instead(self, sentence: str) -> None:
        """Say something where the picture will be."""
        self._grid.show_placeholder(sentence or EMPTY)

    def headline(self) -> str:
        """The token, and what is compared."""
        return title(self._shown, self._at)

    def legend(self) -> Content:
        """The scale of the grid; of the table, who leads; and whether other lenses agree."""
        if self.view == "grid":
            first = ramp_legend(self._metric, self.app.current_theme.dark)
        else:
            column = self._shown.columns[self._at.token]
            first = Content(lead_summary(self._shown.encoded, column) if column else "")
        others = Content(lenses_summary(self._shown.encoded, self._columns_of_lenses(), self.lens))
        return Content("\n").join(line for line in (first, others) if line.plain)

    def checks(self) -> tuple[Check, ...]:
        """The method's own, that of a corrected lens at the cursor's layer."""
        if (fit := self._shown.fit) is None:
            return self._shown.checks
        here = fit.check(self._at.layer)
        return tuple(here if check.name == here.name else check for check in self._shown.checks)

    # Lenses

    @property
    def lens(self) -> LensName:
        """How what is drawn was read."""
        return self._request.lens if self._request is not None else "logit"

    def action_lens(self) -> None:
        """Draw what the next lens says: what was found before, or ask; in a replay the next that was recorded."""
        if self._request is None:
            return
        names = get_args(LensName)
        following = [names[(names.index(self._wanted) + step) % len(names)] for step in range(1, len(names))]
        if (case := self.case_on_screen()) is not None and case != self.drawn_case:
            return  # it is asked about first
        for self._wanted in following:
            if (found := self._answer(self._wanted)) is not None:
                self.show_step(found)
                return
            if self.live:
                asked = {"lens": self._wanted, "lens_file": None, "first": self._at.token}
                self.post_message(Ask(self._request.model_copy(update=asked)))
                return
        self._wanted = self.lens

    def _answer(self, lens: LensName) -> Step | None:
        """What this lens said of what is drawn, with the same edits."""
        assert self._request is not None, "there is something drawn"
        return self.answers.find(self.question(self._request.model_copy(update={"lens": lens})), self.drawn_edits)

    def _columns_of_lenses(self) -> dict[LensName, LensColumn]:
        """What each lens that has answered says at the cursor's token; the one that is drawn among them."""
        found: dict[LensName, LensColumn] = {}
        for lens in get_args(LensName):
            step = self._answer(lens)
            result = self._shown if lens == self.lens else step.result if step is not None else None
            column = result.columns[self._at.token] if isinstance(result, LensResult) else None
            if column is not None:
                found[lens] = column
        return found

    def watch_view(self) -> None:
        """Draw the other view."""
        self.refresh_bindings()
        self.redraw()

    def watch_metric(self) -> None:
        """Colour otherwise."""
        self.redraw()

    def action_view(self) -> None:
        """Switch between one token's table and the grid of all."""
        self.view = "grid" if self.view == "table" else "table"

    def action_next(self) -> None:
        """Colour the grid by the next metric that makes sense for the case."""
        if not self.empty:
            self.metric = (self.metric + 1) % len(metrics_for(self._shown.encoded))

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Only the grid is coloured."""
        return self.view == "grid" if action == "next" else True

    # The detail of a cell

    def on_cell_grid_chosen(self, event: CellGrid.Chosen) -> None:
        """Open the detail."""
        event.stop()
        if self._detail is None and not self.empty:
            self._want_more()
            self._detail = LensDetail(self._detail_now(), self._step_detail)
            self.app.push_screen(self._detail, lambda _: self._close_detail())

    def _close_detail(self) -> None:
        self._detail = None

    def _step_detail(self, layers: int, tokens: int) -> None:
        """A key in the detail: the neighboring cell."""
        cursor = self._within(Cursor(self._at.layer + layers, self._at.token + tokens))
        if cursor != self._at:
            self._go(cursor)
            self._want_more()

    def _detail_now(self) -> CellDetail:
        token, closer = self._at.token, self._closer
        note = closer.note
        if not note and token not in closer.columns and not self.live:
            note = "Recorded session: the tokens that were kept; there is no model here to ask for more."
        column = closer.columns.get(token, self._shown.columns[token])
        return CellDetail(self._shown.encoded, column, self._at, note, closer.patchscopes.get(self._at))

    def _draw_detail(self) -> None:
        if self._detail is not None and self._detail.is_mounted:
            self._detail.show(self._detail_now())

    def _want_more(self) -> None:
        """Ask for more about the cell when the cursor has rested a moment."""
        if self._rests is not None:
            self._rests.stop()
        self._closer.note = ""
        if self.of_another_case:
            self._closer.note = "The prompt has changed since this result: ask again to see more tokens."
            self._draw_detail()
        elif self.live and self._missing():
            self._rests = self.set_timer(ASK_AFTER, self._ask_more)

    def _ask_more(self) -> None:
        if self._detail is not None:
            for request in self._missing():
                self.post_message(Ask(request))

    def _missing(self) -> list[Request]:
        return self._closer.missing(self._at, self.drawn_case, self.lens) if self.drawn_case is not None else []
