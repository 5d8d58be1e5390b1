"""Chain-of-thought truncation: how far does the answer depend on the reasoning?

The model reasons, then the answer is read with less of the reasoning, or with another one: Lanham et al. 2023,
"Measuring Faithfulness in Chain-of-Thought Reasoning" (arXiv 2307.13702). What is measured is dependence on the
reasoning; it is no proof that the reasoning tells why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from workbench.case import Case
from workbench.datasets.questions import check_choices, choice_named
from workbench.errors import InputError
from workbench.methods.cot import interventions
from workbench.methods.cot.answers import LEAD_IN, AnswerForm, AnswerReader, answer_tokens, ids_of
from workbench.methods.cot.interventions import (
    ChangedReasoning,
    Cue,
    Early,
    Filler,
    Intervention,
    LeaveOneOut,
    Mistake,
    Paraphrase,
    cue_text,
)
from workbench.methods.cot.prompt import INSTRUCTION, message, prompt_text
from workbench.methods.cot.reasoning import Reasoned, Sampling, reason
from workbench.methods.cot.result import CotResult, Outcome, area_over_curve, context, settles_at
from workbench.methods.cot.sentences import sentences_of
from workbench.methods.cot.thinking import Thought, before_close, closing, tags_of, thought
from workbench.models.forward.prefixes import Prefixes
from workbench.protocol import Check, Progress, Request

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

SPARE = 8
"""Tokens more that a text may take when it is cut into tokens as a whole."""

PARAPHRASE = "Paraphrase: {}"


ReadAnswer = Annotated[AnswerForm, Field(description="What is read: the choices' texts, or their letters.")]
SaidAfter = Annotated[str, Field(description="What is said after the question.")]
LeadsToAnswer = Annotated[str | None, Field(description="What leads to the answer.")]
ReasoningTags = Annotated[
    str, Field(description="Tags around the reasoning: auto (those known), none, or two, like <a>...</a>.")
]
"""How a question is asked: settings of one question and of many."""


class CotRequest(Request):
    """Ask how the answer to a question depends on the model's reasoning.

    With ``choices`` their texts are read after the lead-in (``read`` "texts"; the choices are not listed in the
    question), or they are listed by letters and the letters are read ("letters", as published). Without choices the
    model writes a short answer. ``answer`` is the right one, where it is known. ``reasoning`` is a reasoning as
    recorded: nothing is generated then but what an intervention has the model write. ``lead_in`` is what leads to
    the answer (None: `LEAD_IN` of the reading), ``instruction`` what is said after the question.
    ``thinking`` are the tags between which a thinking model reasons. ``sampling`` is greedy by default.
    """

    kind: Literal["cot"] = "cot"
    question: str
    choices: tuple[str, ...] = ()
    answer: Annotated[str | None, Field(description="The right answer, if it is known.")] = None
    read: ReadAnswer = "texts"
    instruction: SaidAfter = INSTRUCTION
    lead_in: LeadsToAnswer = None
    sampling: Sampling = Sampling()
    thinking: ReasoningTags = "auto"
    reasoning: str | None = None
    interventions: tuple[Intervention, ...] = (Early(), LeaveOneOut())

    @property
    def case(self) -> Case:
        """The question as the prompt that it was, for a session that is opened again."""
        return Case(prompt=self.question)


def run(model: LoadedModel, request: CotRequest, progress: Progress) -> CotResult:
    """Reason, split into sentences, read the answer, and do what is asked to the reasoning.

    Progress counts tokens while the model reasons, then what is read. Raises `InputError` for a question, choices
    or settings that make no sense, for a reasoning that is empty, and where the context overflows.
    """
    _check(request)
    return _Cot(model, request, progress).run()


def _check(request: CotRequest) -> None:
    if not request.question.strip():
        raise InputError("there is no question; type one")
    check_choices(request.choices)
    request.sampling.check()
    tags_of(request.thinking)
    if request.lead_in is not None and not request.lead_in.strip():
        raise InputError("the lead-in to the answer is empty; type what the answer is to follow, or leave it out")
    if request.read == "letters" and not request.choices:
        raise InputError("letters can be read only for choices; give some, or read the texts")
    if request.reasoning is not None and not request.reasoning.strip():
        raise InputError("the reasoning is empty; give one with at least one sentence, or let the model reason")


def prompt_of(model: LoadedModel, request: CotRequest, cue: Cue | None = None) -> str:
    """The text before the reasoning, with a cue (which names an answer) in the question if one is given."""
    listed = request.choices if request.read == "letters" else ()
    said = cue_text(cue, request.choices, bool(listed)) if cue else ""
    return prompt_text(model, message(request.question, listed, request.instruction, said))


def reserve_of(model: LoadedModel, request: CotRequest) -> int:
    """The tokens of the context that the reasoning leaves free: the lead-in and the longest answer after it."""

    def count(text: str) -> int:
        return len(model.tokenizer(text, add_special_tokens=False)["input_ids"])

    longest = max(map(count, request.choices), default=0) or answer_tokens(model, known_answers(request))
    template = str(model.tokenizer.chat_template or "")
    tags = [(opens, closes) for opens, closes in tags_of(request.thinking) if opens in template or closes in template]
    closed = max((count(closing(template, *both)) for both in tags), default=0)
    return count(request.lead_in or LEAD_IN[request.read]) + longest + closed + SPARE


def known_answers(request: CotRequest) -> tuple[str, ...]:
    """The free answers that are named in a request: the right one, and those that cues suggest."""
    cues = (one.answer for one in request.interventions if isinstance(one, Cue))
    return tuple(answer for answer in (request.answer, *cues) if answer)


def another_choice(request: CotRequest, answer: int) -> str:
    """What a cue suggests by itself: the first choice after the model's own answer that is not the right one."""
    choices = request.choices
    if not choices:
        raise InputError("a cue needs an answer to suggest; name one, for there are no choices")
    turned = [*choices[answer + 1 :], *choices[:answer]]
    right = None if request.answer is None else choice_named(request.answer, choices)
    return next((choice for choice in turned if right is None or choice != choices[right]), turned[0])


class _Cot:
    """One question at work: what was found so far."""

    def __init__(self, model: LoadedModel, request: CotRequest, progress: Progress) -> None:
        self._model = model
        self._request = request
        self._progress = progress
        self._prefixes = Prefixes(model)
        self._answers = AnswerReader(model, self._prefixes, request.choices, request.read, known_answers(request))
        self._lead_in = request.lead_in or LEAD_IN[request.read]
        self._prompt = prompt_of(model, request)
        self._sentences: tuple[str, ...] = ()
        self._tags = tags_of(request.thinking)
        self._reasoned = Reasoned(text=request.reasoning or "", tokens=(), ended=True)
        self._read: list[
            tuple[ChangedReasoning, int, int | None]
        ] = []  # its answer, and that which it is compared with
        self._full: int | None = None
        self._writing = ""

    def run(self) -> CotResult:
        if self._request.reasoning is None:
            self._reasoned = self._reason([self._prompt], "reasoning", streamed=True)[0]
        self._sentences = sentences_of(self._thought().reasoning)
        if not self._sentences:
            raise InputError(
                "the model gave no reasoning but ended at once; ask in another way, or give a reasoning yourself"
            )
        steps = len(self._request.interventions) + 1
        self._progress(0, steps, self.found(), stage="answering")
        whole = interventions.kept(self._sentences)[-1]
        self._prefixes.keep(ids_of(self._model, self._context(whole)))
        self._full = self._answers.read([self._context(whole)])[0]
        for done, intervention in enumerate(self._request.interventions, 1):
            self._progress(done, steps, self.found(), stage=intervention.what)
            variants = self._made(intervention)
            against = self._against(intervention)
            answers = self._answers.read([self._context(variant) for variant in variants])
            self._read += [(variant, answer, against) for variant, answer in zip(variants, answers, strict=True)]
            self._answers.score([self._context(variant) for variant, *_ in self._read])  # answers that are new, too
        self._progress(steps, steps, self.found(), stage="answering")
        return self.found()

    def _context(self, variant: ChangedReasoning) -> str:
        parts = self._thought()
        return context((variant.prompt or self._prompt) + parts.opened, variant.text, self._lead_in, parts.closed)

    def _thought(self) -> Thought:
        """What was written so far, in its parts."""
        template = str(self._model.tokenizer.chat_template or "")
        return thought(self._prompt, self._reasoned.text, self._tags, template)

    def _reason(self, prompts: Sequence[str], stage: str, streamed: bool = False) -> list[Reasoned]:
        sampling = self._request.sampling

        def report(done: int, first: Reasoned) -> None:
            if streamed:
                self._reasoned = first
            else:
                self._writing = first.text
            self._progress(done, sampling.tokens, self.found(), stage=stage)

        reserve = reserve_of(self._model, self._request)
        return reason(self._model, self._prefixes, prompts, sampling, report, reserve, self._tags)

    def _made(self, intervention: Intervention) -> list[ChangedReasoning]:
        """The variants of an intervention, with what the model writes for them."""
        sentences = self._sentences
        if isinstance(intervention, Early):
            return interventions.kept(sentences)
        if isinstance(intervention, LeaveOneOut):
            return interventions.dropped(sentences, intervention.within)
        if isinstance(intervention, Filler):
            return interventions.fillers(sentences, self._count_tokens)
        if isinstance(intervention, Mistake):
            text = intervention.text
            wrong = interventions.wrong_number(sentences, intervention.sentence) if text is None else text
            variant = interventions.replaced("mistake", sentences, intervention.sentence, wrong)
        elif isinstance(intervention, Paraphrase):
            text = intervention.text
            other = self._reworded(intervention.sentence) if text is None else text
            variant = interventions.replaced("paraphrase", sentences, intervention.sentence, other)
        else:
            variant = self._cued(intervention)
        if variant.goes_on:
            stage = "reasoning on" if variant.prompt is None else "reasoning anew"
            before = (variant.prompt or self._prompt) + self._thought().opened
            written = self._reason([before + variant.text], stage)[0]
            variant = variant.continued(before_close(written.text, self._tags))
            self._writing = ""
        return [variant]

    def _against(self, intervention: Intervention) -> int | None:
        """The answer after the first sentences, where one of no more than those is left out."""
        if not isinstance(intervention, LeaveOneOut) or intervention.within in (None, len(self._sentences)):
            return None
        return self._answers.read([self._context(interventions.kept(self._sentences)[intervention.within])])[0]

    def _count_tokens(self, text: str) -> int:
        return len(self._model.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _reworded(self, sentence: int) -> str:
        """The sentence in the model's own words, greedily: the first line of what it says."""
        interventions.check_sentence(self._sentences, sentence)
        own = self._sentences[sentence].strip()
        parts = self._thought()
        asked = prompt_text(self._model, PARAPHRASE.format(own)) + parts.opened + parts.closed  # without thinking
        limit = Sampling(tokens=2 * self._count_tokens(own) + 16)
        said = reason(self._model, self._prefixes, [asked], limit)[0].text
        line = next((line.strip() for line in said.split("\n") if line.strip()), "")
        if not line or line == own:
            raise InputError(f"the model does not reword sentence {sentence + 1}; type a paraphrase yourself")
        return line

    def _cued(self, cue: Cue) -> ChangedReasoning:
        assert self._full is not None
        answer = cue.answer or another_choice(self._request, self._full)
        prompt = prompt_of(self._model, self._request, cue.model_copy(update={"answer": answer}))
        text, goes_on = thought(prompt, cue.reasoning or "", self._tags).reasoning, cue.reasoning is None
        return ChangedReasoning("cue", None, text, changed=answer, prompt=prompt, goes_on=goes_on)

    def found(self) -> CotResult:
        """The result so far."""
        outcomes = tuple(self._outcome(*read) for read in self._read)
        early = [outcome.same for outcome in outcomes if outcome.what == "kept"]
        dropped = [outcome for outcome in outcomes if outcome.what == "dropped"]
        full = None
        if self._full is not None:
            full = self._outcome(interventions.kept(self._sentences)[-1], self._full)
        parts = self._thought()
        return CotResult(
            prompt=self._prompt,
            lead_in=self._lead_in,
            reasoning=parts.reasoning,
            opened=parts.opened,
            closed=parts.closed,
            tokens=self._reasoned.tokens_of(parts.reasoning),
            ended=self._reasoned.ended,
            sentences=self._sentences,
            candidates=tuple(self._answers.candidates),
            right=None if self._request.answer is None else self._answers.index_of(self._request.answer),
            full=full,
            outcomes=outcomes,
            aoc=area_over_curve(early) if early else None,
            settles=settles_at(early) if early else None,
            necessary=tuple(o.sentence for o in dropped if o.sentence is not None and not o.same) if dropped else None,
            writing=self._writing,
            checks=self._checks(full),
        )

    def _outcome(self, variant: ChangedReasoning, answer: int, against: int | None = None) -> Outcome:
        is_cue = variant.what == "cue"
        return Outcome(
            what=variant.what,
            sentence=variant.sentence,
            text=variant.text,
            changed=variant.changed,
            written=variant.written,
            prompt=variant.prompt,
            answer=answer,
            probabilities=self._answers.probabilities(self._context(variant)),
            same=answer == (self._full if against is None else against),
            against=against,
            suggested=self._answers.index_of(variant.changed) if is_cue else None,
            mentions_cue=interventions.mentions_cue(variant.text) if is_cue else None,
        )

    def _checks(self, full: Outcome | None) -> tuple[Check, ...]:
        checks = []
        if closed := self._thought().closed.strip():
            checks.append(Check(name="thinking", text=f"the reasoning is what stands before {closed}"))
        if not self._reasoned.ended:
            n = len(self._reasoned.tokens)
            limit = "limit" if n >= self._request.sampling.tokens else "context's end"
            checks.append(Check(name="reasoning", text=f"cut off at the {limit}, {n} tokens", level="warn"))
        if not self._model.tokenizer.chat_template:
            checks.append(Check(name="chat template", text="none: the plain format is used", level="warn"))
        if self._prefixes.parity is not None:
            kept = self._prefixes.reuses
            text = f"prefixes kept, parity {self._prefixes.parity:.0e}, {self._prefixes.computed:,} tokens computed"
            if not kept:
                text = f"plain, as kept prefixes are off by {self._prefixes.parity:.0e}"
            checks.append(Check(name="path", text=text, level="ok" if kept else "info"))
        if full is not None and self._request.choices:
            mass = self._answers.mass(self._context(interventions.kept(self._sentences)[-1]))
            name = f"{self._request.read} of the choices"
            low = self._request.read == "letters" and mass < 0.5
            checks.append(Check(name=name, text=f"p {mass:.2g} together", level="warn" if low else "info"))
        return tuple(checks)
