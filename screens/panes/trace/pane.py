"""The causal trace pane: which layers at which tokens carry the answer, as a heatmap that becomes exact."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import clamp
from textual.reactive import reactive
from textual.widgets import Input, Static

from screens import signs
from screens.keys import Key
from screens.messages import Ask, Cursor
from screens.panes.picture import PicturePane
from screens.panes.trace import views
from screens.panes.trace.views import KINDS, NAMES, Traced, TracePicture
from screens.panes.trace.widgets import SubjectInput, TraceHeatmap
from screens.widgets.grid import CellGrid
from screens.widgets.in_place import update_in_place
from workbench.case import Case
from workbench.methods.tracing.causal_trace import TraceKind, TraceRequest, TraceResult
from workbench.protocol import Check, Request, Result
from workbench.session import Step

EMPTY = "No causal trace yet.\nName a subject in the prompt, then press t."
READY = "No causal trace yet.\nPress t to see where the fact sits."


class TracePane(PicturePane):
    """Draws the last trace of each kind that answers the same question."""

    TITLE = "Causal trace"
    SIGNS = signs.TRACE
    ASK_KEY = Key.TRACE
    SIDE = "right"
    accepts: ClassVar[tuple[type[Request], ...]] = (TraceRequest,)

    DEFAULT_CSS = """
    TracePane {
        & > TraceHeatmap { min-height: 4; }
        & > #cell { height: auto; padding: 0 1; color: $foreground; }
        & > SubjectInput { height: 1; border: none; padding: 0 1; background: $surface-lighten-2; display: none; }
        & > SubjectInput.-open { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            Key.CONFIRM, "confirm", "Start all the same", tooltip="Run the trace that takes long", id="trace.confirm"
        ),
        Binding(Key.NEXT, "next", "Kind", tooltip="States, MLP, attention", id="trace.kind"),
        Binding(Key.PEAK, "peak", "Peak", key_display=".", tooltip="Go to the peak", id="trace.peak"),
        Binding(Key.NEW, "new", "Noise", tooltip="Noise or another subject", show=False, id="trace.replacement"),
    ]

    kind: reactive[TraceKind] = reactive[TraceKind]("states", init=False)
    detailed: reactive[bool] = reactive(False, init=False)

    def __init__(self) -> None:
        super().__init__()
        self._invited = ""  # by what the empty pane says
        self._found: dict[TraceKind, Traced] = {}
        self._requests: dict[TraceKind, TraceRequest] = {}  # that were answered so
        self._question: TraceRequest | None = None  # of what was found, whatever the kinds
        self._asked: list[TraceRequest] = []  # by us, and not ended yet
        self._replaced: tuple[Case, str | None] | None = None  # another subject, and the case that it is for

    def compose_picture(self) -> ComposeResult:
        """The heatmap, the cell under the cursor, a line for another subject."""
        yield TraceHeatmap()
        yield Static(id="cell")
        yield SubjectInput("", "another subject of as many tokens; nothing for noise", "nothing for noise")

    def focus_content(self) -> None:
        """Put the keyboard into the heatmap."""
        self._grid.focus()

    # Asking

    def ask(self) -> None:
        """Trace the case on screen: the kind that is looked at, which is states at first."""
        self._ask((self.kind,))

    @property
    def _replacement(self) -> str | None:
        """The subject that replaces the prompt's own; another prompt or subject begins with noise again."""
        if self.case is None or self._replaced is None:
            return None
        before, replacement = self._replaced
        same = (before.prompt, before.subject) == (self.case.prompt, self.case.subject)
        return replacement if same else None

    def _ask(self, kinds: Sequence[TraceKind]) -> None:
        case = self.case_on_screen()
        if case is None:
            return
        request = TraceRequest(case=case, kinds=tuple(kinds), replacement=self._replacement)
        if request not in self._asked:
            if self.live:
                self._asked.append(request)
            self.post_message(Ask(request))

    def action_next(self) -> None:
        """Go to the next kind; ask for those that are missing when it is not there."""
        following = KINDS.index(self.kind) + 1
        turned = [KINDS[(following + step) % len(KINDS)] for step in range(len(KINDS))]
        if self.live or turned[0] in self._found:
            self.kind = turned[0]
        if turned[0] not in self._found and not any(turned[0] in request.kinds for request in self._asked):
            missing = tuple(kind for kind in turned if kind not in self._found)
            self._ask(turned[:1] if self.of_another_case else missing)

    def watch_kind(self) -> None:
        """Show it, as soon as it is there."""
        self.redraw()

    def action_new(self) -> None:
        """Ask for a subject to put in the place of the prompt's own."""
        if self.case_on_screen() is None:
            self.notify("Type a prompt first.")
            return
        line = self.query_one(SubjectInput)
        line.value = self._replacement or ""
        line.add_class("-open")
        line.focus()

    @on(Input.Submitted)
    def replace(self, message: Input.Submitted) -> None:
        """Trace with that subject, or with noise when there is none."""
        message.stop()
        if (case := self.case_on_screen()) is not None:
            self._replaced = case, message.value or None
        self._close_line()
        self.ask()

    @on(SubjectInput.Closed)
    def _close_line(self) -> None:
        self.query_one(SubjectInput).remove_class("-open")
        self.focus_content()

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Only what was refused can be confirmed; only a picture has a peak."""
        if action == "confirm":
            return self.can_confirm
        return not self.empty if action in ("next", "peak") else True

    # What happened

    @property
    def empty(self) -> bool:
        """Whether nothing was traced yet."""
        return not self._found

    def clear(self) -> None:
        """Begin empty again."""
        self._found, self._requests = {}, {}
        self._question, self._asked = None, []
        super().clear()

    def slot(self, request: Request) -> Hashable:
        """Traces of different kinds stand side by side."""
        return request.kinds if isinstance(request, TraceRequest) else super().slot(request)

    def show_step(self, step: Step) -> None:
        """Take the result; a trace of unknown origin (a recorded one) decides what is looked at."""
        request = step.request
        assert isinstance(request, TraceRequest)
        if request in self._asked:
            self._asked.remove(request)
        elif isinstance(step.result, TraceResult):
            self.set_reactive(TracePane.kind, step.result.grids[0].kind)
        if step.result is None and self._found and self.kind not in self._found:
            self.set_reactive(TracePane.kind, next(iter(self._found)))
        super().show_step(step)

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep a result beside those of other kinds, if they answer the same question."""
        assert isinstance(request, TraceRequest)
        assert isinstance(result, TraceResult)
        question = request.model_copy(update={"kinds": (), "confirmed": False, "estimate": True})
        if question != self._question or edits != self.drawn_edits:
            self._found, self._requests = {}, {}
        self._question, self.drawn_case, self.drawn_edits = question, request.case, edits
        self._replaced = request.case, request.replacement
        for grid in result.grids:
            self._found[grid.kind], self._requests[grid.kind] = Traced(result, grid), request
        end = Cursor(self._at.layers - 1, len(result.encoded.texts) - 1)
        if self.cursor is None or self.cursor.token > end.token or self.cursor.layer > end.layer:
            self.move_cursor(end)

    def unfinished(self, result: Result) -> str:
        """What is exact stays, the rest is marked."""
        assert isinstance(result, TraceResult)
        return views.exact_cells(result)

    def question(self, request: Request) -> Hashable:
        """That it takes long was no question."""
        return request.model_copy(update={"confirmed": False})

    def pictured(self) -> tuple[Request, ...]:
        """All kinds."""
        looked_at = self._requests.get(self._at.grid.kind) if self._found else None
        return tuple(dict.fromkeys((*([looked_at] if looked_at else []), *self._requests.values())))

    def at_cursor(self, result: Result) -> str:
        """The cell's value."""
        assert isinstance(result, TraceResult)
        grid = next((grid for grid in result.grids if grid.kind == self._at.grid.kind), None)
        return views.value_at(Traced(result, grid), self._here()) if grid else ""

    # The cursor

    def on_cell_grid_moved(self, event: CellGrid.Moved) -> None:
        """The person moved: tell everybody."""
        event.stop()
        if self.empty:  # cleared while the move was on its way
            return
        group, cursor = self._picture().cursor(event.place)
        if (kind := self._shown()[group].grid.kind) != self.kind:
            self.set_reactive(TracePane.kind, kind)
        self.move_cursor(cursor)
        self._draw_cell(cursor)

    def on_cell_grid_chosen(self, event: CellGrid.Chosen) -> None:
        """More about the cell, or less."""
        event.stop()
        self.detailed = not self.detailed

    def action_peak(self) -> None:
        """Go to the exact cell that restores most."""
        if (peak := self._at.grid.peak) is None:
            self.notify("No exact cell is known yet: wait for the trace, or press t to run it again.")
            return
        self._grid.move_to(self._picture().place(Cursor(peak.layer, peak.token), self._group))
        self.move_cursor(Cursor(peak.layer, peak.token))
        self._draw_cell(Cursor(peak.layer, peak.token))

    # Drawing

    @property
    def _grid(self) -> TraceHeatmap:
        return self.query_one(TraceHeatmap)

    @property
    def _at(self) -> Traced:
        """The kind that is looked at, or what there is while it is being found."""
        return self._found.get(self.kind) or next(iter(self._found.values()))

    @property
    def _group(self) -> int:
        return self._shown().index(self._at)

    def _all(self) -> tuple[Traced, ...]:
        return tuple(self._found[kind] for kind in KINDS if kind in self._found)

    def _shown(self) -> tuple[Traced, ...]:
        """All kinds where there is room for them, and else the one that is looked at."""
        together = self._all()
        return (
            together
            if TracePicture(together).fits_side_by_side(self._grid.scrollable_content_region.width)
            else (self._at,)
        )

    def _picture(self) -> TracePicture:
        return TracePicture(self._shown())

    def _here(self) -> Cursor:
        """The shared cursor, within the picture."""
        last = len(self._at.result.encoded.texts) - 1
        cursor = self.cursor or Cursor(self._at.layers - 1, last)
        return Cursor(clamp(cursor.layer, 0, self._at.layers - 1), clamp(cursor.token, 0, last))

    def draw(self) -> None:
        """Draw the heatmap and the cell."""
        self._grid.show(self._picture(), self._picture().place(self._here(), self._group))
        self._draw_cell(self._here())

    def draw_cursor(self) -> None:
        """Draw the cursor where it is now."""
        self._grid.move_to(self._picture().place(self._here(), self._group))
        self._draw_cell(self._here())

    def on_resize(self) -> None:
        """There may be room for all kinds now, or no longer."""
        if not self.empty:
            self.call_after_refresh(self.redraw)

    def watch_detailed(self) -> None:
        """Say more about the cell, or less."""
        self.redraw()

    @property
    def _invitation(self) -> str:
        """What to do for a trace of what is on the screen."""
        return READY if self.on_screen is not None and self.on_screen.subject else EMPTY

    def watch_on_screen(self) -> None:
        """A subject was named, or taken away."""
        super().watch_on_screen()
        if self.is_mounted and self.empty and self._invited not in ("", self._invitation):
            self.say_instead("")

    def say_instead(self, sentence: str) -> None:
        """Say something where the picture will be."""
        self._invited = "" if sentence else self._invitation
        self._grid.show_placeholder(sentence or self._invited)
        self.query_one("#cell").display = False

    def headline(self) -> str:
        """What the picture is of."""
        return views.title(self._at, alone=len(self._shown()) == 1)

    def legend(self) -> Content:
        """The scale."""
        return views.ramp_legend(self._at.result, self.app.current_theme.dark)

    def checks(self) -> tuple[Check, ...]:
        """Those of the trace that is looked at."""
        at = self._at
        together = f"{at.result.window} layers of {NAMES[at.grid.kind]} restored together"
        window = () if at.grid.kind == "states" else (Check(name="window", text=together),)
        return (*at.result.checks, *window)

    def _draw_cell(self, cursor: Cursor) -> None:
        lines = [views.read_out(self._at, cursor)]
        if self.detailed:
            lines += views.detail(self._all(), cursor)
        cell = self.query_one("#cell", Static)
        update_in_place(cell, Content("\n").join(Content(line) for line in lines))
        cell.display = True
