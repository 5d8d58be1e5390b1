"""The main screen of the live app: a switchboard between the engine's thread, the session file and the panes."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType

from screens.beside import Beside
from screens.history import load_history, remember
from screens.main import MainScreen
from screens.messages import Ask, CancelAsked, Cursor, EngineSaid
from screens.models import ModelsScreen
from screens.notes import Annotated
from screens.palette import commands_of
from screens.panes.prompt.pane import PromptPane
from screens.recording import Recording
from screens.sessions import SessionList, SessionsScreen
from screens.widgets.prompt_fields import TypedCase
from workbench import paths
from workbench.case import Case
from workbench.editing.operations import QueueRequest
from workbench.editing.queue import QueuedEdit
from workbench.engine import Engine
from workbench.errors import SessionError
from workbench.events import Event, Finished, LoadRequest, LoadResult, Started
from workbench.last import LastPlace
from workbench.protocol import Request
from workbench.session import SessionFile, Step, StepError
from workbench.sweeping.beside import SweepEngine

logger = logging.getLogger(__name__)

EngineFactory = Callable[[Callable[[Event], None], Callable[[Step], Step]], Engine]


class LiveScreen(MainScreen):
    """The main screen with an engine, which starts after the first paint, and the session that it records."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+o", "open_session", "Sessions", id="app.sessions", tooltip="Open a saved session", show=False),
        Binding("ctrl+l", "choose_model", "Models", id="app.models", tooltip="Load another model", show=False),
    ]

    def __init__(
        self,
        load: LoadRequest,
        case: Case | None = None,
        recording: SessionFile | None = None,
        engine: EngineFactory = Engine,
        place: LastPlace | None = None,
    ) -> None:
        """``place`` is where in the ``recording`` to go on."""
        self._load = load
        self._case = case
        self._recording = Recording(recording, lambda: (self.foremost.TITLE, self.cursor), self._not_saved)
        self._place = place
        self._ending = threading.Lock()
        self._make_engine = engine
        self._engine: Engine | None = None
        self._waiting: set[int] = set()
        self._beside = Beside(lambda: SweepEngine(self._hear, self._recording.append))
        self.typed: TypedCase | None = None  # before this was there
        self._history = paths.sessions_folder().parent / "history.jsonl"
        super().__init__(case or self._recording.last_case, load_history(self._history), self._recording.folders)
        self.recorded = lambda: self._recording.session
        self.asking.remember = self._remember

    def save_and_stop(self, within: float) -> bool:
        """Save what has been computed and where the user is, and stop the engine. Returns whether that stopped."""
        with self._ending:
            self._beside.cancel_all()
            stopped = self._engine.close(within) if self._engine is not None else True
            stopped = self._beside.close(within) and stopped
            if not_saved := self._recording.close():
                sys.stderr.write(f"workbench: {not_saved}\n")
            return stopped

    def say_how_to_go_on(self) -> None:
        """One line to copy, where there is something to go on with."""
        if line := self._recording.how_to_go_on():
            sys.stderr.write(f"{line}\n")

    def kept(self) -> str:
        """What a crash has not taken, and how to go on."""
        return self._recording.kept()

    def begin(self) -> None:
        """Paint first; then show what a continued session holds, and start the engine."""
        super().begin()
        self.status.session = self._recording.path
        if self.typed is not None:
            self.prompt.take_over(self.typed)
        self.call_after_refresh(self._start_engine)

    def _start_engine(self) -> None:
        for step in self._recording.session.steps:
            self.show_step(step)
        self.model = self._recording.session.model
        self._go_on()
        self._engine = self._make_engine(self._hear, self._recording.append)
        self._submit(self._load)
        if self._case is not None:
            self.submitted(PromptPane.Submitted(self._case))

    def _go_on(self) -> None:
        """Say what was found when the session was opened, go where the user was, and offer what was interrupted."""
        for note in self._recording.notes:
            self.notify(note, title="Session", timeout=12, markup=False)
        steps, place = self._recording.session.steps, self._place
        if place is not None:
            cursor = None
            if place.layer is not None and place.token is not None and place.steps == len(steps):
                cursor = Cursor(place.layer, place.token)
            self.call_after_refresh(self.go_to, place.pane, cursor)  # panes have said where they begin
        interrupted = [step for step in steps[-1:] if step.status in ("partial", "cancelled")]
        for step in interrupted:
            self.notify(self.offer(step.request), title="Interrupted", timeout=20, markup=False)

    def _hear(self, event: Event) -> None:
        """Runs on the engine's thread: the message carries the event over to ours."""
        self.post_message(EngineSaid(event))

    def _submit(self, request: Request) -> None:
        if self._engine is not None:
            self._waiting.add(self._engine.submit(request))
            self.status.waiting = len(self._waiting) - 1

    @on(Ask)
    def ask(self, message: Ask) -> None:
        """Give a pane's request to the engine, or to workers beside it."""
        if message.workers:
            self._beside.share(message.request, self._load, message.workers, self.model)
            self.status.beside = self._beside.said
        else:
            self._submit(message.request)

    @on(Annotated)
    def annotate(self, message: Annotated) -> None:
        """Put a title or a note into the session's file."""
        self._recording.annotate(message.noted)

    @on(CancelAsked)
    def cancel(self) -> None:
        """Stop what is running; what waits goes on. While nothing runs yet, all of it stops.

        Beside it may run a sweep, which is stopped from its own pane.
        """
        if self._beside.cancel(self.with_keyboard.takes):
            return
        if self._engine is not None and self._waiting:
            progress = self.status.progress
            self._engine.cancel(progress.job if progress else None)

    @on(EngineSaid)
    def engine_said(self, message: EngineSaid) -> None:
        """Pass an event on; loads and saving are this screen's own business."""
        event = message.event
        if self._beside.hear(event):
            self._hear_beside(event)
            return
        if isinstance(event, Started):
            self.status.message = ""
        if isinstance(event, Finished):
            self._waiting.discard(event.job)
            self._finished(event)
        self.status.waiting = max(0, len(self._waiting) - 1)
        with self.app.batch_update():
            self.hear(event)

    def _hear_beside(self, event: Event) -> None:
        """Of a sweep that workers answer. Whoever looks at something else is told when it has ended."""
        self.status.beside = self._beside.said
        if isinstance(event, Finished):
            self._saved(event)
            pane = self.showing.home_of(event.step.request)
            if pane is not None and not pane.has_focus_within:
                self.notify(f"{pane.TITLE}: {event.step.why or event.step.status}", title="Sweep", markup=False)
        with self.app.batch_update():
            self.hear(event, beside=True)

    def _saved(self, event: Finished) -> None:
        self.status.session = self._recording.path
        if event.unsaved:
            self._not_saved(event.unsaved)

    def _not_saved(self, why: str) -> None:
        self.notify(why, title="Saving", severity="error", timeout=20, markup=False)

    def _finished(self, event: Finished) -> None:
        step = event.step
        self._saved(event)
        if isinstance(step.result, LoadResult):
            self._loaded(step.result)
        elif step.error is not None:
            self._failed(step.request, step.error)
        else:
            self.status.message = "" if step.status == "done" else step.status
            if isinstance(step.request, LoadRequest):
                self.status.message = "the model was not loaded; ctrl+l loads one"

    def _failed(self, request: Request, error: StepError) -> None:
        """Panes say themselves why a request of theirs failed; a model that is not there concerns everybody."""
        self.status.message = "failed"
        if isinstance(request, LoadRequest):
            self.status.message = "no model; ctrl+l loads one"
            self.notify(error.message, title="No model", severity="error", timeout=15, markup=False)

    def _loaded(self, result: LoadResult) -> None:
        self.model = result.model
        if why := self._recording.use_model(result.model):
            self.status.session = self._recording.path
            self.notify(f"{why}. A new session was begun.", title="Another model", timeout=12, markup=False)
        self._restore(())

    def _restore(self, entries: tuple[QueuedEdit, ...]) -> None:
        """Give the model, whose edits are ``entries``, those that the session ended with."""
        wanted = self._recording.last_entries
        if wanted != entries:
            self.post_message(Ask(QueueRequest(action="restore", entries=wanted)))

    def action_open_session(self) -> None:
        """Choose a session and continue it."""
        self.app.push_screen(SessionsScreen(self._recording.folders), self._open_session)

    @on(SessionList.Chosen)
    def session_chosen(self, message: SessionList.Chosen) -> None:
        """A recent session was chosen on the start screen."""
        self._open_session(message.path)

    def _open_session(self, path: Path | None) -> None:
        if path is None:
            return
        try:
            self._recording.open(path, self.model)
        except SessionError as error:
            self.notify(str(error), title="Not opened", severity="error", timeout=15, markup=False)
            return
        self.status.session = self._recording.path
        for note in self._recording.notes:
            self.notify(note, title="Session", timeout=12, markup=False)
        self.show_steps(self._recording.session.steps)
        if self.model is not None:
            self._restore(self.queue.entries)

    def action_choose_model(self) -> None:
        """Choose a model and load it in place of the one that is loaded."""
        loaded = self.model.name if self.model else None
        self.app.push_screen(ModelsScreen(loaded), self._choose_model)

    def _choose_model(self, name: str | None) -> None:
        if name is not None:
            self._beside.cancel_all()  # which are of the model before
            self._load = self._load.model_copy(update={"model": name})
            self._submit(self._load)

    def keep_draft(self) -> None:
        """What stands in the prompt, asked about or not, is there again next time."""
        if self.prompt.is_mounted:
            self._remember(self.prompt.edited())

    def system_commands(self) -> Iterable[SystemCommand]:
        """What the command palette has of ours."""
        yield SystemCommand("Open session", "Continue a saved session", self.action_open_session)
        yield SystemCommand("Load model", "Load another model", self.action_choose_model)
        yield from commands_of(self)

    def _remember(self, case: Case) -> None:
        try:
            remember(self._history, case)
        except OSError as error:
            logger.warning("the history could not be written: %s", error)
