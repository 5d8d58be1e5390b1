"""The facts that ship with the workbench: what a regression suite is made of. Plain data, no torch.

``data/facts.json`` holds relations (a country and its capital), each with several phrasings and with facts that
the default model gets right, written for this project. ``benchmarks/facts_known.py`` measures what is known and
writes it down; a fact stays in the file only where the model knows it.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from workbench.case import Frozen, Start

BLANK = "{}"
"""Where a phrasing names the subject."""


class Fact(Frozen):
    """That ``object`` follows the phrasings of ``relation`` (an id) when they are about ``subject``.

    ``known`` lists what may stand in front of the canonical phrasing for the default model to rank the first token
    of the object above every other token. It is measured in float32.
    """

    relation: str
    subject: str
    object: str
    known: tuple[Start, ...]


class Relation(Frozen):
    """Phrasings of one question, the canonical one first, and the facts that answer it for their subjects.

    Each phrasing holds `BLANK` once and ends where the object follows, without the space between.
    """

    id: str
    name: str
    phrasings: tuple[str, ...]
    facts: tuple[Fact, ...]

    @property
    def canonical(self) -> str:
        """The phrasing that ``Fact.known`` is about."""
        return self.phrasings[0]

    def prompts(self, subject: str) -> tuple[str, ...]:
        """Every phrasing about a subject, which need not be one of the facts'."""
        return tuple(phrasing.replace(BLANK, subject) for phrasing in self.phrasings)

    def fact_about(self, subject: str) -> Fact | None:
        """What is known about a subject, if it is one of the facts'."""
        return next((fact for fact in self.facts if fact.subject == subject), None)


@cache
def shipped_facts() -> tuple[Relation, ...]:
    """The relations of ``data/facts.json``, in its order."""
    text = (resources.files("workbench") / "data" / "facts.json").read_text(encoding="utf-8")
    return read_relations(text)


def read_relations(text: str) -> tuple[Relation, ...]:
    """Relations from JSON as in ``data/facts.json``, where a fact does not repeat the relation it stands in."""
    return tuple(
        Relation(
            id=entry["id"],
            name=entry["name"],
            phrasings=entry["phrasings"],
            facts=tuple(Fact(relation=entry["id"], **fact) for fact in entry["facts"]),
        )
        for entry in json.loads(text)["relations"]
    )


@cache
def subjects() -> tuple[str, ...]:
    """Every subject of the shipped facts once, in the order of the file."""
    return tuple(dict.fromkeys(fact.subject for relation in shipped_facts() for fact in relation.facts))


def relation_of(prompt: str, subject: str) -> Relation | None:
    """The relation of which this prompt is a phrasing about this subject, or None.

    The subject need not be one of the facts': "The capital of Narnia is" asks for a capital too. An article in
    front of it ("The Eiffel Tower") counts as a part of the subject or of the phrasing, whichever fits; blanks and
    capital letters do not matter.
    """
    wanted = _plain(prompt)
    article, _, rest = subject.strip().partition(" ")
    spellings = [subject, rest] if article.casefold() in ("the", "a", "an") and rest else [subject]
    for spelling in spellings:
        for relation in shipped_facts():
            if any(_plain(written) == wanted for written in relation.prompts(spelling)):
                return relation
    return None


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
