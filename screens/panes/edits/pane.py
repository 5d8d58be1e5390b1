"""The edits pane: the queue of edits with their states and scores, a form for another one, and what is done to them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList, Static

from screens import signs
from screens.keys import Key
from screens.messages import Ask
from screens.panes.edits import views
from screens.panes.edits.chart import EditChart
from screens.panes.edits.detail import EditDetail, EditInFull
from screens.panes.edits.form import CHANGED, EditForm
from screens.panes.edits.ledger import EditLedger, EditRow, Measured
from screens.panes.edits.list import EditList
from screens.panes.edits.path import PathLine, PathPurpose, default_name
from screens.panes.edits.rivals import Rivals, RivalTable
from screens.panes.edits.views import FactRow, headline
from screens.panes.picture import NOT_RECORDED, PicturePane
from screens.waits import after
from screens.widgets.closing_input import ClosingInput
from workbench.case import Case
from workbench.editing.advice import advice
from workbench.editing.bisection import BisectRequest
from workbench.editing.compare import CompareRequest, CompareResult
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editor
from workbench.editing.operations import Action, QueueRequest, QueueResult
from workbench.editing.queue import QueuedEdit
from workbench.editing.standings import BEST, WORST
from workbench.editing.suite.regression import SuiteRequest, SuiteResult
from workbench.events import Progressed
from workbench.methods.tracing.layer import traced_layer
from workbench.protocol import Check, Request, Result
from workbench.session import Step
from workbench.wording import count

EMPTY = """No edits yet.
Press e to make the model say the target.
It needs a subject (words of the prompt that the fact is about) and a target (what is to be said instead).
A causal trace (t) shows where the fact sits; o applies a patch that was saved; C lets every editor try and compares."""

NEEDS_ROW = ("switch", "remove", "move", "save", "save_model")
NEEDS_MODEL = (*NEEDS_ROW, "new", "undo", "redo", "check", "apply", "rivals")


class EditsPane(PicturePane):
    """Shows the queue that the main screen tells of, with what the steps of edits and suites said about it."""

    TITLE = "Edits"
    SIGNS = signs.EDITS
    ASK_KEY = Key.EDITS
    SIDE = "left"
    accepts: ClassVar[tuple[type[Request], ...]] = (
        EditRequest,
        QueueRequest,
        SuiteRequest,
        BisectRequest,
        CompareRequest,
    )

    DEFAULT_CSS = """
    EditsPane {
        & > #instead { height: auto; padding: 0 1; color: $foreground 55%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.SWITCH, "switch", "On/off", tooltip="Switch the edit on or off", id="edits.switch"),
        Binding(
            Key.CONFIRM, "confirm", "Replace", tooltip="Put the patch in place of the one there", id="edits.confirm"
        ),
        Binding(Key.REMOVE, "remove", "Remove", tooltip="Out of the queue; u brings it back", id="edits.remove"),
        Binding(Key.UNDO, "undo", "Undo", tooltip="Take back what was done to the queue", id="edits.undo"),
        Binding(Key.CHECK, "check", "Check", tooltip="Run the regression suite of the edit again", id="edits.suite"),
        Binding(Key.RIVALS, "rivals", "Compare", tooltip="Let every editor try this case", id="edits.rivals"),
        Binding(
            Key.VIEW,
            "view",
            "Chart",
            tooltip="The editors compared, or scores over the number of edits",
            id="edits.chart",
        ),
        Binding(Key.NEW, "new", "New edit", tooltip="Open the form", show=False, id="edits.new"),
        Binding(Key.REDO, "redo", "Redo", tooltip="Do again what was undone", show=False, id="edits.redo"),
        Binding(Key.LATER, "move(1)", "Move down", tooltip="Later in the queue", show=False, id="edits.down"),
        Binding(Key.EARLIER, "move(-1)", "Move up", tooltip="Earlier in the queue", show=False, id="edits.up"),
        Binding(Key.SAVE, "save", "Save", tooltip="Save a patch", show=False, id="edits.save"),
        Binding(
            Key.SAVE_MODEL,
            "save_model",
            "Save model",
            tooltip="Save the whole model",
            show=False,
            id="edits.save_model",
        ),
        Binding(Key.APPLY, "apply", "Apply patch", tooltip="Add the edits of a patch", show=False, id="edits.apply"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._ledger = EditLedger()
        self._said = ""  # by what was done to the queue last
        self._told: tuple[Check, ...] = ()  # of the queue, when it was changed last
        self._detail: EditDetail | None = None
        self._number = 0  # of the row that is highlighted
        self._chosen: str | None = None  # the edit that is highlighted
        self._comparison: CompareResult | None = None
        self._comparing = False  # whether that is looked at, and not the queue

    def compose_picture(self) -> ComposeResult:
        """The queue, the form, the line to type into."""
        yield Static(id="instead", markup=False)
        yield EditList()
        yield RivalTable()
        yield EditForm()
        yield PathLine()

    def focus_content(self) -> None:
        """Put the keyboard into the queue, or among the editors that are compared."""
        (self.query_one(Rivals) if self._comparing else self._list).focus()

    # Asking

    def ask(self) -> None:
        """Open the form."""
        self.action_new()

    def action_new(self, problem: str = "") -> None:
        """Open the form, filled from the case on screen and from a trace of it."""
        case = self.case_on_screen()
        if case is None:
            self.notify("Type a prompt first.")
            return
        self.query_one(PathLine).close()
        traced = traced_layer(((step.request, step.result) for step in self.answers), case)
        told = advice(self.model.fingerprint, len(self.edits) + 1) if self.model is not None else None
        self.query_one(EditForm).open(case, traced, self.model, problem, f"{told.name} {told.text}" if told else "")
        self.draw()

    @on(EditForm.Submitted)
    def make(self, message: EditForm.Submitted) -> None:
        """Ask for the edit, if the prompt that the form was filled from is still the one on the screen."""
        message.stop()
        if message.about != self.case_on_screen():
            self.action_new(CHANGED)
            return
        self._close_lines()
        self.post_message(Ask(message.request))

    @on(ClosingInput.Closed)
    def _close_lines(self) -> None:
        self.query_one(EditForm).close()
        self.query_one(PathLine).close()
        self.draw()
        self.focus_content()

    def action_switch(self) -> None:
        """Switch the edit on or off."""
        if (row := self._row) is not None:
            self._do("off" if row.state == "on" else "on", row)

    def action_remove(self) -> None:
        """Take the edit out of the queue."""
        self._do("remove", self._row)

    def action_move(self, by: int) -> None:
        """Move the edit in the queue."""
        self._do("move", self._row, by)

    def action_undo(self) -> None:
        """Take back the last change of the queue."""
        self._ask(QueueRequest(action="undo"))

    def action_redo(self) -> None:
        """Make an undone change again."""
        self._ask(QueueRequest(action="redo"))

    def action_check(self) -> None:
        """Run the suite of the edit, or of the case on screen, with the edits that are on now."""
        suite = self._ledger.suite_of(self._chosen, self.on_screen)
        if suite is None:
            self._say("No suite: the shipped facts have none for this; name a file in the form of the edit.")
        else:
            self._ask(SuiteRequest(suite=suite))

    def action_rivals(self) -> None:
        """Ask every editor for its edit of the case on screen."""
        case = self.case_on_screen()
        if case is None or not (case.target or "").strip():
            self.notify("Type a prompt and a target first: editors are compared by what they make the model say.")
            return
        self._close_lines()
        self._ask(CompareRequest(case=case))

    def action_save(self) -> None:
        """Ask where to save what is on, as a patch."""
        self._open_path("save")

    def action_save_model(self) -> None:
        """Ask where to save the whole model."""
        self._open_path("save-model")

    def action_apply(self) -> None:
        """Ask for a patch."""
        self._open_path("apply")

    def _open_path(self, purpose: PathPurpose) -> None:
        self.query_one(EditForm).close()
        self.query_one(PathLine).open(purpose, default_name(purpose, self._saved_case()), self.model)
        self.draw()

    def _saved_case(self) -> Case | None:
        """What the last edit that is on was made for."""
        made = [self._ledger.made[id_] for id_ in self.edits if id_ in self._ledger.made]
        return made[-1].request.case if made else None

    @on(PathLine.Submitted)
    def use_path(self, message: PathLine.Submitted) -> None:
        """Save there, or apply that."""
        message.stop()
        self._close_lines()
        self._ask(QueueRequest(action=message.purpose, path=message.path))

    def action_view(self) -> None:
        """Show the editors that were compared, or else what became of score and perplexity with every edit."""
        if self._comparison is not None and not self._comparing:
            self._look_at(True)
            return
        self._look_at(False)
        prepend = self.on_screen.prepend if self.on_screen is not None else "as-is"
        self.app.push_screen(EditChart(self._ledger.points(prepend)))

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Where nobody answers or no edit is highlighted, nothing is done to it."""
        if action in NEEDS_MODEL and not self.live:
            return False
        if action == "confirm":
            return self.can_confirm
        return self._row is not None if action in NEEDS_ROW else True

    def _do(self, action: Action, row: EditRow | None, by: int = 0) -> None:
        if row is not None:
            self._ask(QueueRequest(action=action, edit=row.id, by=by))

    def _ask(self, request: Request) -> None:
        self._said = ""
        self.post_message(Ask(request))

    # What happened

    @property
    def empty(self) -> bool:
        """Whether there are no edits, and none that were compared."""
        return not (self._rows or self._comparing)

    def clear(self) -> None:
        """Forget what was recorded. The queue is the main screen's to tell."""
        self._ledger, self._said = EditLedger(), ""
        self._comparison, self._comparing = None, False
        super().clear()

    def takes(self, request: Request) -> bool:
        """What changes a concept has a pane of its own."""
        return super().takes(request) and not (isinstance(request, EditRequest) and editor(request.editor).of != "fact")

    def slot(self, request: Request) -> Hashable:
        """Every edit stands for itself, and so does every suite and every fact that is bisected."""
        return request.kind if isinstance(request, QueueRequest) else request

    def question(self, request: Request) -> Hashable:  # noqa: ARG002 - edits are not compared with edits
        """None."""
        return None

    def waiting(self, request: Request) -> None:
        """It stands in the list until it is done."""
        self._ledger.asked(request)
        super().waiting(request)
        self.draw()

    def started(self, request: Request) -> None:
        """It waits no longer."""
        self._ledger.started(request)
        super().started(request)

    def watch_running(self) -> None:
        """What waits is done after something else now."""
        if self._ledger.waiting:
            self.draw_frame()

    def show_progress(self, progress: Progressed) -> None:
        """An edit says in its row how far it is, everything else in the frame."""
        self._ledger.under_way(progress, self.edits)
        self._under_way, self._failure = True, ""
        in_row = isinstance(progress.request, EditRequest)
        self._status = "computing" if in_row else self.how_far(progress)
        self._hear(progress.partial)
        self.draw()
        self.draw_frame()

    def show_step(self, step: Step) -> None:
        """Keep what it says; the queue itself comes from the main screen."""
        self._ledger.ended(step)
        self._under_way = False
        self._status = "" if step.status == "done" else step.status
        in_row = isinstance(step.request, EditRequest)
        self._hear_refusal(step)
        self._hear(step.result)
        self._failure = self.failure(step.error) if step.error and not in_row else ""
        self._said = ""
        if isinstance(step.request, EditRequest | QueueRequest):
            self._told = ()
        if isinstance(step.result, QueueResult):
            self._said, self._told = step.result.done, step.result.checks
        elif isinstance(step.request, BisectRequest) and step.error is None:
            self._said = self._ledger.bisected
        elif isinstance(step.result, SuiteResult) and self.empty:  # else it stands in a row
            scores = views.scores_in_words(Measured(step.edits, step.result), "as-is", step.edits, self.size.width)
            self._said = f"{step.result.suite.name}: {scores}"
        self.draw()
        self.draw_frame()

    def watch_queue(self) -> None:
        """Edits were added, switched, moved or removed."""
        self.drawn_edits = self.edits
        if self.is_mounted:
            self.draw()
            self.draw_frame()

    def _hear(self, result: Result | None) -> None:
        """A comparison, finished or not, is looked at; whatever else was done is seen in the queue."""
        if isinstance(result, CompareResult):
            self._comparison = result
        if result is not None:
            self._look_at(isinstance(result, CompareResult))

    def _look_at(self, comparing: bool) -> None:
        """Show the comparison, or the queue."""
        had, self._comparing = self.has_focus_within, comparing
        self.draw()
        self.draw_frame()
        if had and not (self.query_one(EditForm).is_open or self.query_one(PathLine).is_open):
            self.focus_content()

    # Drawing

    @property
    def _list(self) -> EditList:
        return self.query_one(EditList)

    @property
    def _rows(self) -> list[EditRow]:
        return self._ledger.rows(self.queue)

    @property
    def _row(self) -> EditRow | None:
        """The edit of the queue that is highlighted."""
        return next((row for row in self._rows if row.id == self._chosen and row.id is not None), None)

    def draw(self) -> None:
        """Draw the queue, and the detail where it is open."""
        rows = self._rows
        width = max(20, self._list.size.width - 3)
        self._number = max(0, views.place_of(rows, self._chosen, self._number))
        self._chosen = rows[self._number].id if rows else None
        on = tuple(row.id for row in rows if row.id is not None and row.state == "on")
        self._list.show([(row.id, views.row_content(row, on, width)) for row in rows], self._number)
        self._list.display = not self._comparing
        self.query_one(RivalTable).set_class(self._comparing, "-open")
        if self._comparing and self._comparison is not None:
            prepend = self.on_screen.prepend if self.on_screen is not None else "as-is"
            self.query_one(RivalTable).show(self._comparison, prepend, max(20, self.size.width - 3))
        instead = self.query_one("#instead", Static)
        instead.display = not (rows or self._comparing or self.query_one(EditForm).is_open)
        why = EMPTY if self.live else NOT_RECORDED
        if not (rows or self._under_way or instead.content == why):
            instead.update(why)
        if self._detail is not None and self._detail.is_mounted and (detail := self._detail_now()):
            self._detail.show(detail)

    def draw_cursor(self) -> None:
        """Edits have no place among layers and tokens."""

    def on_resize(self) -> None:
        """More scores may fit."""
        self.draw()

    def say_instead(self, sentence: str) -> None:
        """Say something where the queue will be."""
        self.query_one("#instead", Static).update(sentence or EMPTY)
        self.query_one("#instead").display = True

    def headline(self) -> str:
        """How many there are."""
        if self._comparing and self._comparison is not None:
            return f"Edits · {count(len(self._comparison.rivals), 'editor')} compared"
        return views.title(self.queue, sum(job.state != "failed" for job in self._ledger.jobs))

    @property
    def to_come(self) -> str:
        """What will be done to the queue, and when."""
        if self.running is None or not self._ledger.waiting:
            return ""
        return f"{', '.join(views.doing(each, self.queue) for each in self._ledger.waiting)} {after(self.running)}"

    def legend(self) -> Content:
        """What waits, and that all is off for a comparison, or what was done last."""
        waits = Content.styled(f"◌ {to_come}" if (to_come := self.to_come) else "", "$text-warning")
        return Content("\n").join(line for line in (waits, self._standing()) if line.plain)

    def _standing(self) -> Content:
        if held := views.held_in_words(self.queue):
            return Content.styled(f"◐ {held}", "bold $text-warning")
        if self._comparing and self._comparison is not None:
            return Content(f"{self._comparison.suite.name} · {BEST} best {WORST} worst · enter: into the queue")
        return Content(self._said)

    def checks(self) -> tuple[Check, ...]:
        """Those of the edit that is highlighted, and of its suite; or of the comparison."""
        if self._comparing and self._comparison is not None:
            return self._comparison.checks
        return (*self._told, *self._ledger.checks(self._chosen))

    def _legend(self) -> Content:
        """Said of a queue without edits too: what was asked of it may have failed."""
        return Content.styled(f"✗ {self._failure}", "$text-error") if self._failure else self.legend()

    def _staleness(self) -> str:
        return ""

    def _say(self, sentence: str) -> None:
        self._failure = sentence
        self.draw_frame()

    # The row that is highlighted, and its details

    @on(OptionList.OptionHighlighted)
    def choose(self, message: OptionList.OptionHighlighted) -> None:
        """Another row is highlighted."""
        message.stop()
        if isinstance(message.option_list, Rivals):
            return
        self._number, self._chosen = message.option_index, message.option_id
        self.refresh_bindings()
        self.draw_frame()

    @on(OptionList.OptionSelected)
    def open_detail(self, message: OptionList.OptionSelected) -> None:
        """Show everything about the edit; or put one that was compared into the queue."""
        message.stop()
        if isinstance(message.option_list, Rivals):
            self._take(message.option_index)
            return
        self._ledger.bisected = ""
        if (detail := self._detail_now()) is not None:
            self._detail = EditDetail(detail, self._bisect)
            self.app.push_screen(self._detail, lambda _: self._close_detail())

    def _take(self, place: int) -> None:
        """Put an editor's edit into the queue, switched on."""
        rival = self._comparison.rivals[place] if self._comparison else None
        if rival is None or not self.live:
            return
        if rival.edit is None:
            self._say(f"{rival.title} made no edit: {rival.why}")
            return
        self._chosen = rival.edit.id
        if any(entry.info.id == rival.edit.id for entry in self.queue.entries):
            self._ask(QueueRequest(action="on", edit=rival.edit.id))
        else:
            entries = (*self.queue.entries, QueuedEdit(info=rival.edit, on=True))
            self._ask(QueueRequest(action="restore", entries=entries))

    def _close_detail(self) -> None:
        self._detail = None

    def _detail_now(self) -> EditInFull | None:
        if (row := self._row) is None:
            return None
        made = self._ledger.made.get(row.id or "")
        return EditInFull(headline(row), made, row.measured, self._ledger.bisected)

    def _bisect(self, row: FactRow) -> None:
        if self.live:
            self.post_message(Ask(BisectRequest(fact=row.fact, prepend=row.outcome.prepend)))
