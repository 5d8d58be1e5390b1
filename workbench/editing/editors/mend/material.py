"""What MEND is trained on: records as tokens, and counterfactual records made of the shipped facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.case import Case, Prepend
from workbench.datasets.facts import shipped_facts
from workbench.datasets.suites import EditRecord, SuiteFact, suite_for
from workbench.errors import InputError
from workbench.models.forward.upper import Continued, Texts
from workbench.models.tokens import continuation_ids, encode

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TARGETS = 2
"""Counterfactual targets for each shipped fact, each asked for in another phrasing."""

HELD_OUT = 0.1
"""The part of the subjects whose records are not trained on."""

MOST_HELD_OUT, MOST_FACTS = 64, 4
"""Records on which scores are measured while training, and facts of each role that are used of any record."""

MendRole = Literal["rewrite", "paraphrase", "neighborhood"]
PARTS: tuple[MendRole, ...] = ("rewrite", "paraphrase", "neighborhood")

PREPENDS: tuple[Prepend, ...] = ("as-is", "separator")
"""What is prepended to the records of every other subject."""


@dataclass(frozen=True)
class HeldOutFact:
    """A fact of a held-out record: it passes where ``right`` is likelier than ``wrong``."""

    role: MendRole
    right: Continued
    wrong: Continued


@dataclass(frozen=True)
class RecordTokens:
    """A record as tokens. ``stays`` are rows of texts after which the model is to say what it says without the edit."""

    rewrite: Continued
    paraphrases: tuple[Continued, ...]
    stays: tuple[int, ...]
    questions: tuple[HeldOutFact, ...] = ()


@dataclass(frozen=True)
class Material:
    """All of it; ``unusable`` counts records that the model cannot read."""

    texts: Texts
    examples: tuple[RecordTokens, ...]
    held_out: tuple[RecordTokens, ...]
    unusable: int


def shipped_records(seed: int) -> tuple[EditRecord, ...]:
    """Every shipped fact with other answers of its relation, drawn by ``seed``, and the suites that the facts give."""
    import numpy

    random = numpy.random.RandomState(seed)
    found: list[EditRecord] = []
    for relation in shipped_facts():
        objects = sorted({fact.object for fact in relation.facts})
        for fact in relation.facts:
            others = [each for each in objects if each != fact.object]
            for place in random.choice(len(others), min(TARGETS, len(others)), replace=False) if others else ():
                prompts = relation.prompts(fact.subject)
                prompt = prompts[random.randint(len(prompts))]
                case = Case(prompt=prompt, subject=fact.subject, target=others[place])
                if (suite := suite_for(case)) is not None:
                    found.append(EditRecord(id=f"{relation.id} {len(found)}", case=case, suite=suite))
    return tuple(found)


def material(model: LoadedModel, records: Sequence[EditRecord], seed: int) -> Material:
    """Records as tokens, half of the subjects as they are and half after BOS or separator; a part of them held out.

    Raises `InputError` where fewer than two can be used.
    """
    import numpy

    names = sorted({record.case.subject or record.case.prompt for record in records})
    drawn = numpy.random.RandomState(seed).permutation(len(names))[: max(1, round(HELD_OUT * len(names)))]
    apart = {names[place] for place in drawn}
    starts = {name: PREPENDS[place % len(PREPENDS)] for place, name in enumerate(names)}
    texts, reader = Texts(), _Reader(model)
    examples, held_out, unusable = list[RecordTokens](), list[RecordTokens](), 0
    for record in records:
        name = record.case.subject or record.case.prompt
        if name in apart and len(held_out) >= MOST_HELD_OUT:
            continue
        try:
            if name in apart:
                held_out.append(_questions(reader, texts, record, starts[name]))
            else:
                examples.append(_example(reader, texts, record, starts[name]))
        except InputError:
            unusable += 1
    if not examples or not held_out:
        raise InputError(
            f"{len(records)} records are too few to train on, as some are held out; give more, of several subjects"
        )
    if not any(question.role == "rewrite" for example in held_out for question in example.questions):
        raise InputError("the records do not say what was true before; give each its old answer, as a foil")
    return Material(texts, tuple(examples), tuple(held_out), unusable)


def batches(examples: Sequence[RecordTokens], size: int) -> list[Sequence[RecordTokens]]:
    """In their order, so many at a time."""
    return [examples[begin : begin + size] for begin in range(0, len(examples), size)]


class _Reader:
    """Prompts and continuations as tokens, each looked up once."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._prompts: dict[Case, tuple[int, ...]] = {}

    def prompt(self, prompt: str, prepend: Prepend) -> tuple[int, ...]:
        """Its tokens."""
        case = Case(prompt=prompt, prepend=prepend)
        if case not in self._prompts:
            self._prompts[case] = encode(self._model.tokenizer, case, self._model.info.context).ids
        return self._prompts[case]

    def continued(self, texts: Texts, prompt: str, target: str | None, prepend: Prepend) -> Continued:
        """A prompt and its target. Raises `InputError` where there is none, or no room for it."""
        answers = continuation_ids(self._model.tokenizer, Case(prompt=prompt, target=target, prepend=prepend))
        ids = self.prompt(prompt, prepend)
        if len(ids) + len(answers) - 1 > self._model.info.context:
            raise InputError("prompt and target are longer than the model's context; shorten the prompt")
        return texts.continued(ids, answers)


def _example(reader: _Reader, texts: Texts, record: EditRecord, prepend: Prepend) -> RecordTokens:
    facts = record.suite.facts
    rewrite = reader.continued(texts, record.case.prompt, record.case.target, prepend)
    return RecordTokens(
        rewrite=rewrite,
        paraphrases=tuple(
            reader.continued(texts, fact.prompt, fact.target, prepend) for fact in facts if fact.role == "paraphrase"
        ),
        stays=tuple(
            texts.row(reader.prompt(fact.prompt, prepend))
            for role in ("neighborhood", "unrelated", "attribute")
            for fact in _spread([fact for fact in facts if fact.role == role])
        ),
    )


def _questions(reader: _Reader, texts: Texts, record: EditRecord, prepend: Prepend) -> RecordTokens:
    """A record that is held out: how often its facts pass is measured, and nothing else of it is run."""
    found = []
    for role in PARTS:
        for fact in _spread([fact for fact in record.suite.facts if fact.role == role and fact.against]):
            right, wrong = (reader.continued(texts, fact.prompt, text, prepend) for text in (fact.target, fact.against))
            found.append(HeldOutFact(role, right, wrong))
    return RecordTokens(reader.continued(texts, record.case.prompt, record.case.target, prepend), (), (), tuple(found))


def _spread(facts: Sequence[SuiteFact]) -> list[SuiteFact]:
    """At most `MOST_FACTS` of them, from beginning to end."""
    count = min(MOST_FACTS, len(facts))
    return [facts[place * len(facts) // count] for place in range(count)]
