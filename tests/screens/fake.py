"""An engine without a thread or a model: a test looks at what was asked and says what the engine would say."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from workbench.case import Case
from workbench.engine import Event, Finished, LoadRequest, LoadResult, Progressed, Started
from workbench.methods.base import Check, Request, Result
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
