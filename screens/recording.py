"""The session that the live screen records: one file at a time, and where in it somebody is."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from pathlib import Path

from screens.answers import queue_of
from screens.messages import Cursor
from screens.notes import Noted
from workbench import last, paths
from workbench.case import Case
from workbench.editing.queue import QueuedEdit
from workbench.errors import InputError, SessionError
from workbench.last import LastPlace
from workbench.models.info import ModelInfo
from workbench.session import Session, SessionFile, Step

logger = logging.getLogger(__name__)

PROGRAM = "the app"
"""What others are told who want to record the same session."""


class Recording:
    """Where steps are saved. Another file can take the place of the one that there is, which is closed then."""

    def __init__(
        self,
        file: SessionFile | None,
        where: Callable[[], tuple[str, Cursor | None]],
        complain: Callable[[str], None],
    ) -> None:
        """``where`` says which pane was asked for last, and the cursor; ``complain`` tells what could not be saved."""
        self._file = file or SessionFile.begin(paths.sessions_folder(), PROGRAM)
        self._where, self._complain = where, complain
        self._noted: SessionFile | None = None  # whose place is known already, should the program be killed

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def session(self) -> Session:
        """What is in it."""
        return self._file.session

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found when it was opened."""
        return self._file.notes

    @property
    def folders(self) -> list[Path]:
        """Where this session is kept, and where sessions are kept by default."""
        return list(dict.fromkeys([self.path.absolute().parent, paths.sessions_folder()]))

    @property
    def last_case(self) -> Case | None:
        """What was asked about last."""
        cases = [step.case for step in self.session.steps if step.case is not None]
        return cases[-1] if cases else None

    @property
    def last_entries(self) -> tuple[QueuedEdit, ...]:
        """The edits that it ended with."""
        queues = [queue for step in self.session.steps if (queue := queue_of(step.result))]
        return queues[-1].entries if queues else ()

    def append(self, step: Step) -> Step:
        """Save a step. Runs on the engine's thread, so that a slow disk stops no key."""
        file = self._file
        step = file.append(step)
        if self._noted is not file:
            self._noted = file
            self._note_place()
        return step

    def annotate(self, noted: Noted) -> None:
        """Put titles and notes into it."""
        try:
            self._file.annotate(title=noted.title, note=noted.note)
            if noted.step is not None:
                self._file.annotate(noted.step, title=noted.step_title, note=noted.step_note)
        except (InputError, SessionError) as error:
            self._complain(str(error))

    def use_model(self, model: ModelInfo) -> str:
        """Note which model the steps to come are of. Returns why another session was begun for them, if it was."""
        try:
            self._file.use_model(model)
        except SessionError as error:
            self._close_before_another()
            self._file = SessionFile.begin(paths.sessions_folder(), PROGRAM)
            self._file.use_model(model)
            return str(error)
        return ""

    def open(self, path: Path, model: ModelInfo | None) -> None:
        """Go on in another session with this model. Raises `SessionError`, and goes on in this one then."""
        file = self._file
        try:
            if path.absolute() != file.path.absolute():
                file = SessionFile.open_or_beside(path, PROGRAM)
            if model is not None:
                file.use_model(model)
        except SessionError:
            if file is not self._file:
                file.close()
            raise
        if file is not self._file:
            self._close_before_another()
        self._file = file

    def close(self) -> str:
        """Save it, and where somebody is in it. Returns what could not be saved, if anything."""
        said = ""
        try:
            self._file.close()
        except SessionError as error:
            said = str(error)
        if not self._file.is_empty:
            self._note_place()
        return said

    def how_to_go_on(self) -> str:
        """One line to copy, where there is something to go on with."""
        steps, path = len(self.session.steps), self.path.absolute()
        if not (steps and path.exists()):
            return ""
        command = f"workbench open --session {shlex.quote(str(path))}"
        return f"{command}  # goes on with {steps} step{'s' * (steps != 1)}"

    def kept(self) -> str:
        """What a crash has not taken, and how to go on."""
        steps = len(self.session.steps)
        if not steps:
            return "nothing had been computed yet"
        go_on = shlex.join(["workbench", "open", "--session", str(self.path)])
        return f"everything up to step {steps} is in {self.path}; go on with: {go_on}"

    def _note_place(self) -> None:
        pane, cursor = self._where()
        place = LastPlace(
            session=str(self.path.absolute()),
            steps=len(self.session.steps),
            pane=pane,
            layer=cursor.layer if cursor else None,
            token=cursor.token if cursor else None,
        )
        try:
            last.remember(place)
        except OSError as error:
            logger.warning("the place could not be remembered: %s", error)

    def _close_before_another(self) -> None:
        try:
            self._file.close()
        except SessionError as error:
            self._complain(str(error))
