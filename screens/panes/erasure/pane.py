"""The erasure pane: what probes read of a concept by layer, before and after it was erased or steered along."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.widgets import OptionList, Static

from screens import signs
from screens.keys import Key
from screens.messages import Ask, Cursor
from screens.panes.erasure import views
from screens.panes.erasure.detail import ErasureDetail, sections
from screens.panes.erasure.form import ErasureForm
from screens.panes.erasure.ledger import EditState, Erasure, Erasures, is_erasure, key_of
from screens.panes.erasure.widgets import LayerList, ProbeChart
from screens.panes.picture import PicturePane
from screens.widgets.closing_input import ClosingInput
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.operations import QueueRequest
from workbench.events import Progressed
from workbench.protocol import Check, Request, Result
from workbench.session import Step

EMPTY = """No concept was erased yet.
Press z to choose one (pronoun gender, tense … or a file of texts and labels), the layers, and how.
Probes say at each layer what could be read before, and what still can be after."""

STRENGTH_STEP = 0.5
WAIT = 0.4
"""Seconds after the last + or − in which another one may come, before steering is asked anew."""

NEEDED = views.LEAST_HIGH + 6
"""Rows of the pane that a chart needs, with what stands around it; there is the table otherwise."""

FORM = 6
"""Rows of the form, at most: the concept, four of settings, what to do."""


class ErasurePane(PicturePane):
    """Draws one erasure of those that were made in this session; ``m`` goes to the next.

    An erasure that is asked again (with another strength, say) takes the place of the one before: its edit is taken
    out of the queue first, as it would otherwise be a part of what is measured.
    """

    TITLE = "Erasure"
    SIGNS = signs.ERASURE
    ASK_KEY = Key.ERASURE
    SIDE = "left"
    ABOUT_PROMPT = False
    accepts: ClassVar[tuple[type[Request], ...]] = (EditRequest, QueueRequest)

    DEFAULT_CSS = """
    ErasurePane {
        & > #head { height: 1; padding: 0 1; color: $foreground 60%; display: none; }
        & > LayerList { display: none; }
        &.-table > #head, &.-table > LayerList { display: block; }
        &.-table > ProbeChart { display: none; }
        &.-tight > #head { display: none; }
        &.-tight > LayerList { min-height: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.SWITCH, "switch", "On/off", tooltip="Switch its edit on or off", id="erasure.switch"),
        Binding(Key.VIEW, "view", "Chart/table", tooltip="The numbers of the chart", id="erasure.view"),
        Binding(Key.CHOOSE, "detail", "Detail", tooltip="A layer's numbers, texts, what it does", id="erasure.detail"),
        Binding(Key.STRONGER, "strength(1)", "Stronger", tooltip="Steer by half more", id="erasure.more"),
        Binding(Key.WEAKER, "strength(-1)", "Weaker", tooltip="Steer by half less", id="erasure.less"),
        Binding(Key.NEXT, "next", "Next", tooltip="The next erasure of this session", id="erasure.next"),
        Binding(Key.NEW, "new", "New", tooltip="Open the form", show=False, id="erasure.new"),
        Binding("k,up,l,right", "layer(1)", "Layer above", tooltip="A layer up", show=False, id="erasure.up"),
        Binding("j,down,h,left", "layer(-1)", "Layer below", tooltip="A layer down", show=False, id="erasure.down"),
    ]

    view: reactive[Literal["chart", "table"]] = reactive("chart", init=False)

    def __init__(self) -> None:
        super().__init__()
        self._erasures = Erasures()
        self._unfinished: Hashable = None  # the key of what is drawn while it runs
        self._switching: list[QueueRequest] = []  # asked here, and not ended yet
        self._strength: float | None = None  # that will be asked for
        self._timer: Timer | None = None
        self._detail: ErasureDetail | None = None

    def compose_picture(self) -> ComposeResult:
        """The numbers at a layer, the chart or the table, the form."""
        yield Static(id="head", markup=False)
        yield LayerList()
        yield ProbeChart()
        yield ErasureForm()

    def focus_content(self) -> None:
        """Put the keyboard into the chart or the table."""
        self.query_one(LayerList if self.has_class("-table") else ProbeChart).focus()

    # Asking

    def ask(self) -> None:
        """Open the form."""
        self.action_new()

    def action_new(self) -> None:
        """Open the form; the case on screen will be watched."""
        self.query_one(ErasureForm).open(self.case_on_screen())
        self.redraw()

    @on(ErasureForm.Submitted)
    def submitted(self, message: ErasureForm.Submitted) -> None:
        """Ask what the form asks, unless it was left meanwhile."""
        message.stop()
        if self.query_one(ErasureForm).is_open:
            self._close_form()
            self._ask(message.request)

    @on(ClosingInput.Closed)
    def _close_form(self) -> None:
        self.query_one(ErasureForm).close()
        self.redraw()
        self.focus_content()

    def _ask(self, request: EditRequest) -> None:
        """Ask, in place of what was asked by the same request before, and watch the case on screen."""
        request = request.model_copy(update={"case": self.case_on_screen()})
        before = self._erasures.same(request)
        if before is not None and before.is_in(self.queue):
            self.post_message(Ask(QueueRequest(action="remove", edit=before.id)))
        self.post_message(Ask(request))

    def action_switch(self) -> None:
        """Switch the edit of the erasure on or off."""
        action: Literal["on", "off"] = "on" if self._state == "off" else "off"
        request = QueueRequest(action=action, edit=self._shown.id)
        self._switching.append(request)
        self.post_message(Ask(request))

    def action_strength(self, by: int) -> None:
        """Steer by more or less, asked when the last key is a moment ago and nothing runs."""
        now = self._shown.strength if self._strength is None else self._strength
        self._strength = now + by * STRENGTH_STEP
        self.draw_frame()
        if not self._under_way:
            self._ask_soon()

    def _ask_soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(WAIT, self._ask_strength)

    def _ask_strength(self) -> None:
        strength, request = self._strength, self._shown.request
        self._strength = None
        if strength is not None and strength != self._shown.strength:
            settings = request.settings.model_copy(update={"strength": strength})
            self._ask(request.model_copy(update={"settings": settings}))

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Only what can be done to what is shown."""
        if action in ("detail", "layer", "view"):
            return not self.empty
        if action == "next":
            return len(self._erasures) > 1
        if action == "new":
            return self.live
        if action == "switch":
            return self.live and not self.empty and self._shown.is_in(self.queue)
        if action == "strength":
            return self.live and not self.empty and self._shown.result.how == "steer"
        return True

    # What happened

    @property
    def empty(self) -> bool:
        """Whether no layer was probed yet."""
        return not self._erasures

    def clear(self) -> None:
        """Begin empty again."""
        self._erasures, self._switching, self._strength = Erasures(), [], None
        self._unfinished = None
        self.remove_class("-table")
        super().clear()

    def pictures(self, request: Request) -> bool:
        """What becomes of the queue is not drawn but told."""
        return is_erasure(request)

    def takes(self, request: Request) -> bool:
        """Edits of concepts, and what becomes of them in the queue."""
        return isinstance(request, QueueRequest) or is_erasure(request)

    def slot(self, request: Request) -> Hashable:
        """Erasures stand side by side, but one that was asked again."""
        return key_of(request) if is_erasure(request) else super().slot(request)

    def question(self, request: Request) -> Hashable:  # noqa: ARG002
        """None: an erasure is not compared with itself under other edits."""
        return None

    def show_step(self, step: Step) -> None:
        """Draw an erasure; of what was asked of the queue here, say why it failed."""
        if isinstance(step.request, QueueRequest):
            if step.request in self._switching:
                self._switching.remove(step.request)
                self._failure = self.failure(step.error) if step.error else ""
                self.draw_frame()
            return
        self._unfinished = None
        super().show_step(step)
        if step.status != "done":
            self._strength = None
        elif self._strength is not None:
            self._ask_soon()
        self.draw_frame()
        self.refresh_bindings()

    def show_progress(self, progress: Progressed) -> None:
        """Draw what there is; keys may have something to work on now."""
        was_empty = self.empty
        super().show_progress(progress)
        if was_empty and not self.empty:
            self.refresh_bindings()

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep it, and look at it."""
        assert isinstance(request, EditRequest)
        assert isinstance(result, EditResult)
        if isinstance(result.details, Erased) and result.details.probed:
            self._unfinished = key_of(request) if self._under_way else None
            self._erasures.put(Erasure(request, result, edits))
            self._look()

    def unfinished(self, result: Result) -> str:
        """How many layers there are, and whether the model was changed."""
        assert isinstance(result, EditResult)
        assert isinstance(result.details, Erased)
        changed, probed = "" if result.edit else ", the model is not changed", len(result.details.probed)
        return f"partial: {probed} layer{'s' * (probed != 1)} probed{changed}"

    @property
    def out_of_date(self) -> bool:
        """Whether other edits than its own are on than when it was made."""
        return not (self.empty or self._under_way) and self._shown.stale(self.edits)

    @property
    def of_another_case(self) -> bool:
        """Never: a concept is erased from the model, and the prompt that is watched stands in the details."""
        return False

    def _staleness(self) -> str:
        if self.out_of_date and not self._kept:
            return self._stale("other edits are on")
        return super()._staleness()

    def watch_queue(self) -> None:
        """Its edit was added, switched or removed."""
        super().watch_queue()
        self.refresh_bindings()

    # What is looked at

    @property
    def _shown(self) -> Erasure:
        return self._erasures.shown

    @property
    def _state(self) -> EditState:
        return self._shown.state(self.queue, self._under_way and self._unfinished == key_of(self._shown.request))

    def _look(self) -> None:
        self.drawn_edits, self.drawn_case = self._shown.edits, self._shown.request.case

    def action_next(self) -> None:
        """Go to the next erasure."""
        self._strength = None
        self._erasures.turn()
        self._look()
        self.redraw()
        self.refresh_bindings()

    def action_layer(self, by: int) -> None:
        """Look at another layer."""
        self._go(self._erasures.neighbor(by))

    @on(OptionList.OptionHighlighted)
    def choose(self, message: OptionList.OptionHighlighted) -> None:
        """Look at the layer that is highlighted in the table."""
        message.stop()
        if not self.empty:  # in a replay another step may have been shown since
            self._go(int(message.option_id or 0))

    def _go(self, layer: int) -> None:
        if self._erasures.go(layer):
            self.redraw()
            if self.here is not None and self.here.layer != layer:
                self.move_cursor(Cursor(layer, self.here.token))

    def draw_cursor(self) -> None:
        """Look at the layer that was gone to elsewhere, where it was probed."""
        if self.here is not None and self._erasures.go(self.here.layer):
            self.draw()

    # Drawing

    def action_view(self) -> None:
        """The chart, or the table."""
        self.view = "table" if self.view == "chart" else "chart"

    def watch_view(self) -> None:
        """Draw the other one."""
        self.redraw()

    def on_resize(self) -> None:
        """A chart needs room."""
        super().on_resize()
        self.redraw()

    def draw(self) -> None:
        """Draw the chart, where there is room for one, or the table."""
        if self.empty:
            return
        result, row = self._shown.result, self._erasures.row
        filling_in = self.query_one(ErasureForm).is_open
        self.set_class(filling_in and self.size.height < NEEDED, "-tight")
        table = self.view == "table" or self.outer_size.height < NEEDED + FORM * filling_in
        if table != self.has_class("-table"):
            self.set_class(table, "-table")
            if self.has_focus_within and not filling_in:
                self.focus_content()
        if table:
            rows = [(str(each.layer), Content(views.row_text(each))) for each in reversed(result.probed)]
            self.query_one("#head", Static).update(views.head(result))
            self.query_one(LayerList).show(rows, [each.layer for each in reversed(result.probed)].index(row.layer))
        else:
            self.query_one(ProbeChart).show(result, row.layer)

    def draw_frame(self) -> None:
        """The details say the same, where they are open."""
        super().draw_frame()
        if self._detail is not None and self._detail.is_mounted and not self.empty:
            self._detail.show(*self._in_full())

    def say_instead(self, sentence: str) -> None:
        """Say something where the chart will be."""
        self.query_one(ProbeChart).say(sentence or EMPTY)

    def headline(self) -> str:
        """Which concept was erased, where and how, and whether the edit is on."""
        erasures = self._erasures
        return views.title(self._shown, self._state, erasures.place, len(erasures), self._strength)

    def legend(self) -> Content:
        """The numbers at the layer that is looked at."""
        return views.reading(self._shown.result, self._erasures.row)

    def checks(self) -> tuple[Check, ...]:
        """The method's own."""
        return self._shown.answer.checks

    @on(OptionList.OptionSelected)
    def action_detail(self) -> None:
        """Show everything about it."""
        if self.empty:
            return
        self._detail = ErasureDetail(*self._in_full())
        self.app.push_screen(self._detail, lambda _: self._close_detail())

    def _close_detail(self) -> None:
        self._detail = None

    def _in_full(self) -> tuple[str, Content]:
        return self.headline(), sections(self._shown, self._erasures.row, self._erasures.others)
