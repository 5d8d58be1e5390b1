"""The logit lens pane: what the model would say at each layer, as a table at one token or a grid over all."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import clamp
from textual.reactive import reactive
from textual.timer import Timer
from textual.widgets import Static

from screens.lens_detail import Detail, LensDetail
from screens.lens_views import LensGrid, LensTable, Metric, metrics_for, ramp_legend
from screens.lens_words import lead_summary, title
from screens.messages import Ask, Cursor, CursorMoved
from screens.panes.pane import Pane
from screens.widgets import numbers
from screens.widgets.grid import CellGrid
from screens.widgets.trust_strip import TrustStrip
from workbench.case import Case
from workbench.engine import Progressed
from workbench.methods.base import Request
from workbench.methods.logit_lens import LensColumn, LensRequest, LensResult
from workbench.session import Step

DETAIL_TOP_K = 20
ASK_AFTER = 0.25
"""Seconds that the detail's cursor rests on a token before more is asked about it: each is a forward pass."""

EMPTY = "No lens yet.\nType a prompt and press enter."


class LensPane(Pane):
    """Draws the last `LensResult` of the whole case, and opens the detail of a cell."""

    TITLE = "Logit lens"
    accepts: ClassVar[tuple[type[Request], ...]] = (LensRequest,)

    DEFAULT_CSS = """
    LensPane {
        layout: vertical; border: round $border-blurred; padding: 0; background: $surface;
        border-title-color: $foreground; border-subtitle-color: $foreground 60%;
        &:focus-within { border: round $border; }
        & > #legend { height: auto; max-height: 3; padding: 0 1; color: $foreground 65%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "view", "Table/grid", tooltip="Switch between one token and all", id="lens.view"),
        Binding("m", "metric", "Colour by", tooltip="Colour the grid by the next metric", id="lens.metric"),
    ]

    view: reactive[Literal["table", "grid"]] = reactive[Literal["table", "grid"]]("table", init=False)
    metric: reactive[int] = reactive(0, init=False)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._result: LensResult | None = None
        self._case: Case | None = None  # of the result
        self._edits: tuple[str, ...] = ()
        self._failure = ""  # the sentence of the last run, where it failed
        self._status = ""  # in the frame's lower edge
        self._under_way = False
        self._legend_shown: Content | None = None
        self._status_shown = ""
        self._asked: deque[Cursor] = deque(maxlen=256)  # moves of ours that the main screen has not made yet
        self._here = Cursor(0, 0)  # what is drawn; ahead of ``cursor`` while a move is under way
        self._detail: LensDetail | None = None
        self._wider: dict[int, LensColumn] = {}  # columns with as many tokens as a detail shows
        self._wider_note = ""
        self._wider_timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """A line about the picture, the picture, how far to believe it."""
        yield Static(id="legend")
        yield CellGrid(EMPTY)
        yield TrustStrip()

    def on_mount(self) -> None:
        """Begin empty."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw_frame())
        self._draw()

    def focus_content(self) -> None:
        """Put the keyboard into the grid."""
        self._grid.focus()

    # What happened

    def clear(self) -> None:
        """Begin empty again."""
        self._result, self._case, self._edits = None, None, ()
        self._failure, self._status, self._under_way = "", "", False
        self._wider, self._wider_note = {}, ""
        self._grid.show_placeholder(EMPTY)
        self._draw_frame()

    def slot(self, request: Request) -> Hashable:
        """The wider columns of a detail stand beside the picture, one for each token."""
        return request.positions if isinstance(request, LensRequest) else super().slot(request)

    def waiting(self, request: Request) -> None:
        """Say that it will run."""
        if _is_whole(request):
            self._under_way, self._failure, self._status = True, "", "waiting for the model …"
            self._draw_frame()
            if self._result is None:
                self._grid.show_placeholder("Waiting for the model …")

    def started(self, request: Request) -> None:
        """Say that it runs; what was found before stays until there is something newer."""
        if _is_whole(request):
            self._under_way, self._failure, self._status = True, "", "running …"
            self._draw_frame()
            if self._result is None:
                self._grid.show_placeholder("Running the model …")

    def show_progress(self, progress: Progressed) -> None:
        """Draw what there is already."""
        if not _is_whole(progress.request):
            return
        left = f" · {numbers.seconds(progress.remaining)} left" if progress.remaining is not None else ""
        self._under_way, self._failure = True, ""
        self._status = f"{progress.done} of {progress.total} tokens · {progress.stage}{left}"
        if isinstance(progress.partial, LensResult) and isinstance(progress.request, LensRequest):
            self._take(progress.partial, progress.request.case, ())
        else:
            self._draw_frame()

    def show_step(self, step: Step) -> None:
        """Draw a result; or keep the one before it, and say why there is no newer one."""
        if not isinstance(step.request, LensRequest):
            return
        if not _is_whole(step.request):
            self._take_wider(step, step.request)
            return
        self._under_way = False
        self._failure = step.error.message if step.error else ""
        self._status = {"failed": "failed", "cancelled": "cancelled"}.get(step.status, "")
        if isinstance(step.result, LensResult):
            if step.status == "partial":
                there = sum(column is not None for column in step.result.columns)
                self._status = f"partial: {there} of {len(step.result.columns)} tokens"
            self._take(step.result, step.request.case, step.edits)
        elif self._result is None:
            self._grid.show_placeholder(
                "Cancelled before anything was found.\nPress enter in the prompt to ask again."
                if step.status == "cancelled"
                else self._failure
            )
            self._draw_frame()
        else:
            self._status += " · stale: this is the result before"
            self._draw_frame()

    def _take(self, result: LensResult, case: Case, edits: tuple[str, ...]) -> None:
        """Make a result the one that is drawn; a cursor that does not fit goes to the last layer and token."""
        if (case, edits) != (self._case, self._edits):
            self._wider.clear()
        self._result, self._case, self._edits = result, case, edits
        end = Cursor(result.layers - 1, len(result.columns) - 1)
        here = self._asked[-1] if self._asked else self.cursor
        fits = here is not None and -1 <= here.layer <= end.layer and 0 <= here.token <= end.token
        if here is None or not fits:
            self._go(end, draw=False)
        else:
            self._here = here
        self._draw()

    # The cursor

    def on_cell_grid_moved(self, event: CellGrid.Moved) -> None:
        """The person moved: tell everybody."""
        event.stop()
        if (shown := self._view()) is not None:
            self._go(shown.cursor(event.place))

    def watch_cursor(self, cursor: Cursor | None) -> None:
        """The main screen moved the cursor. Echoes of moves that later keys have overtaken are not drawn."""
        if cursor is None or self._result is None:
            self._asked.clear()
            return
        if cursor in self._asked:
            while self._asked.popleft() != cursor:
                pass
            if self._asked:
                return
        else:
            self._asked.clear()
        self._follow(cursor)

    def _go(self, cursor: Cursor, draw: bool = True) -> None:
        """Draw the cursor elsewhere and ask for it to be moved there in all panes."""
        self._asked.append(cursor)
        if draw:
            self._follow(cursor)
        else:
            self._here = cursor
        self.post_message(CursorMoved(cursor))

    def _follow(self, cursor: Cursor) -> None:
        """Draw the cursor where it is now, and no more than that changes."""
        before, self._here = self._here, cursor
        if before == cursor:
            return
        shown = self._view()
        if shown is None:
            return
        if before.token != cursor.token:
            self._draw_frame()
        if self.view == "table" and before.token != cursor.token:
            self._draw_grid()
        else:
            self._grid.move_to(shown.place(self._here))
        self._draw_detail()

    # Drawing

    @property
    def _grid(self) -> CellGrid:
        return self.query_one(CellGrid)

    @property
    def _metric(self) -> Metric | None:
        if self._result is None:
            return None
        metrics = metrics_for(self._result.encoded)
        return metrics[self.metric % len(metrics)]

    def _view(self) -> LensTable | LensGrid | None:
        """What is drawn, for the grid."""
        if self._result is None:
            return None
        if self.view == "grid":
            assert self._metric is not None
            return LensGrid(self._result, self._metric)
        return LensTable(self._result, clamp(self._here.token, 0, len(self._result.columns) - 1))

    def _draw(self) -> None:
        self._draw_frame()
        self._draw_grid()
        self._draw_detail()

    def _draw_grid(self) -> None:
        shown = self._view()
        if shown is not None:
            pages = len(shown.result.columns) if self.view == "table" else None
            self._grid.show(shown, shown.place(self._here), pages)

    def _draw_frame(self) -> None:
        """Everything around the grid: title, status, legend, trust strip."""
        if not self.is_mounted:
            return
        result = self._result
        self.entitle(title(result, self._here) if result else self.TITLE)
        stale = result is not None and not self._under_way and self.case is not None and self.case != self._case
        status = self._status or ("stale: the prompt has changed, press enter there" if stale else "")
        if status != self._status_shown:
            self._status_shown = status
            self.border_subtitle = Content(status)
        if (legend := self._legend()) != self._legend_shown:
            self._legend_shown = legend
            self.query_one("#legend", Static).update(legend)
            self.query_one("#legend").display = bool(legend.plain)
        if result is not None:
            self.query_one(TrustStrip).show(self.model, self._edits, result.checks)

    def _legend(self) -> Content:
        if self._failure:
            return Content.styled(f"✗ {self._failure}", "$text-error")
        if self._result is None:
            return Content("")
        if self.view == "grid" and self._metric is not None:
            return ramp_legend(self._metric, self.app.current_theme.dark)
        column = self._result.columns[clamp(self._here.token, 0, len(self._result.columns) - 1)]
        return Content(lead_summary(self._result.encoded, column) if column else "")

    def watch_number(self) -> None:
        """The title begins with the pane's key."""
        self._draw_frame()

    def watch_case(self) -> None:
        """Another prompt than the one drawn makes the picture stale."""
        self._draw_frame()

    def watch_model(self) -> None:
        """The trust strip names it."""
        self._draw_frame()

    def watch_view(self) -> None:
        """Draw the other view."""
        self.refresh_bindings()
        self._draw()

    def watch_metric(self) -> None:
        """Colour otherwise."""
        self._draw()

    def action_view(self) -> None:
        """Switch between one token's table and the grid of all."""
        self.view = "grid" if self.view == "table" else "table"

    def action_metric(self) -> None:
        """Colour the grid by the next metric that makes sense for the case."""
        if self._result is not None:
            self.metric = (self.metric + 1) % len(metrics_for(self._result.encoded))

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Only the grid is coloured."""
        return self.view == "grid" if action == "metric" else True

    # The detail of a cell

    def on_cell_grid_chosen(self, event: CellGrid.Chosen) -> None:
        """Open the detail."""
        event.stop()
        if self._result is None or self._detail is not None:
            return
        self._detail = LensDetail(self._detail_now(self._result), self._step_detail)
        self.app.push_screen(self._detail, lambda _: self._close_detail())
        self._want_wider()

    def _close_detail(self) -> None:
        self._detail = None

    def _step_detail(self, layers: int, tokens: int) -> None:
        """A key in the detail: the neighbouring cell."""
        if self._result is None:
            return
        layer = clamp(self._here.layer + layers, -1, self._result.layers - 1)
        token = clamp(self._here.token + tokens, 0, len(self._result.columns) - 1)
        if (cursor := Cursor(layer, token)) != self._here:
            self._go(cursor)
            self._want_wider()

    def _detail_now(self, result: LensResult) -> Detail:
        token = self._here.token
        column = self._wider.get(token, result.columns[token])
        note = self._wider_note
        if not note and token not in self._wider and not self.live:
            note = "Recorded session: the tokens that were kept; there is no model here to ask for more."
        return Detail(result.encoded, column, self._here, note)

    def _draw_detail(self) -> None:
        if self._detail is not None and self._detail.is_mounted and self._result is not None:
            self._detail.show(self._detail_now(self._result))

    def _want_wider(self) -> None:
        """Ask for more tokens when the cursor has rested a moment."""
        if self._wider_timer is not None:
            self._wider_timer.stop()
        self._wider_note = ""
        if self.live and self._here.token not in self._wider:
            self._wider_timer = self.set_timer(ASK_AFTER, self._ask_wider)

    def _ask_wider(self) -> None:
        token = self._here.token
        if self._detail is not None and self._case is not None and token not in self._wider:
            self.post_message(
                Ask(LensRequest(case=self._case, first=token, positions=(token,), top_k=DETAIL_TOP_K))
            )

    def _take_wider(self, step: Step, request: LensRequest) -> None:
        """More tokens of some columns, for the detail only, and only of the result that is drawn."""
        if request.case != self._case:
            return
        if step.error is not None:
            self._wider_note = f"No more tokens: {step.error.message}"
        elif step.edits != self._edits:
            self._wider_note = "The edits have changed since this result: ask again to see more tokens."
        elif isinstance(step.result, LensResult):
            found = enumerate(step.result.columns)
            self._wider |= {position: column for position, column in found if column is not None}
        self._draw_detail()


def _is_whole(request: Request) -> bool:
    """Whether a request is for the whole case, and not only for a detail."""
    return isinstance(request, LensRequest) and request.positions is None
