"""What a tiny model answered, read from the sessions that `tests.screens.record` has made."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from tests.screens.asked import HERO, SUITE
from tests.screens.parts import FOLDER, parts
from workbench.case import Case
from workbench.datasets.suites import SuiteFact
from workbench.editing.bisection import BisectRequest, BisectResult
from workbench.editing.compare import CompareRequest, CompareResult
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.operations import QueueResult
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState
from workbench.editing.suite.regression import SuiteRequest, SuiteResult
from workbench.methods.attribution.attribution import AttributionRequest, AttributionResult
from workbench.methods.cot.result import CotResult
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.continuation import ContinueRequest, ContinueResult
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.methods.tracing.causal_trace import TraceRequest, TraceResult
from workbench.models.info import ModelInfo
from workbench.protocol import Request, Result
from workbench.session import Status, Step, load_session

Answer = TypeVar("Answer", bound=Result)


@cache
def steps() -> tuple[Step, ...]:
    """All that was recorded."""
    return tuple(step for file in sorted(FOLDER.glob("*.json")) for step in load_session(file).steps)


def _model() -> ModelInfo:
    model = load_session(FOLDER / "lens.json").model
    assert model is not None
    return model


MODEL = _model()
STARTED = steps()[0].started


def recorded(request: Request, kind: type[Answer], part: int | None = None, edits: int = 0) -> Answer:
    """The answer to a request, whole or so far as it was then, with so many edits on. Raises `LookupError`."""
    for step in steps():
        if not isinstance(step.result, kind) or (step.request, len(step.edits)) != (request, edits):
            continue
        if part == (None if step.status == "done" else parts(step.result)):
            return step.result
    raise LookupError(f"nothing was recorded of {request!r}, part {part}, with {edits} edits")


def answers_like(request: Request, status: Status = "done") -> list[Result]:
    """Every recorded answer of the kind that a request asks for, and by its editor if it names one."""
    kind, editor = request.kind, getattr(request, "editor", None)
    return [
        step.result
        for step in steps()
        if (step.request.kind, getattr(step.request, "editor", None), step.status) == (kind, editor, status)
        and step.result is not None
    ]


def lens_result(case: Case, done: int | None = None, edits: int = 0) -> LensResult:
    """The lens of a case, or its first columns."""
    return recorded(LensRequest(case=case), LensResult, done, edits)


def continuation(case: Case = HERO) -> ContinueResult:
    """How the model goes on."""
    return recorded(ContinueRequest(case=case), ContinueResult)


def attribution_result(request: AttributionRequest, edits: int = 0) -> AttributionResult:
    """The scores of a request."""
    return recorded(request, AttributionResult, edits=edits)


def trace_result(request: TraceRequest, exact: int | None = None, edits: int = 0) -> TraceResult:
    """A trace, or one of which so many columns are exact."""
    return recorded(request, TraceResult, exact, edits)


def cot_result(request: CotRequest, words: int | None = None) -> CotResult:
    """Tom's apples, or the first words about them."""
    return recorded(request, CotResult, words)


def suite_result(edits: int = 1, done: int | None = None) -> SuiteResult:
    """The suite with the first edits on, or its first facts."""
    return recorded(SuiteRequest(suite=SUITE), SuiteResult, done, edits)


def bisected(edits: int = 1) -> BisectResult:
    """Which of the first edits broke a fact."""
    return recorded(BisectRequest(fact=BROKEN), BisectResult, edits=edits)


def compared(done: int | None = None) -> CompareResult:
    """Three editors, of which one could not, or the first of them."""
    asked = next(step.request for step in steps() if isinstance(step.request, CompareRequest))
    return recorded(asked, CompareResult, done)


def _broken() -> SuiteFact:
    result = suite_result()
    return next(result.suite.facts[outcome.fact] for outcome in result.failing() if outcome.before.passes)


BROKEN = _broken()
"""What the first edit breaks."""


@cache
def _made() -> tuple[EditResult, ...]:
    """The edits of facts, each on top of those before it."""
    found = (step.result for step in steps() if step.status == "done")
    return tuple(result for result in found if isinstance(result, EditResult) and result.editor == "rome")


def rome_result(number: int = 1, done: int | None = None) -> EditResult:
    """What making an edit came to, or what was known when so many facts had been asked."""
    if done is None:
        return _made()[number - 1]
    asked = [step.request for step in steps() if isinstance(step.result, EditResult) and step.result.editor == "rome"]
    return recorded(asked[0], EditResult, done)


def edit_info(number: int = 1) -> EditInfo:
    """An edit's name."""
    info = _made()[number - 1].edit
    assert info is not None
    return info


def queue_state(*on: bool, bypassed: bool = False) -> QueueState:
    """Edits 1, 2, …, each on or off."""
    entries = tuple(QueuedEdit(info=edit_info(number), on=each) for number, each in enumerate(on, 1))
    return QueueState(entries=entries, bypassed=bypassed, can_undo=bool(on))


def queue_result(queue: QueueState, done: str = "") -> QueueResult:
    """The queue has become this."""
    return QueueResult(queue=queue, done=done)


def erasure_result(request: EditRequest, probed: int | None = None) -> EditResult:
    """An erasure, or its first layers."""
    for edits in range(2):
        try:
            return recorded(request, EditResult, probed, edits)
        except LookupError:
            continue
    raise LookupError(f"nothing was recorded of {request!r}, {probed}")


def erasure_edit(request: EditRequest) -> EditInfo:
    """The name of an erasure."""
    info = erasure_result(request).edit
    assert info is not None
    return info


def erasure_queue(*requests: EditRequest, on: bool = True, bypassed: bool = False) -> QueueState:
    """The edits of some erasures."""
    entries = tuple(QueuedEdit(info=erasure_edit(request), on=on) for request in requests)
    return QueueState(entries=entries, bypassed=bypassed, can_undo=bool(entries))
