"""The engine, waited for: what the command line does with the queue that the app listens to."""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from workbench import leaving
from workbench.cli.console import bars
from workbench.cli.output import remark, remarks
from workbench.engine import Engine
from workbench.errors import Cancelled, SessionError, WorkbenchError
from workbench.events import Event, Finished, LoadRequest, LoadResult, Progressed
from workbench.models.info import ModelInfo
from workbench.protocol import Request
from workbench.session import SessionFile, Step

LOOK_EVERY = 0.1
"""Seconds between two looks whether a signal has come. One that comes just before a wait begins does not end it."""


class WaitingEngine:
    """Loads a model on entry; `answer` then runs a request as the app would, with its progress on stderr.

    Steps are appended to the session file, if one is given; who records it already is waited for. Raises
    `WorkbenchError` when the model cannot be loaded or the session belongs to another one, and `Cancelled` when
    ctrl+c, terminate or hang-up came first.
    """

    model: ModelInfo
    unsaved: str | None = None
    """Why the last step is not in the session file, where it should be and is not."""

    def __init__(self, load: LoadRequest, session: Path | None = None) -> None:
        self._load = load
        self._recording = SessionFile.open(session, "a command line", _say) if session else None
        for note in self._recording.notes if self._recording else ():
            _say(note)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._steps = itertools.count(1)
        self._engine = Engine(self._events.put, self._recording.append if self._recording else self._number)

    def __enter__(self) -> WaitingEngine:
        try:
            step = self.answer(self._load)
            if step.error is not None:
                raise WorkbenchError(step.error.message)
            if not isinstance(step.result, LoadResult):
                raise Cancelled
            self.model = step.result.model
            if self._recording is not None:
                self._recording.use_model(self.model)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _number(self, step: Step) -> Step:
        """Steps that belong to no session file are counted from 1, too."""
        return step.model_copy(update={"id": next(self._steps)})

    def _close(self) -> None:
        """Stop what runs, with what it has found saved, and let others record the session."""
        with leaving.undisturbed():
            self._engine.close(leaving.WITHIN)
            if self._recording is not None:
                with suppress(SessionError):  # said already, with the step that could not be saved
                    self._recording.close()

    def answer(self, request: Request) -> Step:
        """Submit a request and wait for its step. What asks the program to end cancels it, which is a step too."""
        job = self._engine.submit(request)
        closed = False
        with progress_line() as show:
            while True:
                try:
                    event = self._events.get(timeout=leaving.WITHIN if closed else LOOK_EVERY)
                    if isinstance(event, Progressed):
                        show(event.done, event.total, event.stage)
                    elif isinstance(event, Finished) and event.job == job:
                        self.unsaved = event.unsaved
                        return event.step
                except queue.Empty:
                    if closed:
                        raise Cancelled from None
                except KeyboardInterrupt:
                    with leaving.undisturbed():
                        self._engine.close(leaving.WITHIN)
                    closed = True


def _say(sentence: str) -> None:
    remark(f"workbench: {sentence}")


@contextmanager
def progress_line() -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr that disappears when the work is done; nothing where stderr is not a terminal."""
    if not remarks().stream.isatty():
        yield lambda _done, _total, _stage: None
        return
    stage = TextColumn("{task.description}", markup=False)
    with bars(stage, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def show(done: int, total: int, stage: str) -> None:
            progress.update(task, description=stage, completed=done, total=total or None)

        yield show
