"""The engine: one long-lived thread that owns the model and does all the work on it.

Requests go in by `Engine.submit`, events come out through a listener that is called on the engine's thread (an app
posts them as messages, the command line puts them in a queue). Errors are values: a failed job is a step that says
why, and the next job runs.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from workbench.editing.queue import QueueState
from workbench.errors import Cancelled, OutOfMemory, SessionError, WorkbenchError
from workbench.events import Finished, Listener, LoadRequest, LoadResult, Started
from workbench.jobs import NUMBERS, Job, Reporter
from workbench.lazy import torch
from workbench.memory import is_out_of_memory
from workbench.models import beside
from workbench.protocol import Progress, Request, Result
from workbench.registry import check_divided, check_remote, method
from workbench.session import Status, Step, StepError

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

logger = logging.getLogger(__name__)

BACKGROUND_NICENESS = 5
"""How far the engine's thread gives way to the screen's, where the system knows niceness by thread (Linux)."""

BEHIND = 8
"""So many jobs may wait with their rest until others are done: each keeps what it has in memory."""

THREAD = "engine"


class Engine:
    """Runs requests one after the other on a thread of its own; before what a method does in the background, others.

    ``listener`` hears of everything, on that thread. ``record`` is given every finished step but loads before the
    listener hears of it, and returns it as recorded: a `workbench.session.SessionFile` appends and saves there.
    """

    def __init__(self, listener: Listener, record: Callable[[Step], Step] | None = None) -> None:
        self._listener = listener
        self._record = record
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._model: LoadedModel | None = None
        self._current: Job | None = None  # the one that was submitted; what it asks is cancelled with it
        self._behind: list[Job] = []  # whose rest waits for what was asked meanwhile
        self._next: Job | None = None  # what was taken out of the queue and could not go before all that
        self._finishing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> int:
        """Queue a request and return the number of its job."""
        return self._put(Job(next(NUMBERS), request))

    def _put(self, job: Job) -> int:
        with self._lock:
            self._waiting[job.id] = job
        self._queue.put(job)
        return job.id

    def cancel(self, job: int | None = None) -> None:
        """Stop a job, waiting or running, or all of them. It ends with a step that says so."""
        with self._lock:
            for waiting in self._waiting.values():
                if job is None or waiting.id == job:
                    waiting.cancelled.set()

    def close(self, timeout: float = 10.0) -> bool:
        """Cancel everything and wait for the thread to end. Returns whether it did in time.

        Where it did not, the steps of what it was doing and of what waits are recorded here, with what had been
        reported; the thread is left alone, and what it still comes to is not heard of.
        """
        self.cancel()
        self._queue.put(None)
        self._thread.join(timeout)
        if not self._thread.is_alive():
            return True
        if not self._finishing.acquire(timeout=timeout / 2):  # a disk that does not answer will not take more
            return False
        self._finishing.release()
        with self._lock:
            left = list(self._waiting.values())
        for job in left:
            self._finish(job, "cancelled" if job.partial is None else "partial", job.partial, job.queue)
        return False

    def _work(self) -> None:
        _give_way()
        while (job := self._next or self._queue.get()) is not None:
            self._next = None
            self._do(job)
        self._model = None

    def _do(self, job: Job) -> None:
        before, self._current = self._current, job
        self._run(job)
        self._current = before
        with self._lock:
            del self._waiting[job.id]

    def _let_others_go_first(self, job: Job) -> None:
        """Run what was asked meanwhile, before the rest of a job that nobody waits for.

        The rest is not wanted where the model has other edits then, or where another model was asked for.
        """
        if self._model is None or len(self._behind) == BEHIND:
            return
        self._behind.append(job)
        while self._next is None and not job.cancelled.is_set():
            try:
                asked = self._queue.get_nowait()
            except queue.Empty:
                break
            if asked is None:  # the end, which comes when all jobs have ended
                self._queue.put(None)
                break
            if isinstance(asked.request, LoadRequest):
                self._next = asked
                for behind in self._behind:
                    behind.cancelled.set()
                break
            with torch.enable_grad():
                self._do(asked)
            if self._model.edits.active != job.edits:
                job.cancelled.set()
        self._behind.remove(job)

    def _ask(self, job: Job, request: Request, seen: Callable[[Result], None] = lambda _: None, /) -> Step:
        """Answer what a job asks of another method: a step of its own, which is cancelled with the job."""
        asked = Job(next(NUMBERS), request, job.cancelled, seen=seen)
        with self._lock:
            self._waiting[asked.id] = asked
        try:
            step = self._run(asked)
        finally:
            with self._lock:
                del self._waiting[asked.id]
        if job.cancelled.is_set():
            raise Cancelled
        return step

    def _run(self, job: Job) -> Step:
        job.started, job.clock = datetime.now(UTC), time.perf_counter()
        if self._model is not None:
            job.edits, job.queue = self._model.edits.active, self._model.edits.state
        status: Status = "done"
        result: Result | None = None
        failure: StepError | None = None
        progress = Reporter(job, self._listener, self._let_others_go_first)
        try:
            progress.check()
            self._listener(Started(job.id, job.request))
            result = self._answer(job, progress)
        except Cancelled:
            result = job.partial
            status = "cancelled" if result is None else "partial"
        except WorkbenchError as error:
            status, failure = "failed", StepError(kind=type(error).__name__, message=str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one job must not end the thread that owns the model
            status, failure = "failed", _unexpected(error)
        queue = self._model.edits.state if self._model is not None else None
        return self._finish(job, status, result, queue, failure)

    def _finish(
        self,
        job: Job,
        status: Status,
        result: Result | None,
        queue: QueueState | None,
        failure: StepError | None = None,
    ) -> Step:
        """Record a job's step and tell of it, unless that was done when the engine was closed."""
        with self._lock:
            ended, job.ended = job.ended, True
        if status == "partial" and result is not None and hasattr(result, "queue"):
            result = result.model_copy(update={"queue": queue})  # what it had put on is off again
        step = Step.model_construct(
            id=0,
            started=job.started,
            seconds=round(time.perf_counter() - job.clock, 4),
            edits=job.edits,
            status=status,
            request=job.request,
            result=result,
            error=failure,
        )
        if ended:
            return step
        unsaved = None
        with self._finishing:
            if self._record is not None and not isinstance(job.request, LoadRequest):
                try:
                    step = self._record(step)
                except SessionError as error:
                    unsaved = str(error)
                except Exception as error:  # noqa: BLE001 - nor must a bug in saving: who waits must hear of the step
                    unsaved = f"the step could not be saved: {_unexpected(error).message}"
            self._listener(Finished(job.id, step, unsaved, queue))
        return step

    def _answer(self, job: Job, progress: Reporter) -> Result:
        request = job.request
        if isinstance(request, LoadRequest):
            return self._load(request, progress)
        if self._model is None:
            raise WorkbenchError("no model is loaded; load one first")
        answers = method(request.kind)
        if self._model.info.is_remote:
            check_remote(answers)
            assert answers.remote is not None, "it has been checked"
            return answers.remote(self._model, request, progress)
        if self._model.divided:
            check_divided(answers)
        if answers.asks:
            progress.foresees = False
            return answers.run(self._model, request, progress, partial(self._ask, job))
        if answers.background:
            progress.background = answers.background
            return answers.run(self._model, request, progress)
        with self._model.edits.transaction():
            return answers.run(self._model, request, progress)

    def _load(self, request: LoadRequest, progress: Progress) -> LoadResult:
        progress(0, 1, stage="importing torch")
        from workbench.loading import load

        if self._model is not None:
            self._model = None  # the old one's memory is free before the new one needs it
            gc.unfreeze()
            gc.collect()
        if request.remote:
            from workbench.remote import reach

            model: LoadedModel = reach(request.model, progress)
        else:
            model = load(request.model, request.dtype, request.device, progress, request.device_map)
        # What torch and transformers brought is here to stay. Looking through its million objects for garbage would
        # stop every thread for a third of a second, the screen's too.
        gc.freeze()
        for module in model.checkpoints:
            module.register_forward_pre_hook(self._checkpoint)
        self._model = model
        return LoadResult(model=model.info)

    def _checkpoint(self, _: object, arguments: tuple[object, ...]) -> None:
        """Runs before every block and unembedding, and on the way back before what led to them.

        So nothing is ever more than a layer away from stopping.
        """
        self._stop_if_cancelled()
        for argument in arguments:
            if getattr(argument, "requires_grad", False):
                argument.register_hook(self._stop_if_cancelled)  # type: ignore[attr-defined]

    def _stop_if_cancelled(self, *_: object) -> None:
        if self._current is not None and self._current.cancelled.is_set():
            raise Cancelled


def is_at_work() -> bool:
    """Whether a thread is alive in the model's libraries: an engine's that did not stop in time, or a helper of its."""
    return any(thread.name in (THREAD, beside.THREAD) for thread in threading.enumerate())


def _unexpected(error: Exception) -> StepError:
    """A bug, or memory that ran out where nobody expected it: the place in the code goes with it, in words."""
    if "torch" in sys.modules and is_out_of_memory(error):
        first = str(error).partition("\n")[0]
        sentence = f"out of memory ({first}); use a shorter prompt, a smaller model or --dtype bfloat16"
        return StepError(kind=OutOfMemory.__name__, message=sentence)
    logger.exception("a job failed unexpectedly", exc_info=error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return StepError(kind=type(error).__name__, message=f"{error} (a bug, in {frame.name}; the log has the traceback)")


def _give_way() -> None:
    """Let the screen's thread go first: a key must be answered while every core multiplies matrices."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BACKGROUND_NICENESS)
