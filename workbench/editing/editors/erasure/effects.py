"""What an edit that erases or adds a concept does to the model: to words of the concept, to the case, to all else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.case import Case, Prepend
from workbench.datasets.concepts import ConceptData
from workbench.datasets.facts import shipped_facts
from workbench.datasets.suites import Suite, SuiteFact
from workbench.editing.suite.answers import evaluate
from workbench.editing.suite.held_out import held_out_perplexity
from workbench.errors import InputError
from workbench.methods.lens import logit_lens
from workbench.methods.lens.logit_lens import LensColumn, LensRequest
from workbench.models.forward.unembedding import RowPosition, TextRow, read_predictions
from workbench.models.tokens import EncodedCase
from workbench.numbers import rounded
from workbench.protocol import Frozen, Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

FACTS = 40
"""Facts asked about, spread over the shipped relations."""

TOKENS_READ = 1100
"""About so many tokens `observe` reads, nearly all of them in held-out text and facts."""

OPEN_DONE, PROSE_DONE, ALL_DONE = 5, 60, 100
"""The part of these, in percent, that has been read after the open prompts, after the prose, and after the facts."""


class WordEffect(Frozen):
    """What follows a prompt that leaves the concept open: the probability of each class's words, before and after.

    It is the sum over the first tokens of the words, in the order of the result's ``classes``.
    """

    prompt: str
    before: tuple[float, ...]
    after: tuple[float, ...]


class LostFact(Frozen):
    """A fact that the model knew, and what it says now."""

    prompt: str
    before: str
    after: str


class CaseEffect(Frozen):
    """The lens at the case's last token, before and after; the last row is what the model says."""

    encoded: EncodedCase
    before: LensColumn
    after: LensColumn


class Effects(Frozen):
    """Before is the model with the edits that were on already, after is with this one too.

    ``perplexity_…`` is that of held-out text. Of ``known`` facts (of the shipped ones that the model's first choice was
    right about before), ``kept`` are so still; ``lost`` are the others. ``case`` is None where none was given.
    """

    words: tuple[WordEffect, ...]
    perplexity_before: float
    perplexity_after: float
    known: int
    kept: int
    lost: tuple[LostFact, ...]
    case: CaseEffect | None = None

    @property
    def perplexity_change(self) -> float:
        """The part by which the held-out perplexity grew."""
        return self.perplexity_after / self.perplexity_before - 1 if self.perplexity_before else math.nan


@dataclass(frozen=True)
class ObservedModel:
    """What is read of the model at one moment. ``answers``: by prompt, first choice and whether it is right."""

    words: tuple[tuple[float, ...], ...]
    perplexity: float
    answers: dict[str, tuple[str, bool]]
    case: tuple[EncodedCase, LensColumn] | None


def observe(
    model: LoadedModel, data: ConceptData, case: Case | None, prepend: Prepend, progress: Progress
) -> ObservedModel:
    """Read the model as it is now. Progress is in percent, and says what is read next.

    Raises `InputError` for a case that cannot be encoded.
    """
    progress(0, ALL_DONE, stage="the prompt")
    lens = _lens(model, case) if case is not None else None
    progress(0, ALL_DONE, stage="open prompts")
    words = _words(model, data, prepend)
    progress(OPEN_DONE, ALL_DONE, stage="prose")
    prose = rounded(held_out_perplexity(model))
    progress(PROSE_DONE, ALL_DONE, stage="facts")
    answers = _answers(model)
    progress(ALL_DONE, ALL_DONE, stage="facts")
    return ObservedModel(words=words, perplexity=prose, answers=answers, case=lens)


def compare(data: ConceptData, before: ObservedModel, after: ObservedModel) -> Effects:
    """What has changed between two moments."""
    known = [prompt for prompt, (_, right) in before.answers.items() if right]
    lost = [prompt for prompt in known if not after.answers[prompt][1]]
    pairs = zip(data.prompts, before.words, after.words, strict=True)
    case = None
    if before.case is not None and after.case is not None:
        case = CaseEffect(encoded=before.case[0], before=before.case[1], after=after.case[1])
    return Effects(
        words=tuple(WordEffect(prompt=prompt, before=then, after=now) for prompt, then, now in pairs),
        perplexity_before=before.perplexity,
        perplexity_after=after.perplexity,
        known=len(known),
        kept=len(known) - len(lost),
        lost=tuple(
            LostFact(prompt=prompt, before=before.answers[prompt][0], after=after.answers[prompt][0]) for prompt in lost
        ),
        case=case,
    )


def _words(model: LoadedModel, data: ConceptData, prepend: Prepend) -> tuple[tuple[float, ...], ...]:
    """For each prompt the probability of each class's words."""
    rows, tokens = [], []
    for prompt in data.prompts:
        ids, by_class = _first_tokens(model, data, prompt, prepend)
        rows.append(TextRow(ids=ids, positions=(len(ids) - 1,)))
        tokens.append(by_class)
    found: dict[int, tuple[float, ...]] = {}

    def read(places: Sequence[RowPosition], log_p: Tensor) -> None:
        for (row, _), values in zip(places, log_p, strict=True):
            found[row] = tuple(rounded(sum(math.exp(float(values[token])) for token in some)) for some in tokens[row])

    for _ in read_predictions(model, rows, read):
        pass
    return tuple(found[row] for row in range(len(rows)))


def _first_tokens(
    model: LoadedModel, data: ConceptData, prompt: str, prepend: Prepend
) -> tuple[tuple[int, ...], list[set[int]]]:
    """The prompt's ids, and for each class the tokens that its words begin with."""
    ids: tuple[int, ...] = ()
    by_class = []
    for label in data.classes:
        tokens = set()
        for word in data.words[label]:
            encoded = model.encode(Case(prompt=prompt, target=word, prepend=prepend))
            assert encoded.target is not None
            ids = encoded.ids
            tokens.add(encoded.target.id)
        by_class.append(tokens)
    return ids, by_class


def _answers(model: LoadedModel) -> dict[str, tuple[str, bool]]:
    readings = evaluate(model, unrelated_facts(), ("separator",))
    facts = unrelated_facts().facts
    return {facts[at].prompt: (reading.answer.top, reading.answer.exact) for (at, _), reading in readings.items()}


def unrelated_facts() -> Suite:
    """Shipped facts, as many of each relation as of any other."""
    relations = shipped_facts()
    each = -(-FACTS // len(relations))
    chosen = [
        (relation, relation.facts[at * len(relation.facts) // each])
        for relation in relations
        for at in range(min(each, len(relation.facts)))
    ]
    spread = [chosen[at * len(chosen) // FACTS] for at in range(min(FACTS, len(chosen)))]
    facts = {
        prompt: SuiteFact(role="unrelated", prompt=prompt, subject=fact.subject, target=fact.object)
        for relation, fact in spread
        if (prompt := relation.prompts(fact.subject)[0])
    }
    return Suite(name="unrelated facts", facts=tuple(facts.values()))


def _lens(model: LoadedModel, case: Case) -> tuple[EncodedCase, LensColumn]:
    found = logit_lens.run(model, LensRequest(case=case, positions=(-1,)), silent)
    column = found.columns[-1]
    if column is None:
        raise InputError("the case has no token to look at; give a prompt")
    return found.encoded, column
