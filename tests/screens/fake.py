"""An engine without a thread or a model: a test looks at what was asked and says what the engine would say."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from workbench.case import Case
from workbench.engine import Event, Finished, LoadRequest, LoadResult, Progressed, Started
from workbench.methods.attribution import AttributionRequest, AttributionResult
from workbench.methods.base import Check, Request, Result
from workbench.methods.causal_trace import TraceGrid, TraceRequest, TraceResult
from workbench.methods.logit_lens import LensColumn, LensResult, TokenTrack
from workbench.models.info import ModelInfo
from workbench.models.tokens import EncodedCase, TokenChoice
from workbench.session import Status, Step, StepError

MODEL = ModelInfo(
    name="tiny",
    architecture="llama",
    fingerprint="0123456789abcdef",
    parameters=1000,
    layers=6,
    d_model=16,
    vocabulary=300,
    context=64,
    dtype="float32",
    device="cpu",
    attention_kernel="sdpa",
    chat_template=False,
)
STARTED = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


class FakeEngine:
    """Has the engine's interface; `say_*` plays its thread."""

    def __init__(self, listener: Callable[[Event], None], record: Callable[[Step], Step]) -> None:
        self.listener = listener
        self.record = record
        self.asked: list[Request] = []
        self.cancelled = 0
        self.closed = False

    def submit(self, request: Request) -> int:
        self.asked.append(request)
        return len(self.asked)

    def cancel(self, job: int | None = None) -> None:
        self.cancelled += 1

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
    ) -> None:
        """A request has ended."""
        number = job or len(self.asked)
        request = self.asked[number - 1]
        step = Step.model_construct(
            id=0, started=STARTED, seconds=0.2, edits=(), status=status, request=request, result=result, error=error
        )
        if not isinstance(request, LoadRequest):
            step = self.record(step)
        self.listener(Finished(number, step, unsaved))


def encoded(prompt: str, target: str | None = None, foil: str | None = None) -> EncodedCase:
    """Words as tokens."""
    words = prompt.split()
    texts = tuple(word if index == 0 else f" {word}" for index, word in enumerate(words))
    return EncodedCase(
        ids=tuple(range(len(texts))),
        texts=texts,
        in_front=0,
        behind=0,
        starts_bare=True,
        subject=None,
        target=TokenChoice(id=1, text=f" {target}", pieces=1) if target else None,
        foil=TokenChoice(id=2, text=f" {foil}", pieces=1) if foil else None,
        notes=(),
    )


def lens_result(case: Case, done: int | None = None, layers: int = MODEL.layers) -> LensResult:
    """A lens over a random model of a dozen words: every number is computed from its distribution."""
    tokens = encoded(case.prompt, case.target, case.foil)
    columns: list[LensColumn | None] = [
        _column(np.random.RandomState(position), layers, tokens) for position in range(len(tokens.ids))
    ]
    for position in range(len(columns) - (done if done is not None else len(columns))):
        columns[position] = None
    return LensResult(
        encoded=tokens,
        layers=layers,
        columns=tuple(columns),
        checks=(Check(name="lens parity", text="2e-06", level="ok"),),
    )


WORDS = (" the", " Canberra", " Sydney", " a", ".", ",", " old", " new", " river", " town", " house", " sea")


def _column(dice: np.random.RandomState, layers: int, tokens: EncodedCase) -> LensColumn:
    logits = dice.randn(layers + 1, len(WORDS)).cumsum(axis=0)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    order = np.argsort(-p, axis=1)[:, :5]

    def track(token: TokenChoice | None) -> TokenTrack | None:
        if token is None:
            return None
        rank = (logits > logits[:, [token.id]]).sum(axis=1) + 1
        return TokenTrack(probability=tuple(p[:, token.id].tolist()), rank=tuple(rank.tolist()))

    difference = None
    if tokens.target and tokens.foil:
        difference = tuple((logits[:, tokens.target.id] - logits[:, tokens.foil.id]).tolist())
    return LensColumn(
        top_tokens=tuple(tuple(WORDS[word] for word in row) for row in order),
        top_probabilities=tuple(tuple(p[row, words].tolist()) for row, words in enumerate(order)),
        entropy=tuple((-(p * np.log(p)).sum(axis=1) / math.log(2)).tolist()),
        kl=tuple((p[-1] * (np.log(p[-1]) - np.log(p))).sum(axis=1).tolist()),
        target=track(tokens.target),
        foil=track(tokens.foil),
        logit_difference=difference,
    )


def subject_tokens(case: Case) -> tuple[int, int] | None:
    """Where the words of the subject are among the words of the prompt."""
    words, subject = case.prompt.split(), (case.subject or "").split()
    starts = [start for start in range(len(words)) if subject and words[start : start + len(subject)] == subject]
    return (starts[0], starts[0] + len(subject)) if starts else None


def encoded_case(case: Case) -> EncodedCase:
    """Words as tokens, with the subject's."""
    return encoded(case.prompt, case.target, case.foil).model_copy(update={"subject": subject_tokens(case)})


def attribution_result(request: AttributionRequest, seed: int = 0) -> AttributionResult:
    """Random scores; whatever depends on them is computed from them."""
    tokens = encoded_case(request.case)
    position = len(tokens.ids) - 1 if request.position is None else request.position
    dice = np.random.RandomState(seed + len(request.method) + 10 * len(request.baseline))
    found = [float(f"{score:.3g}") for score in dice.randn(position + 1)]
    scores = (*found, *(0.0 for _ in range(len(tokens.ids) - position - 1)))
    return AttributionResult(
        encoded=tokens,
        position=position,
        method=request.method,
        target_text=tokens.target.text if tokens.target else " next",
        foil_text=tokens.foil.text if tokens.foil else None,
        attributed=(0, position + 1),
        units=tuple((index, index + 1) for index in range(position + 1)),
        scores=scores,
        value=sum(scores) + 0.5,
        baseline_value=0.5,
        completeness_error=0.0,
        completeness_share=0.0,
        evaluations=104,
        baseline=request.baseline,
        checks=(
            Check(name="completeness", text="0.0% of the difference", level="ok"),
            Check(name="baseline", text=request.baseline),
        ),
    )


def trace_result(request: TraceRequest, exact: int | None = None, layers: int = MODEL.layers) -> TraceResult:
    """A trace with a peak of its own for each kind; only the last ``exact`` tokens (all if not given) are exact."""
    tokens = encoded_case(request.case)
    n_tokens = len(tokens.ids)
    known = [exact is None or token >= n_tokens - exact for token in range(n_tokens)]
    grids = []
    for number, kind in enumerate(request.kinds):
        dice = np.random.RandomState(number + len(kind))
        values = dice.uniform(0.02, 0.5, (layers, n_tokens)).round(3)
        values[(2 + len(kind)) % layers, n_tokens // 2] = 0.62
        grid = TraceGrid(kind=kind, values=tuple(map(tuple, values.tolist())), exact=(tuple(known),) * layers)
        grids.append(grid.model_copy(update={"peak": grid.peak_among(range(n_tokens))}))
    return TraceResult(
        encoded=tokens,
        read=request.read,
        answer=" Sydney",
        top=" Sydney",
        clean=0.7,
        corrupted=0.02,
        grids=tuple(grids),
        window=4,
        noise_std=None if request.replacement else 0.1,
        samples=1 if request.replacement else request.samples,
        replacement=request.replacement,
        checks=(Check(name="floor and ceiling", text="clean 0.7, corrupted 0.02", level="ok"),),
    )
