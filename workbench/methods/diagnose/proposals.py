"""What a diagnosis takes for granted until it is told otherwise: a subject, a target and a foil for a bare prompt."""

from __future__ import annotations

import re

from workbench.case import Case
from workbench.datasets.facts import shipped_facts
from workbench.methods.diagnose.passage import names, words
from workbench.protocol import Frozen
from workbench.spans import BLANK

OTHER_NAME = "the other name that the prompt could mean"
NEXT_CHOICE = "the model's next choice: name the right one"
"""Where a target comes from that neither a person nor a shipped fact has said to be right."""


class Proposal(Frozen):
    """A part of the case that nobody named, and where it comes from."""

    part: str
    text: str
    origin: str


def known_fact(case: Case) -> tuple[str, str] | None:
    """The subject and the object of the shipped fact that a prompt asks for, None where it asks for none."""
    plain = " ".join(case.prompt.split())
    for relation in shipped_facts():
        for phrasing in relation.phrasings:
            before, _, after = phrasing.partition(BLANK)
            match = re.fullmatch(f"{re.escape(before)}(.+?){re.escape(after)}", plain, re.IGNORECASE)
            fact = relation.fact_about(match[1]) if match else None
            if fact is not None:
                return fact.subject, fact.object
    return None


def propose_answers(case: Case, top: str, second: str) -> tuple[Case, tuple[Proposal, ...]]:
    """Fill in target and foil. ``top`` and ``second`` are the model's likeliest answers, as text.

    The foil is the first choice, or the second where the first is what is wanted. The target is what the shipped
    facts know, or else a name in the prompt that is not the first choice, or else the second choice.
    """
    found: list[Proposal] = []
    target, foil = case.target, case.foil
    fact = known_fact(case)
    if target is None:
        if fact is not None:
            found.append(Proposal(part="target", text=fact[1], origin="the shipped facts"))
        elif (other := _other_name(case, foil or top)) is not None:
            found.append(Proposal(part="target", text=other, origin=OTHER_NAME))
        else:
            text = second if _same(top, foil) or foil is None else top
            found.append(Proposal(part="target", text=text.strip(), origin=NEXT_CHOICE))
        target = found[-1].text
    if foil is None:
        wrong = not _same(top, target)
        text, origin = (top, "the model's first choice") if wrong else (second, "the model's second choice")
        foil = text.strip() or text
        found.append(Proposal(part="foil", text=foil, origin=origin))
    return case.model_copy(update={"target": target, "foil": foil}), tuple(found)


def propose_subject(case: Case, moved: dict[str, float]) -> tuple[Case, tuple[Proposal, ...]]:
    """Fill in the subject: the shipped fact's, else the name that ``moved`` the answer most, else such a word.

    ``moved`` has for each word of the prompt how far the answer moves when it is taken away.
    """
    if case.subject is not None:
        return case, ()
    fact = known_fact(case)
    if fact is not None and fact[0] in case.prompt:
        proposal = Proposal(part="subject", text=fact[0], origin="the shipped facts")
    else:
        spans = [name for name in names(case.prompt) if not _same(name, case.target) and not _same(name, case.foil)]
        spans = spans or [word for word in words(case.prompt) if len(word) > 3] or list(words(case.prompt))
        if not spans:
            return case, ()
        strongest = max(spans, key=lambda span: (sum(abs(moved.get(word, 0.0)) for word in words(span)), len(span)))
        proposal = Proposal(part="subject", text=strongest, origin="the name that moves the answer most")
    return case.model_copy(update={"subject": proposal.text}), (proposal,)


def _other_name(case: Case, answer: str) -> str | None:
    """A name in a passage that stands where the answer that was given stands."""
    place = _place(case.prompt, answer.strip())
    if place is None:
        return None
    others = [name for name in names(case.prompt) if not _same(name, answer) and _place(case.prompt, name) == place]
    return others[0] if others else None


def _place(prompt: str, name: str) -> tuple[str, str] | None:
    """Where a name stands first: the word before it in its sentence, or the word after it where it begins one."""
    match = re.search(rf"(?:(\w+)[^\w.!?]+)?\b{re.escape(name)}\b(?:[^\w.!?]+(\w+))?", prompt) if name else None
    if match is None:
        return None
    if match[1]:
        return "after", match[1]
    return ("before", match[2]) if match[2] else None


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.strip() == other.strip()
