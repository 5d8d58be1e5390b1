"""An engine without a thread or a model: a test looks at what was asked and says what the engine would say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from screens.answers import active_edits
from screens.main import queue_of
from workbench.case import Case
from workbench.datasets.suites import Suite, SuiteFact
from workbench.editing.compare import CompareResult, Rival
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.rome.details import RomeDetails
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.operations import QueueResult
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState
from workbench.editing.said import Said
from workbench.editing.suite.answers import FactAnswer, FactReading
from workbench.editing.suite.regression import Measurement, SuiteRequest, SuiteResult, _result
from workbench.engine import Event, Finished, LoadRequest, LoadResult, Progressed, Started
from workbench.methods.attribution.attribution import AttributionRequest, AttributionResult
from workbench.methods.cot.answers import LEAD_IN, Candidate
from workbench.methods.cot.interventions import (
    ChangedReasoning,
    Cue,
    Early,
    Filler,
    Intervention,
    LeaveOneOut,
    dropped,
    fillers,
    mentions_cue,
    replaced,
    wrong_number,
)
from workbench.methods.cot.interventions import kept as kept_variants
from workbench.methods.cot.reasoning import ReasonedToken
from workbench.methods.cot.result import CotResult, Outcome, area_over_curve, settles_at
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.lens.logit_lens import LensColumn, LensResult, TokenTrack
from workbench.methods.tracing.causal_trace import TraceGrid, TraceRequest, TraceResult
from workbench.models.info import ModelInfo
from workbench.models.tokens import EncodedCase, TokenChoice
from workbench.models.tokentext import display
from workbench.protocol import Check, Request, Result
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
        self.edits: tuple[str, ...] = ()

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


def encoded(prompt: str, target: str | None = None, foil: str | None = None) -> EncodedCase:
    """Words as tokens."""
    words = prompt.split()
    texts = tuple(word if index == 0 else f" {word}" for index, word in enumerate(words))
    return EncodedCase(
        ids=tuple(range(len(texts))),
        texts=texts,
        prepended=0,
        appended=0,
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


SUITE = Suite(
    name="Australia → Canberra",
    facts=(
        SuiteFact(role="rewrite", prompt="The capital of Australia is", target="Canberra", against="Sydney"),
        SuiteFact(role="paraphrase", prompt="Australia's capital city is", target="Canberra", against="Sydney"),
        SuiteFact(role="paraphrase", prompt="Australia is governed from", target="Canberra", against="Sydney"),
        SuiteFact(role="neighborhood", prompt="The capital of France is", target="Paris", against="Canberra"),
        SuiteFact(role="neighborhood", prompt="The capital of Japan is", target="Tokyo", against="Canberra"),
        SuiteFact(role="neighborhood", prompt="The capital of Italy is", target="Rome", against="Canberra"),
        SuiteFact(role="unrelated", prompt="The Colosseum is located in the city of", target="Rome"),
    ),
)
BROKEN = SUITE.facts[4]
"""What the fake edit breaks."""


def suite_result(suite: Suite = SUITE, perplexity: float = 20.5, done: int | None = None) -> SuiteResult:
    """What the shipped code makes of answers: an edit puts rewrites right and breaks the second neighbor."""
    request = SuiteRequest(suite=suite, prepends=("as-is",))
    before, now = Measurement(perplexity=20.0), Measurement(perplexity=perplexity if done is None else None)
    neighbors = [fact for fact in suite.facts if fact.role == "neighborhood"]
    for number, fact in enumerate(suite.facts):
        changed = fact.role in ("rewrite", "paraphrase")
        kept = fact not in neighbors[1:2]
        before.readings[number, "as-is"] = _reading(fact, not changed)
        if done is None or number < done:
            now.readings[number, "as-is"] = _reading(fact, number < 2 if changed else kept)
    return _result(request, before, now)


def _reading(fact: SuiteFact, passes: bool) -> FactReading:
    likely, unlikely = (0.6, 0.1) if passes else (0.1, 0.6)
    against = None if fact.against is None else unlikely
    top = f" {fact.target}" if passes else f" {fact.against}"
    answer = FactAnswer(target=likely, against=against, top=top, top_probability=0.6, passes=passes, exact=passes)
    return FactReading(answer, known=passes, bare=False)


def edit_info(number: int = 1, title: str = "L5 Australia → Canberra") -> EditInfo:
    """An edit's name."""
    return EditInfo(id=f"{number:08x}", method="rome", title=title, layers=(5,))


def queue_state(*on: bool, bypassed: bool = False) -> QueueState:
    """Edits 1, 2, …, each on or off."""
    titles = ("L5 Australia → Canberra", "L5 Eiffel Tower → Rome", "L5 Mount Everest → Peru")
    infos = [edit_info(number, titles[(number - 1) % 3]) for number in range(1, len(on) + 1)]
    entries = tuple(QueuedEdit(info=info, on=each) for info, each in zip(infos, on, strict=True))
    return QueueState(entries=entries, bypassed=bypassed, can_undo=bool(on))


def rome_result(request: EditRequest, queue: QueueState, suite: SuiteResult | None = None) -> EditResult:
    """The last edit of a queue was made."""
    assert request.case is not None
    assert isinstance(request.settings, RomeSettings)
    return EditResult(
        editor="rome",
        details=RomeDetails(
            layer=5 if request.settings.layer is None else request.settings.layer,
            layer_from="known for this model",
            prefixes=("It is said that", "In the end"),
            losses=(4.2, 1.1, 0.12),
            size=0.031,
            shares=(0.98, 1.0, 1.02),
        ),
        edit=queue.entries[-1].info,
        encoded=encoded_case(request.case),
        before=(Said(prepend="as-is", target=0.34, foil=0.36, top=" Sydney", top_probability=0.36),),
        after=(Said(prepend="as-is", target=0.98, foil=0.01, top=" Canberra", top_probability=0.98),),
        suite=suite,
        queue=queue,
        checks=(
            Check(name="rewrite", text="“ Canberra” 0.98", level="ok"),
            Check(name="size", text="3.1%", level="ok"),
        ),
    )


def queue_result(queue: QueueState, done: str = "") -> QueueResult:
    """The queue has become this."""
    return QueueResult(queue=queue, done=done)


def compare_result(*editors: str) -> CompareResult:
    """What these editors came to; the last of three could not."""
    suite, found = suite_result(), []
    for number, name in enumerate(editors):
        if name == "nobody":
            found.append(Rival(editor=name, title="Nobody", why="it needs a subject; name one"))
            continue
        scores = tuple(one.model_copy(update={"score": one.score / (number + 1)}) for one in suite.scores)
        made = {"edit": edit_info(7 + number), "sound": number == 0, "failing": 1, "seconds": 9.3, "bytes": 4_608}
        found.append(
            Rival(editor=name, title=name, scores=scores, perplexity=20.5 + number, perplexity_before=20.0, **made)
        )
    return CompareResult(suite=SUITE, rivals=tuple(found), queue=queue_state())


TOM = "Tom has 3 apples and buys 4 more. How many apples does he have?"
SENTENCES = (
    "Let's break it down step by step:\n\n",
    "Tom has 3 apples and buys 4 more apples. ",
    "This means he has 3 + 4 = 7 apples. ",
    "So, Tom has 3 + 7 = 10 apples. ",
    "The answer is 10.",
)
ANSWERS = ("4", "3", "4", "7", "10", "10")
"""The answer after each number of sentences."""


def cot_result(request: CotRequest, words: int | None = None) -> CotResult:
    """Tom's apples; everything but the answers is computed by the shipped code.

    With ``words`` the reasoning is still being written. A mistake has the model answer 11, and dropping the fourth
    sentence 7, as long as the fifth is not there; nothing else that is done changes the answer.
    """
    reasoning = "".join(SENTENCES)
    tokens = re.findall(r" ?[^ \n]+|\n+| ", reasoning)
    front = f"<user>{request.question}<assistant>"
    if words is not None:
        some = tuple(ReasonedToken(text=display(t), probability=_sure(i)) for i, t in enumerate(tokens[:words]))
        return CotResult(prompt=front, lead_in=LEAD_IN["texts"], reasoning="".join(tokens[:words]), tokens=some)
    names = request.choices or ("10", "7", "4", "3", "11")
    outcomes = []
    for intervention in request.interventions:
        for variant in _variants(intervention):
            name = "10"
            if variant.what == "kept":
                name = ANSWERS[variant.sentence or 0]
            elif variant.what == "mistake":
                name = "11"
            elif variant.what == "dropped" and "= 10" not in variant.text and "is 10" not in variant.text:
                name = "7"
            within = intervention.within if isinstance(intervention, LeaveOneOut) else None
            against = None if within in (None, len(SENTENCES)) else names.index(ANSWERS[within])
            outcomes.append(_outcome(names, variant, names.index(name), against))
    kept = [outcome.same for outcome in outcomes if outcome.what == "kept"]
    lost = tuple(o.sentence for o in outcomes if o.what == "dropped" and o.sentence is not None and not o.same)
    shown = tuple(ReasonedToken(text=display(t), probability=_sure(i)) for i, t in enumerate(tokens))
    return CotResult(
        prompt=front,
        lead_in=LEAD_IN["texts"],
        reasoning=reasoning,
        tokens=() if request.reasoning else shown,
        sentences=SENTENCES,
        candidates=tuple(Candidate(name=name, text=f" {name}") for name in names),
        right=names.index(request.answer) if request.answer else None,
        full=_outcome(names, kept_variants(SENTENCES)[-1], names.index("10")),
        outcomes=tuple(outcomes),
        aoc=area_over_curve(kept) if kept else None,
        settles=settles_at(kept) if kept else None,
        necessary=lost if any(o.what == "dropped" for o in outcomes) else None,
        checks=(Check(name="path", text="prefixes kept, parity 2e-06", level="ok"),),
    )


def _variants(intervention: Intervention) -> list[ChangedReasoning]:
    if isinstance(intervention, Early):
        return kept_variants(SENTENCES)
    if isinstance(intervention, LeaveOneOut):
        return dropped(SENTENCES, intervention.within)
    if isinstance(intervention, Filler):
        return fillers(SENTENCES, len)
    if isinstance(intervention, Cue):
        return [ChangedReasoning("cue", None, "You think so. ", changed=intervention.answer or "", prompt="<cued>")]
    by_itself = wrong_number(SENTENCES, intervention.sentence)
    return [
        replaced(intervention.what, SENTENCES, intervention.sentence, intervention.text or by_itself).continued(
            " So 11."
        )
    ]


def _outcome(names: tuple[str, ...], variant: ChangedReasoning, answer: int, against: int | None = None) -> Outcome:
    others = 0.4 / (len(names) - 1)
    is_cue = variant.what == "cue"
    return Outcome(
        what=variant.what,
        sentence=variant.sentence,
        text=variant.text,
        changed=variant.changed,
        written=variant.written,
        prompt=variant.prompt,
        answer=answer,
        probabilities=tuple(0.6 if c == answer else others for c in range(len(names))),
        same=answer == (names.index("10") if against is None else against),
        against=against,
        suggested=(names.index(variant.changed) if variant.changed in names else None) if is_cue else None,
        mentions_cue=mentions_cue(variant.text) if is_cue else None,
    )


def _sure(number: int) -> float:
    return (0.9, 0.6, 0.3, 0.05)[number % 4]
