"""What a model answers to the facts of a suite: how likely both answers are, and what its first choice is.

A continuation of several tokens is read in one pass over prompt and answer. Texts that are the beginning of
another one are not run by themselves, and only the positions that are read are unembedded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from workbench.case import Case, Prepend
from workbench.datasets.suites import Suite, SuiteFact
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.unembedding import RowPosition, TextRow, read_predictions
from workbench.models.tokens import continuation_ids, display, token_text
from workbench.numbers import rounded
from workbench.protocol import Frozen, Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

FactKey = tuple[int, Prepend]
"""A fact's place in the suite, and what is prepended to its prompt."""


class FactAnswer(Frozen):
    """What a model says about one fact.

    ``target`` and ``against`` are probabilities of the whole continuations: exp of the mean log probability of
    their tokens, as published. ``top`` is the display text of the first choice. ``exact``: that is what the target
    begins with. ``passes``: the target is likelier than what it is against, or exact where it is against nothing.
    """

    target: float
    against: float | None
    top: str
    top_probability: float
    passes: bool
    exact: bool


@dataclass(frozen=True)
class FactReading:
    """An answer and what else a verdict needs.

    ``known``: the first choice is what one of the two answers begins with. ``bare``: the subject stands in the
    model's first position with nothing prepended.
    """

    answer: FactAnswer
    known: bool
    bare: bool


def evaluate(
    model: LoadedModel,
    suite: Suite,
    prepends: Iterable[Prepend],
    progress: Progress = silent,
    into: dict[FactKey, FactReading] | None = None,
) -> dict[FactKey, FactReading]:
    """Ask the model as it is now for every fact with each of ``prepends``. ``into`` is filled as answers are found.

    What makes the same prompts of all facts as what came before it (a tokenizer may prepend BOS by itself)
    is left out.
    Progress counts tokens. Raises `InputError` for a fact that cannot be encoded and names it, `NumericalError` for
    NaN logits.
    """
    found = {} if into is None else into
    asked = [[_question(model, suite, (fact, prepend)) for fact in range(len(suite.facts))] for prepend in prepends]
    different = {tuple(question.ids for question in some): some for some in reversed(asked)}  # the first of each stays
    questions = [question for some in asked if some in different.values() for question in some]
    texts = _Texts(questions)
    total = sum(len(row.ids) for row in texts.rows)
    done = 0
    waiting = questions
    progress(0, total, stage="facts")
    for finished in read_predictions(model, texts.rows, texts.read):
        texts.finished.update(finished)
        done += sum(len(texts.rows[row].ids) for row in finished)
        ready = [question for question in waiting if texts.has_read(question)]
        waiting = [question for question in waiting if not texts.has_read(question)]
        found.update((question.key, _reading(model, question, texts)) for question in ready)
        progress(done, total, stage="facts")
    return found


@dataclass(frozen=True)
class _Question:
    """A fact as the model sees it; ``answers`` are the tokens of the target and, if there is one, of against."""

    key: FactKey
    ids: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]
    bare: bool


def _question(model: LoadedModel, suite: Suite, key: FactKey) -> _Question:
    fact, prepend = suite.facts[key[0]], key[1]
    try:
        return _encoded(model, fact, key, prepend)
    except InputError as error:
        raise InputError(f"fact {key[0] + 1} of the suite, “{display(fact.prompt)}”: {error}") from error


def _encoded(model: LoadedModel, fact: SuiteFact, key: FactKey, prepend: Prepend) -> _Question:
    texts = [fact.target] if fact.against is None else [fact.target, fact.against]
    cases = [Case(prompt=fact.prompt, subject=fact.subject, target=text, prepend=prepend) for text in texts]
    answers = tuple(continuation_ids(model.tokenizer, case) for case in cases)
    if len(set(answers)) < len(answers):
        raise InputError("target and against are the same; leave against out where only the target counts")
    longest = max(map(len, answers)) - 1
    encoded = model.encode(cases[0], longest)
    bare = encoded.starts_bare and encoded.subject is not None and encoded.subject[0] == 0
    return _Question(key=key, ids=encoded.ids, answers=answers, bare=bare)


class _Texts:
    """The texts to run, what is to be read where, and what was read."""

    def __init__(self, questions: Sequence[_Question]) -> None:
        self.finished: set[int] = set()
        self._log_p: dict[tuple[RowPosition, int], float] = {}
        self._top: dict[RowPosition, tuple[int, float]] = {}
        self._asked: dict[RowPosition, set[int]] = {}
        texts = sorted({_text(question, answer) for question in questions for answer in question.answers})
        longest: list[tuple[int, ...]] = []
        self._row_of: dict[tuple[int, ...], int] = {}
        for text in reversed(texts):  # in this order a text that begins another one comes right after such a one
            if not longest or longest[-1][: len(text)] != text:
                longest.append(text)
            self._row_of[text] = len(longest) - 1
        for question in questions:
            for answer in question.answers:
                for place, token in self._places(question, answer):
                    self._asked.setdefault(place, set()).add(token)
        positions: list[set[int]] = [set() for _ in longest]
        for row, position in self._asked:
            positions[row].add(position)
        self.rows = [TextRow(ids, tuple(sorted(some))) for ids, some in zip(longest, positions, strict=True)]

    def read(self, places: Sequence[RowPosition], log_p: Tensor) -> None:
        """Keep what was asked for of log probabilities ``(places, vocabulary)``."""
        pairs = [(index, token) for index, place in enumerate(places) for token in self._asked[place]]
        at = torch.tensor(pairs, device=log_p.device)
        for (index, token), value in zip(pairs, log_p[at[:, 0], at[:, 1]].tolist(), strict=True):
            self._log_p[places[index], token] = value
        best = log_p.max(dim=-1)
        tops = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        self._top.update(zip(places, tops, strict=True))

    def has_read(self, question: _Question) -> bool:
        """Whether everything that was asked about a question is there."""
        return all(self._row_of[_text(question, answer)] in self.finished for answer in question.answers)

    def mean_log_p(self, question: _Question, answer: tuple[int, ...]) -> float:
        """Mean log probability, in nats, of an answer's tokens."""
        return fmean(self._log_p[place, token] for place, token in self._places(question, answer))

    def first_choice(self, question: _Question) -> tuple[int, float]:
        """The likeliest token after the prompt, and its probability."""
        place, _ = self._places(question, question.answers[0])[0]
        token, log_p = self._top[place]
        return token, math.exp(log_p)

    def _places(self, question: _Question, answer: tuple[int, ...]) -> list[tuple[RowPosition, int]]:
        """Where each token of an answer is predicted."""
        row, last = self._row_of[_text(question, answer)], len(question.ids) - 1
        return [((row, last + number), token) for number, token in enumerate(answer)]


def _text(question: _Question, answer: tuple[int, ...]) -> tuple[int, ...]:
    """What has to be run for an answer: the prompt and all of the answer but its last token."""
    return question.ids + answer[:-1]


def _reading(model: LoadedModel, question: _Question, texts: _Texts) -> FactReading:
    means = [texts.mean_log_p(question, answer) for answer in question.answers]
    top, top_probability = texts.first_choice(question)
    exact = top == question.answers[0][0]
    answer = FactAnswer(
        target=rounded(math.exp(means[0])),
        against=rounded(math.exp(means[1])) if len(means) > 1 else None,
        top=token_text(model.tokenizer, top),
        top_probability=rounded(top_probability),
        passes=means[0] > means[1] if len(means) > 1 else exact,
        exact=exact,
    )
    return FactReading(answer=answer, known=top in {tokens[0] for tokens in question.answers}, bare=question.bare)
