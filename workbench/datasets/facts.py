"""The facts that ship with the workbench: what a regression suite is made of. Plain data, no torch.

``data/facts.json`` holds relations (a country and its capital), each with several phrasings and with facts that
the default model gets right, written for this project. ``benchmarks/facts_known.py`` measures what is known and
writes it down; a fact stays in the file only where the model knows it. Beside them it holds ripples: what follows
for one relation when a fact of another changes.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Literal

from workbench.case import Prepend
from workbench.protocol import Frozen
from workbench.spans import BLANK


class Fact(Frozen):
    """That ``object`` follows the phrasings of ``relation`` (an id) when they are about ``subject``.

    ``known`` lists what may be prepended to the canonical phrasing for the default model to rank the first token
    of the object above every other token. It is measured in float32.
    """

    relation: str
    subject: str
    object: str
    known: tuple[Prepend, ...]


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


class Ripple(Frozen):
    """What else holds once a fact of the relation ``of`` has a new object. All relations are named by their ids.

    ``inverse``: ``relation`` leads from the new object to the subject (the capital of A is B: B is the capital of
    A). ``same``: ``relation`` gives the subject the new object too (a capital lies in its country). ``two-hop``:
    ``phrasing`` about the subject is answered by what ``relation`` says about the new object (a landmark's city,
    that city's country).
    """

    of: str
    kind: Literal["inverse", "same", "two-hop"]
    relation: str
    phrasing: str | None = None


@cache
def shipped_facts() -> tuple[Relation, ...]:
    """The relations of ``data/facts.json``, in its order."""
    return read_relations(_shipped_text())


@cache
def shipped_ripples() -> tuple[Ripple, ...]:
    """The ripples of ``data/facts.json``, in its order."""
    return tuple(Ripple(**entry) for entry in json.loads(_shipped_text())["ripples"])


def _shipped_text() -> str:
    return (resources.files("workbench") / "data" / "facts.json").read_text(encoding="utf-8")


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
    found = relation_and_subject(prompt, subject)
    return found[0] if found else None


def relation_and_subject(prompt: str, subject: str) -> tuple[Relation, str] | None:
    """As `relation_of`, with the subject as it stands in the relation's phrasings: with or without its article."""
    wanted = _plain(prompt)
    article, _, rest = subject.strip().partition(" ")
    spellings = [subject, rest] if article.casefold() in ("the", "a", "an") and rest else [subject]
    for spelling in spellings:
        for relation in shipped_facts():
            if any(_plain(written) == wanted for written in relation.prompts(spelling)):
                return relation, spelling.strip()
    return None


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
