"""Hints: does the answer move to what a hint suggests, more than by chance, and does the reasoning say so?

Each question is asked without a hint, once more without (the control: answers change by sampling alone), and with each
hint at a wrong answer. Of the answers that moved to the hint, the share whose reasoning mentions it is the
faithfulness of Chen et al. 2025 (arXiv 2505.05410).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from workbench.datasets.questions import Question, choice_named, questions_of
from workbench.errors import InputError
from workbench.methods.cot.about import how_asked
from workbench.methods.cot.answers import LEAD_IN, AnswerReader
from workbench.methods.cot.hint_results import TOGETHER, CotHintsRequest, CotHintsResult, HintOutcome, summary_of
from workbench.methods.cot.hints import (
    EXAMPLES,
    HINTS,
    WITH_EXAMPLES,
    HintedQuestion,
    HintKind,
    examples_for,
    hinted_question,
    mention,
    plain_question,
)
from workbench.methods.cot.prompt import prompt_text
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.result import CotResult, context
from workbench.methods.cot.thinking import tags_of, thought
from workbench.methods.cot.together import file_for, reasoned_together
from workbench.methods.cot.truncation import CotRequest
from workbench.models.forward.prefixes import Prefixes
from workbench.protocol import Progress
from workbench.remembering import remember, remembered

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


EXAMPLES_FROM = "common-sense"
"""The shipped set that examples are taken from where one question is asked alone."""


class _Reply(NamedTuple):
    """An answer, with the reasoning before it."""

    answer: str
    reasoning: str
    ended: bool


def run(model: LoadedModel, request: CotHintsRequest, progress: Progress) -> CotHintsResult:
    """Ask every question with every hint, those excepted of which the cache knows the outcome, and summarise.

    Progress counts hinted questions. Raises `InputError` without questions that have choices, for greedy sampling, and
    where a hint needs examples that the questions do not give.
    """
    _check(request)
    places = [place for place in request.places if request.questions[place].choices]
    files = {
        (place, hint): file_for(model, _key(model, request, place, hint)) for place in places for hint in request.hints
    }
    known = {which: found for which, file in files.items() if (found := remembered(file, HintOutcome)) is not None}
    unusable = {
        request.questions[place].id: "it has no choices to hint at" for place in request.places if place not in places
    }
    missing = [place for place in places if any((place, hint) not in known for hint in request.hints)]
    for first in range(0, len(missing), TOGETHER):

        def report() -> None:
            progress(len(known), len(files), summary_of(request, known.values(), unusable), stage="reasoning")

        for place, hint, outcome in _asked(model, request, missing[first : first + TOGETHER], set(known), report):
            if isinstance(outcome, str):
                unusable[request.questions[place].id] = outcome
            else:
                known[place, hint] = outcome
                remember(files[place, hint], outcome)
        report()
    return summary_of(request, known.values(), unusable)


def beginning(request: CotRequest, _result: CotResult) -> dict[str, Any]:
    """The question of a chain of thought, to be hinted at by itself; its examples are shipped."""
    own = Question(id="asked", task="", question=request.question, choices=request.choices, answer=request.answer)
    others = (one for one in questions_of(EXAMPLES_FROM) if one.question.strip() != own.question.strip())
    settings = {name: value for name, value in how_asked(request).items() if name in ("read", "thinking", "tokens")}
    return settings | {
        "hints": "all",
        "questions": (own,),
        "examples": tuple(islice(others, EXAMPLES)),
        "instruction": request.instruction,
        "lead_in": request.lead_in,
    }


def collect(request: CotHintsRequest, shards: Sequence[CotHintsResult]) -> CotHintsResult:
    """What one run over all questions gives, from the results of the shards."""
    outcomes = [outcome for result in shards for outcome in result.outcomes]
    return summary_of(request, outcomes, dict(each for result in shards for each in result.unusable))


def _check(request: CotHintsRequest) -> None:
    request.sampling.check()
    tags_of(request.thinking)
    if not any(question.choices for question in request.questions):
        raise InputError("a hint suggests one of the choices, and no question has any; name a file with choices")
    if not request.hints:
        raise InputError(f"no hint is named; the hints are all, {', '.join(HINTS)}")
    if request.sampling.temperature == 0:
        raise InputError(
            "a greedy re-ask gives the same reasoning again and is no control; give a --temperature above 0, or none"
        )
    if request.resamples < 1:
        raise InputError(f"a bootstrap needs at least 1 resample, not {request.resamples}")
    needs = [hint for hint in request.hints if hint in WITH_EXAMPLES]
    usable = sum(bool(question.choices) and question.answer is not None for question in request.questions)
    if needs and usable <= EXAMPLES and len(request.examples) < EXAMPLES:
        raise InputError(
            f"the hint {needs[0]} stands in {EXAMPLES} answered examples, which are other questions with choices and "
            "an answer, and there are not so many; give more questions, or name other hints"
        )


def _key(model: LoadedModel, request: CotHintsRequest, place: int, hint: HintKind) -> str:
    """Everything that one outcome depends on."""
    examples = examples_for(place, request.questions, request.examples) if hint in WITH_EXAMPLES else ()
    asked = request.model_copy(update={"questions": (request.questions[place], *examples), "hints": (hint,)})
    edits = ",".join(model.edits.active)
    return f"2 {model.info.dtype} {edits} " + asked.model_dump_json(exclude={"shard", "resamples", "examples"})


def _asked(
    model: LoadedModel,
    request: CotHintsRequest,
    places: Sequence[int],
    known: set[tuple[int, HintKind]],
    report: Callable[[], None],
) -> Iterator[tuple[int, HintKind, HintOutcome | str]]:
    """The outcome of each hint on each question that is not known, or why there is none."""
    plain = [plain_question(request.questions[place], request.instruction) for place in places]
    before = dict(zip(places, _replies(model, request, plain, request.sampling, report), strict=True))
    suggested: dict[int, str] = {}
    for place, reply in before.items():
        why = reply if isinstance(reply, str) else ""
        if isinstance(reply, _Reply):
            wrong = _wrong(request.questions[place], reply.answer)
            if wrong:
                suggested[place] = wrong[crc32(f"{request.seed} {request.questions[place].id}".encode()) % len(wrong)]
            why = "" if wrong else "no choice is wrong and another one than the model's own answer"
        if why:
            yield place, request.hints[0], why

    asked: dict[tuple[int, str], HintedQuestion] = {}
    for place, name in suggested.items():
        question = request.questions[place]
        for hint in request.hints:
            if (place, hint) in known:
                continue
            examples = examples_for(place, request.questions, request.examples) if hint in WITH_EXAMPLES else ()
            first = name if hint == "position" else None
            asked[place, _control(hint)] = plain_question(question, request.instruction, first)
            asked[place, hint] = hinted_question(hint, question, name, examples, request.instruction)
    sampling = request.sampling.model_copy(update={"seed": (request.sampling.seed + 1) % 2**32})
    replies = dict(zip(asked, _replies(model, request, list(asked.values()), sampling, report), strict=True))
    for place, hint in [(place, hint) for place in suggested for hint in request.hints if (place, hint) in asked]:
        own, reply, again = before[place], replies[place, hint], replies[place, _control(hint)]
        assert isinstance(own, _Reply)
        if not (isinstance(reply, _Reply) and isinstance(again, _Reply)):
            yield place, hint, next(each for each in (reply, again) if isinstance(each, str))
            continue
        rule = asked[place, hint].rule
        sentence, words = mention(reply.reasoning, rule)
        yield (
            place,
            hint,
            HintOutcome(
                id=request.questions[place].id,
                hint=hint,
                before=own.answer,
                suggested=suggested[place],
                answer=reply.answer,
                again=again.answer,
                mentioned=sentence,
                words=words,
                alarm=mention(again.reasoning, rule)[0],
                ended=reply.ended,
                reasoning=reply.reasoning,
            ),
        )


def _control(hint: str) -> str:
    """The name of the re-ask that a hint is compared with: one with the choices in the same order."""
    return "the suggested first" if hint == "position" else "again"


def _wrong(question: Question, own: str) -> list[str]:
    """The choices that are neither the right one, where that is known, nor the model's own answer."""
    right = None if question.answer is None else choice_named(question.answer, question.choices)
    return [choice for nth, choice in enumerate(question.choices) if nth != right and choice != own]


def _replies(
    model: LoadedModel,
    request: CotHintsRequest,
    asked: Sequence[HintedQuestion],
    sampling: Sampling,
    report: Callable[[], None],
) -> list[_Reply | str]:
    """The answer to each question after the model has reasoned, or why there is none."""
    prefixes = Prefixes(model)
    requests = [
        CotRequest(
            question=one.text,
            choices=one.choices,
            read=request.read,
            lead_in=request.lead_in,
            sampling=sampling,
            thinking=request.thinking,
        )
        for one in asked
    ]
    if not requests:
        return []
    prompts = [prompt_text(model, one.text) for one in asked]
    template = str(model.tokenizer.chat_template or "")
    replies: list[_Reply | str] = []
    for one, prompt, written in zip(
        asked, prompts, reasoned_together(model, requests, prompts, report, prefixes), strict=True
    ):
        if isinstance(written, str):
            replies.append(written)
            continue
        report()
        parts = thought(prompt, written.text, tags_of(request.thinking), template)
        lead_in = request.lead_in or LEAD_IN[request.read]
        text = context(prompt + parts.opened, parts.reasoning, lead_in, parts.closed)
        try:
            answer = AnswerReader(model, prefixes, one.choices, request.read).read([text])[0]
        except InputError as error:
            replies.append(str(error))
        else:
            replies.append(_Reply(one.choices[answer], parts.reasoning, written.ended))
    return replies
