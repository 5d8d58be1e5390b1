"""A fake engine that always has something to say: any request is answered, partly, wholly, or by failing."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from tests.screens.fake import (
    BROKEN,
    MODEL,
    FakeEngine,
    attribution_result,
    compare_result,
    cot_result,
    edit_info,
    encoded,
    lens_result,
    queue_result,
    rome_result,
    suite_result,
    trace_result,
)
from tests.screens.fake_erasure import erasure_edit, erasure_result
from workbench.editing.bisection import BisectRequest, BisectResult
from workbench.editing.compare import CompareRequest
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editor
from workbench.editing.operations import QueueRequest
from workbench.editing.queue import QueuedEdit, QueueState
from workbench.editing.suite.regression import SuiteRequest
from workbench.engine import LoadRequest, LoadResult, Progressed, Started
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.continuation import ContinuedToken, ContinueRequest, ContinueResult
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import Request, Result
from workbench.session import StepError

FAILED = StepError(kind="InputError", message="the subject [b]Perth[/b] is not in the prompt; choose among its words")


class BusyEngine(FakeEngine):
    """Its jobs wait until `advance` lets one begin, report a partial result, or end; `dice` says which."""

    def __init__(self, *hooks: Any) -> None:
        super().__init__(*hooks)
        self.dice = Random(0)
        self._jobs: deque[int] = deque()
        self._begun = False
        self._entries: tuple[QueuedEdit, ...] = ()
        self._bypassed = False

    def submit(self, request: Request) -> int:
        job = super().submit(request)
        self._jobs.append(job)
        return job

    def cancel(self, job: int | None = None) -> None:
        super().cancel(job)
        while self._jobs:
            number = self._jobs.popleft()
            partial = self._begun and self.dice.random() < 0.5
            result = self._partial(self.asked[number - 1]) if partial else None
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
            partial = self._partial(request) if self.dice.random() < 0.7 else None
            self.listener(Progressed(number, request, 2, 5, "unembedding", partial, 12.0))
        else:
            self._jobs.popleft()
            self._begun = False
            result = self.answer(request) if self.dice.random() < 0.85 else None
            error = FAILED if result is None else None
            self.say_finished(result, "failed" if error else "done", error, job=number)

    @property
    def _queue(self) -> QueueState:
        return QueueState(entries=self._entries, bypassed=self._bypassed, can_undo=bool(self._entries))

    def _partial(self, request: Request) -> Result | None:
        match request:
            case LensRequest():
                return lens_result(request.case, done=1)
            case TraceRequest():
                return trace_result(request, exact=1)
            case CotRequest():
                return cot_result(request, words=5)
            case EditRequest() if editor(request.editor).of == "concept":
                return erasure_result(request, self._queue, probed=1)
            case SuiteRequest():
                return suite_result(request.suite, done=3)
            case CompareRequest():
                return compare_result("rome")
        return None

    def answer(self, request: Request) -> Result | None:
        """The whole answer to a request; None where there is none."""
        match request:
            case LoadRequest():
                self._entries = ()
                return LoadResult(model=MODEL.model_copy(update={"name": request.model[:20]}))
            case LensRequest():
                return lens_result(request.case)
            case AttributionRequest():
                return attribution_result(request, self.dice.randrange(9))
            case TraceRequest():
                return trace_result(request)
            case ContinueRequest():
                token = ContinuedToken(text=" [x", probability=0.3, runner_up=" a", runner_up_probability=0.2)
                return ContinueResult(encoded=encoded(request.case.prompt), generated=(token,), text=" [x")
            case CotRequest():
                return cot_result(request)
            case EditRequest() if editor(request.editor).of == "concept":
                self._entries += (QueuedEdit(info=erasure_edit(request), on=True),)
                return erasure_result(request, self._queue)
            case EditRequest():
                number = len(self.asked)
                self._entries += (QueuedEdit(info=edit_info(number), on=True),)
                return rome_result(request, self._queue, suite_result() if self.dice.random() < 0.5 else None)
            case SuiteRequest():
                return suite_result(request.suite)
            case BisectRequest():
                return self._bisected()
            case CompareRequest():
                return compare_result("rome", "ft-m", "nobody")
            case QueueRequest():
                return self._queued(request)
        return None

    def _bisected(self) -> Result | None:
        if not self._entries:
            return None
        found, edit = suite_result().outcomes[4], self._entries[-1].info
        return BisectResult(fact=BROKEN, broken_by=edit, before=0, tried=2, passing=found.before, failing=found.after)

    def _queued(self, request: QueueRequest) -> Result:
        if request.action in ("bypass", "compare"):
            self._bypassed = request.action == "bypass"
        elif request.action in ("on", "off"):
            self._entries = tuple(
                entry.model_copy(update={"on": request.action == "on"}) if entry.info.id == request.edit else entry
                for entry in self._entries
            )
        elif request.action == "remove":
            self._entries = tuple(entry for entry in self._entries if entry.info.id != request.edit)
        elif request.action in ("undo", "redo"):
            self._entries = self._entries[:-1]
        elif request.action == "restore":
            self._entries = request.entries
        return queue_result(self._queue, request.action)
