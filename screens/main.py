"""The main screen: what is asked on it, what is answered, and what is done with that."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.binding import BindingType
from textual.keys import key_to_character

from screens.answers import queue_of
from screens.asking import Asker
from screens.main_keys import MAIN_KEYS
from screens.messages import Ask, CancelAsked, CaseChanged, CaseChosen, CursorMoved, FollowUp
from screens.notes import Annotated, Noted, NotesScreen
from screens.pane_screen import PaneScreen
from screens.panes import PANES
from screens.panes.figure_pane import FigurePane
from screens.panes.prompt.pane import PromptPane
from screens.showing import Showing
from screens.start import StartList
from workbench.case import Case
from workbench.editing.operations import QueueRequest
from workbench.editing.queue import QueueState
from workbench.events import Event, Finished, LoadRequest, Progressed, Started
from workbench.methods.generation.continuation import ContinueRequest
from workbench.models.info import ModelInfo
from workbench.protocol import Request
from workbench.session import Step


class MainScreen(PaneScreen):
    """Has questions asked and answers shown. It knows no method: panes say which requests they accept."""

    BINDINGS: ClassVar[list[BindingType]] = MAIN_KEYS

    def __init__(
        self,
        case: Case | None = None,
        history: Iterable[Case] = (),
        session_folders: Sequence[Path] = (),
        read_only: bool = False,
    ) -> None:
        """``session_folders`` are where recent sessions are looked for, to be offered until something is asked."""
        super().__init__(
            PromptPane(case, list(history), read_only),
            [pane() for pane in PANES],
            StartList(session_folders, id="recent"),
            starting=case is None and not read_only,
            live=not read_only,
        )
        self.showing = Showing(self.prompt, self.others)
        self.answers = self.showing.answers
        self.asking = Asker(self, self.showing)

    def on_mount(self) -> None:
        """Begin in the prompt, with the first of the other panes showing."""
        self.number_panes()
        self.asking.read_prompt()
        self.show_way_on()
        self.begin()
        self.call_after_refresh(gc.enable)  # garbage is looked for once there is something to see

    def begin(self) -> None:
        """Where the keyboard is at first."""
        self.prompt.focus_content()

    def watch_model(self, before: ModelInfo | None, after: ModelInfo | None) -> None:
        """Other weights answer otherwise."""
        if before is not None and _weights(before) != _weights(after):
            self.answers.clear()
        super().watch_model(before, after)

    def hear(self, event: Event, *, beside: bool = False) -> None:
        """Pass an event of the engine on to the status line and to the panes that accept its request.

        What others do ``beside`` the engine changes nothing of its model, and is not the running job.
        """
        if isinstance(event, Finished):
            if not beside:
                self.running = None
            self._take(event.step, event.job)
            if beside:
                return
            self.status.progress = None
            self.asking.complete(event.step)
            if event.queue is not None and (event.queue != self.queue or queue_of(event.step.result)):
                self.queue = event.queue
                self._catch_up()
            elif event.step.edits != self.edits:  # it began with other ones
                self._catch_up()
            self.show_way_on()
            return
        if isinstance(event, Started) and isinstance(event.request, LoadRequest):
            self.queue = QueueState()  # the model before, and its edits, are gone, whatever comes of it
        if not beside and self.running is not event.request:
            self.running = event.request
        self.showing.hear(event)
        if isinstance(event, Progressed) and not beside:
            self.status.progress = event

    def show_step(self, step: Step) -> None:
        """Show a recorded step, and make its case everybody's. In a replay its queue of edits is the model's."""
        if step.case is not None:
            self.asking.change_case(step.case)
        self._take(step)
        if pane := self.showing.home_of(step.request):
            self.bring(pane)
        if not self.live and (queue := queue_of(step.result)):
            self.queue = queue

    def _take(self, step: Step, job: int | None = None) -> None:
        """Show a step, which samples and recent sessions make room for."""
        if step.result is not None and self.showing.home_of(step.request):
            self.leave_start()
        self.showing.show(step, job)

    def _catch_up(self) -> None:
        """The edits have changed: show what was found with these before; else ask again what is cheap to ask."""
        for request in self.showing.catch_up(self.edits):
            if self.live:
                self.post_message(Ask(request))

    def show_steps(self, steps: Iterable[Step]) -> None:
        """Show these recorded steps and nothing else; their last case, if any, is put into the fields."""
        case = None
        if not self.live:
            self.queue = QueueState()
        self.showing.clear()
        for step in steps:
            self.show_step(step)
            case = step.case or case
        self._catch_up()
        if case is not None:
            self.asking.put(case)
        self.show_way_on()

    @on(Ask)
    def asked(self, message: Ask) -> None:
        """Tell the panes that draw the answer that it is on its way. The message goes on to the app."""
        for pane in self.showing.accepting(message.request) if self.live else []:
            pane.waiting(message.request)
        home = self.showing.home_of(message.request)
        if home is None:
            return
        if message.show:
            self.go_to_pane(home)
        elif home.to_come and not home.is_on_screen:
            self.notify(home.to_come, title="Waiting")

    @on(FollowUp)
    def follow_up(self, message: FollowUp) -> None:
        """Show the pane of what goes on from another, with its form begun."""
        message.stop()
        pane = next(pane for pane in self.others if message.request in pane.accepts)
        self.go_to_pane(pane)
        if isinstance(pane, FigurePane):
            pane.begin(message.begun)

    @on(PromptPane.Submitted)
    def submitted(self, message: PromptPane.Submitted) -> None:
        """Ask, and hand the keyboard to the picture that is about to appear."""
        self.asking.ask_about(message.case)
        self.action_pane(2)

    @on(CaseChanged)
    def follow_prompt(self, message: CaseChanged) -> None:
        """Something was typed: what is drawn of another prompt is stale from now on."""
        message.stop()
        self.asking.read_prompt()

    @on(CursorMoved)
    def move_cursor(self, message: CursorMoved) -> None:
        """Move the cursor in all panes."""
        message.stop()
        self.cursor = message.cursor

    @on(CaseChosen)
    def look_at(self, message: CaseChosen) -> None:
        """A pane, or the start, has another case to look at."""
        message.stop()
        self.asking.look_at(message.case)

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """In a replay nobody answers."""
        return self.live or action not in ("ask", "again", "back", "continue", "keep", "compare", "note")

    def action_back(self) -> None:
        """Back to the prompt that a pane has put another one in the place of."""
        self.asking.go_back()

    def action_again(self) -> None:
        """Ask anew all that is drawn of another prompt, or with other edits."""
        self.asking.ask_again()

    def action_continue(self) -> None:
        """Let the model go on for a few tokens."""
        self.asking.go_on()

    def action_keep(self) -> None:
        """Append the last continuation to the prompt."""
        self.asking.keep_continuation()

    def action_ask(self, number: int) -> None:
        """Show a pane and let it ask about the case on screen."""
        pane = self.panes[number - 1]
        if self.asking.case_on_screen() is None and pane.ABOUT_PROMPT:
            self.notify("Type a prompt first.")
            return
        self.action_pane(number)
        pane.ask()

    def action_compare(self) -> None:
        """Take all edits off for a comparison, or put them on again."""
        if not any(entry.on for entry in self.queue.entries):
            self.notify("No edit is on, so there is nothing to compare; e makes one.")
            return
        self.post_message(Ask(QueueRequest(action="compare" if self.queue.bypassed else "bypass")))

    @property
    def step_on_screen(self) -> Step | None:
        """The step that the pane with the keyboard shows; from the prompt, that of the pane asked for last."""
        pane = self.with_keyboard
        return self.showing.latest(pane) or self.showing.latest(self.foremost)

    def action_export(self) -> None:
        """Offer what the pane with the keyboard shows as files."""
        step = self.step_on_screen
        if step is None:
            self.notify("This pane has nothing to export yet.")
            return

        from screens.evidence import offer  # not before the first paint

        offer(self.app, self.recorded, step)

    def action_side_by_side(self) -> None:
        """Compare the step on the screen with the one before it of the same method."""
        from screens.side_by_side import side_by_side  # not before the first paint

        step = self.step_on_screen
        screen = side_by_side(self.recorded(), step) if step is not None else None
        if screen is None:
            self.notify("There is no other step of this kind yet to compare with.")
        else:
            self.app.push_screen(screen)

    def action_note(self) -> None:
        """Open titles and notes of the session and of the step on the screen."""
        session, shown = self.recorded(), self.step_on_screen
        step = next((step for step in session.steps if shown is not None and step.id == shown.id), None)

        def keep(noted: Noted | None) -> None:
            if noted is not None:
                self.post_message(Annotated(noted))

        self.app.push_screen(NotesScreen(session, step), keep)

    @work(thread=True, group="report")
    def action_report(self) -> None:
        """Write the report of the session, on a thread: a long one takes a while."""
        from screens.evidence import write_report

        session = self.recorded()
        said, severity = write_report(session, self.status.session)
        self.app.call_from_thread(self.notify, said, title="Report", severity=severity, timeout=12)
        if severity == "information" and session.steps:
            self.app.call_from_thread(setattr, self, "reported", session.steps[-1].id)

    def action_cancel(self) -> None:
        """Stop the running job. In the editor, where only a model is loading or nothing runs, leave it instead.

        One pane alone gives way to all of them first.
        """
        running = self.status.progress.request if self.status.progress else None
        if self.zoomed:
            self.zoomed = False
        elif self.prompt.has_focus_within and (running is None or isinstance(running, LoadRequest)):
            self.leave_prompt()
        else:
            self.post_message(CancelAsked())

    def offer(self, request: Request) -> str:
        """The sentence that offers a request again which was interrupted, with the key that asks it."""
        pane = self.showing.home_of(request)
        if isinstance(request, ContinueRequest):
            what, key = "continuation", "g"
        else:
            what, key = pane.TITLE if pane else request.kind, pane.ASK_KEY if pane else ""
        key = key_to_character(key) or key
        return f"The last step was interrupted: {what}. Press {key or 'enter in the prompt'} to run it again."


def _weights(model: ModelInfo | None) -> tuple[str, str] | None:
    """What answers depend on."""
    return (model.fingerprint, model.dtype) if model is not None else None
