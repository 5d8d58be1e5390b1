"""An engine without a thread or a model: a test looks at what was asked and says what the engine would say.

It computes nothing: answers are recorded ones. The busy one always has one at hand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from screens.answers import active_edits, queue_of
from tests.screens.recorded import MODEL, STARTED, answers_like
from workbench.editing.edit import EditResult
from workbench.editing.operations import QueueResult
from workbench.editing.queue import QueueState
from workbench.events import Event, Finished, LoadRequest, LoadResult, Progressed, Started
from workbench.protocol import Request, Result
from workbench.session import Status, Step, StepError


class PlayedEngine:
    """Has the engine's interface; `say_*` plays its thread."""

    def __init__(self, listener: Callable[[Event], None], record: Callable[[Step], Step]) -> None:
        self.listener = listener
        self.record = record
        self.asked: list[Request] = []
        self.cancelled = 0
        self.cancelled_job: int | None = None
        self.closed = False
        self.edits: tuple[str, ...] = ()

    def submit(self, request: Request) -> int:
        self.asked.append(request)
        return len(self.asked)

    def cancel(self, job: int | None = None) -> None:
        self.cancelled += 1
        self.cancelled_job = job

    def close(self, timeout: float = 0) -> bool:
        self.closed = True
        return True

    @property
    def last(self) -> Request:
        """What was asked last."""
        return self.asked[-1]

    def say_loaded(self) -> None:
        """The model is there."""
        load = next(number for number, request in enumerate(self.asked, 1) if isinstance(request, LoadRequest))
        self.say_finished(LoadResult(model=MODEL), job=load)

    def say_started(self) -> None:
        """The last request has begun."""
        self.listener(Started(len(self.asked), self.last))

    def say_progress(self, done: int, total: int, partial: Result | None, stage: str = "unembedding") -> None:
        """The last request is under way."""
        self.listener(Progressed(len(self.asked), self.last, done, total, stage, partial, 12.0))

    def say_finished(
        self,
        result: Result | None,
        status: Status = "done",
        error: StepError | None = None,
        job: int | None = None,
        unsaved: str | None = None,
        queue: QueueState | None = None,
    ) -> None:
        """A request has ended, and the queue of edits is as the result says or as it is given."""
        number = job or len(self.asked)
        request = self.asked[number - 1]
        step = Step.model_construct(
            id=0,
            started=STARTED,
            seconds=0.2,
            edits=self.edits,
            status=status,
            request=request,
            result=result,
            error=error,
        )
        if isinstance(result, LoadResult | EditResult | QueueResult):
            self.edits = () if isinstance(result, LoadResult) else active_edits(result.queue)
        if not isinstance(request, LoadRequest):
            step = self.record(step)
        self.listener(Finished(number, step, unsaved, queue or queue_of(result)))


FAILED = StepError(kind="InputError", message="the subject [b]Perth[/b] is not in the prompt; choose among its words")


class BusyEngine(PlayedEngine):
    """Its jobs wait until `advance` lets one begin, report a partial result, or end; `dice` says which."""

    def __init__(self, *hooks: Any) -> None:
        super().__init__(*hooks)
        self.dice = Random(0)
        self._jobs: deque[int] = deque()
        self._begun = False

    def submit(self, request: Request) -> int:
        job = super().submit(request)
        self._jobs.append(job)
        return job

    def cancel(self, job: int | None = None) -> None:
        super().cancel(job)
        while self._jobs:
            number = self._jobs.popleft()
            partial = self._begun and self.dice.random() < 0.5
            result = self.answer(self.asked[number - 1], "partial") if partial else None
            self.say_finished(result, "partial" if result is not None else "cancelled", job=number)
            self._begun = False

    def advance(self) -> None:
        """The first job that waits begins, goes on, or ends; now and then badly."""
        if not self._jobs:
            return
        number = self._jobs[0]
        request = self.asked[number - 1]
        if not self._begun:
            self._begun = True
            self.listener(Started(number, request))
        elif self.dice.random() < 0.5:
            partial = self.answer(request, "partial") if self.dice.random() < 0.7 else None
            self.listener(Progressed(number, request, 2, 5, "unembedding", partial, 12.0))
        else:
            self._jobs.popleft()
            self._begun = False
            result = self.answer(request) if self.dice.random() < 0.85 else None
            error = FAILED if result is None else None
            self.say_finished(result, "failed" if error else "done", error, job=number)

    def answer(self, request: Request, status: Status = "done") -> Result | None:
        """One of the answers to such a request, whatever it was about; None where there is none."""
        if isinstance(request, LoadRequest):
            return LoadResult(model=MODEL.model_copy(update={"name": request.model[:20]})) if status == "done" else None
        found = answers_like(request, status)
        return self.dice.choice(found) if found else None
