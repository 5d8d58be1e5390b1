"""Chain-of-thought truncation over many questions: what holds on average, by task, and how surely.

What each question gave is kept in the cache, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from workbench.datasets.questions import Question
from workbench.errors import InputError
from workbench.methods.cot import truncation as cot
from workbench.methods.cot.bootstrap import Estimate, estimate
from workbench.methods.cot.interventions import Cue, Early, LeaveOneOut
from workbench.methods.cot.prompt import INSTRUCTION
from workbench.methods.cot.reasoning import Reasoned, Sampling
from workbench.methods.cot.result import AOC_RULE, CAPTION, CotResult
from workbench.methods.cot.thinking import tags_of
from workbench.methods.cot.together import file_for, reasoned_together
from workbench.methods.cot.truncation import CotRequest, LeadsToAnswer, ReadAnswer, ReasoningTags, SaidAfter
from workbench.protocol import Check, Frozen, Progress, Result, silent
from workbench.remembering import remember, remembered
from workbench.shards import RecordsSweep

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TOGETHER = 16
"""Questions whose reasoning is written together: on a CPU that is several times as fast as one by one."""

Measure = Literal[
    "accuracy with reasoning",
    "accuracy without",
    "AOC",
    "agreement at 0 %",
    "necessary sentences",
    "cue followed",
    "cue acknowledged",
]


class CotQuestionsRequest(RecordsSweep):
    """Ask for early answering, leaving one out and a cue (where there are choices) on each question.

    The fields are those of `CotRequest`. Intervals are bootstrapped from ``resamples`` draws of questions. Without
    ``leave_out`` no sentence is left out, which is most of the work.
    """

    OVER: ClassVar[str] = "questions"
    TOGETHER: ClassVar[int] = TOGETHER

    kind: Literal["cot-questions"] = "cot-questions"
    questions: tuple[Question, ...]
    read: ReadAnswer = "texts"
    instruction: SaidAfter = INSTRUCTION
    lead_in: LeadsToAnswer = None
    sampling: Sampling = Sampling()
    thinking: ReasoningTags = "auto"
    cue: bool = True
    leave_out: Annotated[bool, Field(exclude_if=lambda leave_out: leave_out)] = True
    resamples: int = 2000
    seed: int = 1


class QuestionOutcome(Frozen):
    """What one question gave.

    ``answer`` is that with all of the reasoning, ``without`` that with none, each with whether it is right (None
    where the right one is not known). ``same_without``: they are the same. ``aoc`` and ``settles`` as in
    `CotResult`; ``necessary`` of ``sentences`` are (None where none was left out). ``followed``: with the cue the
    answer became the suggested one, which it was not before; ``acknowledged``: the reasoning then speaks of it.
    ``ended``: the reasoning ended by itself. ``reasoning`` is its text.
    """

    id: str
    task: str
    answer: str
    without: str
    right: bool | None
    right_without: bool | None
    same_without: bool
    aoc: float
    settles: int
    sentences: int
    necessary: int | None
    followed: bool | None
    acknowledged: bool | None
    ended: bool
    reasoning: str


class TaskSummary(Frozen):
    """The measures over the questions of one task, or of all. One that nothing is known about is left out.

    "cue acknowledged" is the share of the followed cues that the reasoning speaks of.
    """

    task: str
    questions: int
    measures: dict[Measure, Estimate]


class CotQuestionsResult(Result):
    """``tasks`` has an entry for each task, and a last one for all where there are several.

    ``unusable`` lists the ids of questions that gave nothing, each with the sentence that says why.
    """

    kind: Literal["cot-questions"] = "cot-questions"
    tasks: tuple[TaskSummary, ...]
    outcomes: tuple[QuestionOutcome, ...]
    unusable: tuple[tuple[str, str], ...] = ()
    asked: int
    aoc_rule: str = AOC_RULE
    caption: str = CAPTION


def run(model: LoadedModel, request: CotQuestionsRequest, progress: Progress) -> CotQuestionsResult:
    """Ask every question, those of which the cache knows the outcome excepted, and summarise.

    Progress counts questions. Raises `InputError` without questions, and for settings that make no sense.
    """
    if not request.questions:
        raise InputError("there are no questions to ask; name a file with at least one")
    if request.resamples < 1:
        raise InputError(f"a bootstrap needs at least 1 resample, not {request.resamples}")
    request.sampling.check()
    tags_of(request.thinking)
    request = request.model_copy(update={"questions": request.own, "shard": None})
    known: dict[str, QuestionOutcome] = {}
    unusable: dict[str, str] = {}
    files = {question.id: _file(model, request, question) for question in request.questions}
    for question in request.questions:
        if (kept := remembered(files[question.id], QuestionOutcome)) is not None:
            known[question.id] = kept
    missing = [question for question in request.questions if question.id not in known]
    for first in range(0, len(missing), TOGETHER):
        for question, outcome in _asked(model, request, missing[first : first + TOGETHER], progress, len(known)):
            if isinstance(outcome, str):
                unusable[question.id] = outcome
            else:
                known[question.id] = outcome
                remember(files[question.id], outcome)
            progress(len(known), len(request.questions), _summary(request, known, unusable), stage="asking")
    return _summary(request, known, unusable)


def collect(request: CotQuestionsRequest, shards: Sequence[CotQuestionsResult]) -> CotQuestionsResult:
    """What one run over all questions gives, from the results of the shards."""
    known = {outcome.id: outcome for result in shards for outcome in result.outcomes}
    why = dict(each for result in shards for each in result.unusable)
    unusable = {question.id: why[question.id] for question in request.questions if question.id in why}
    return _summary(request, known, unusable)


def _request(request: CotQuestionsRequest, question: Question) -> CotRequest:
    """One question, as it would be asked alone."""
    return CotRequest(
        question=question.question,
        choices=question.choices,
        answer=question.answer,
        read=request.read,
        instruction=request.instruction,
        lead_in=request.lead_in,
        sampling=request.sampling,
        thinking=request.thinking,
        interventions=(Early(), LeaveOneOut()) if request.leave_out else (Early(),),
    )


def _file(model: LoadedModel, request: CotQuestionsRequest, question: Question) -> Path:
    """Where one question's outcome is kept: by weights, dtype, edits, and everything that is asked."""
    edits = ",".join(model.edits.active)
    key = f"2 {model.info.dtype} {edits} {request.cue} {question.id} {question.task} "
    key += _request(request, question).model_dump_json()
    return file_for(model, key)


def _asked(
    model: LoadedModel, request: CotQuestionsRequest, questions: Sequence[Question], progress: Progress, done: int
) -> Iterable[tuple[Question, QuestionOutcome | str]]:
    """The outcome of each question, or why there is none. Their reasoning is written together."""
    counts = done, len(request.questions)
    plain = [_request(request, question) for question in questions]

    def report() -> None:
        progress(*counts, stage="reasoning")

    reasoned = reasoned_together(model, plain, [cot.prompt_of(model, asked) for asked in plain], report)
    results: list[CotResult | str] = []
    for asked, written in zip(plain, reasoned, strict=True):
        progress(*counts, stage="shortening the reasoning")
        results.append(_result(model, asked, written))

    cues: dict[int, Cue] = {}
    for i, (asked, result) in enumerate(zip(plain, results, strict=True)):
        if request.cue and asked.choices and isinstance(result, CotResult) and result.full is not None:
            cues[i] = Cue(answer=cot.another_choice(asked, result.full.answer))
    prompts = [cot.prompt_of(model, plain[i], cue) for i, cue in cues.items()]
    cued = reasoned_together(model, [plain[i] for i in cues], prompts, report)
    with_cue: dict[int, CotResult | str] = {}
    for (i, cue), written in zip(cues.items(), cued, strict=True):
        again = plain[i].model_copy(update={"interventions": (cue,)})
        with_cue[i] = _result(model, again, reasoned[i], written)

    for i, (question, result) in enumerate(zip(questions, results, strict=True)):
        if isinstance(result, str):
            yield question, result
        else:
            written = reasoned[i]
            ended = isinstance(written, Reasoned) and written.ended
            yield question, _outcome(question, ended, result, with_cue.get(i))


def _result(
    model: LoadedModel, asked: CotRequest, written: Reasoned | str, cued: Reasoned | str | None = None
) -> CotResult | str:
    """What one question gives, or its own error: an empty reasoning, a context that overflows."""
    if isinstance(written, str) or isinstance(cued, str):
        return written if isinstance(written, str) else str(cued)
    update: dict[str, object] = {"reasoning": written.text}
    if cued is not None:
        (cue,) = asked.interventions
        update["interventions"] = (cue.model_copy(update={"reasoning": cued.text}),)
    try:
        return cot.run(model, asked.model_copy(update=update), silent)
    except InputError as error:
        return str(error)


def _outcome(question: Question, ended: bool, result: CotResult, cued: CotResult | str | None) -> QuestionOutcome:
    full, none = result.full, result.of("kept")[0]
    assert full is not None
    assert result.aoc is not None
    assert result.settles is not None
    names = [candidate.name for candidate in result.candidates]
    known = question.answer is not None
    cue = cued.outcomes[0] if isinstance(cued, CotResult) else None
    followed = None if cue is None else cue.answer == cue.suggested
    return QuestionOutcome(
        id=question.id,
        task=question.task,
        answer=names[full.answer],
        without=names[none.answer],
        right=full.answer == result.right if known else None,
        right_without=none.answer == result.right if known else None,
        same_without=none.same,
        aoc=result.aoc,
        settles=result.settles,
        sentences=len(result.sentences),
        necessary=len(result.necessary) if result.necessary is not None else None,
        followed=followed,
        acknowledged=cue.mentions_cue if cue is not None and followed else None,
        ended=ended,
        reasoning=result.reasoning,
    )


def _summary(
    request: CotQuestionsRequest, known: dict[str, QuestionOutcome], unusable: dict[str, str]
) -> CotQuestionsResult:
    outcomes = [known[question.id] for question in request.questions if question.id in known]
    tasks = list(dict.fromkeys(outcome.task for outcome in outcomes))
    groups = [(task, [outcome for outcome in outcomes if outcome.task == task]) for task in tasks]
    if len(groups) > 1:
        groups.append(("all", outcomes))
    cut = sum(not outcome.ended for outcome in outcomes)
    counts = f"{len(outcomes)} of {len(request.questions)}, {len(unusable)} unusable, {cut} cut off"
    return CotQuestionsResult(
        tasks=tuple(
            TaskSummary(task=task, questions=len(some), measures=_measures(request, some)) for task, some in groups
        ),
        outcomes=tuple(outcomes),
        unusable=tuple(unusable.items()),
        asked=len(request.questions),
        checks=(
            Check(name="questions", text=counts, level="warn" if unusable or cut > len(outcomes) / 4 else "info"),
            Check(name="intervals", text=f"95 %, {request.resamples} resamples of questions, seed {request.seed}"),
        ),
    )


def _measures(request: CotQuestionsRequest, outcomes: Sequence[QuestionOutcome]) -> dict[Measure, Estimate]:
    """Each measure is a ratio of sums over questions: (part, of how much) for every question that it is known of."""
    pairs: dict[Measure, list[tuple[float, float]]] = {
        "accuracy with reasoning": [(o.right, 1) for o in outcomes if o.right is not None],
        "accuracy without": [(o.right_without, 1) for o in outcomes if o.right_without is not None],
        "AOC": [(o.aoc, 1) for o in outcomes],
        "agreement at 0 %": [(o.same_without, 1) for o in outcomes],
        "necessary sentences": [(o.necessary, o.sentences) for o in outcomes if o.necessary is not None],
        "cue followed": [(o.followed, 1) for o in outcomes if o.followed is not None],
        "cue acknowledged": [(o.acknowledged, 1) for o in outcomes if o.acknowledged is not None],
    }
    return {name: estimate(some, request.resamples, request.seed) for name, some in pairs.items() if some}
