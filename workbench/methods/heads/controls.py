"""Control prompts: what a knock-out must leave alone before it is called a cause.

A knock-out that turns one answer may only suppress copying, or whatever was said last. So the same is knocked out in
prompts that the model answers well: the sentences of the passage in another order, the question about the other owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from workbench.case import Case
from workbench.protocol import Frozen

HowControlled = Literal["given", "reordered", "other owner", "reordered, other owner"]

_SENTENCE = re.compile(r"[^.!?\n]*[.!?\n]+\s*")

_WORD = re.compile(r"\w+")


class ControlPrompt(Frozen):
    """A prompt, how it was made, and which of the two answers is right there (None: what the model says must stay)."""

    prompt: str
    how: HowControlled = "given"
    right: Literal["target", "foil"] | None = None


def controls_of(case: Case) -> tuple[ControlPrompt, ...]:
    """Control prompts made of a passage that says of two owners what each has, and of a question about one.

    One sentence must hold the target and another the foil. In another order the target stays right. Where the two
    sentences differ in no more than owner and answer, the question is asked about the other owner, and the foil is
    right. Of any other prompt none can be made.
    """
    if not (case.target and case.foil) or case.chat:
        return ()
    target, foil = case.target.strip(), case.foil.strip()
    pieces = [match[0] for match in _SENTENCE.finditer(case.prompt)]
    question = case.prompt[len("".join(pieces)) :]
    places = [[at for at, piece in enumerate(pieces) if word in _WORD.findall(piece)] for word in (target, foil)]
    if len(places[0]) != 1 or len(places[1]) != 1 or places[0] == places[1]:
        return ()
    return tuple(_made(pieces, question, places[0][0], places[1][0], {target, foil}))


def _made(pieces: list[str], question: str, one: int, other: int, answers: set[str]) -> Iterator[ControlPrompt]:
    swapped = list(pieces)
    swapped[one], swapped[other] = _with_end_of(pieces[other], pieces[one]), _with_end_of(pieces[one], pieces[other])
    yield ControlPrompt(prompt="".join(swapped) + question, how="reordered", right="target")
    owners = _owners(pieces[one], pieces[other], answers)
    if owners is None:
        return
    for order, how in ((pieces, "other owner"), (swapped, "reordered, other owner")):
        passage = "".join(order[: max(one, other) + 1])
        rest = "".join(order[max(one, other) + 1 :]) + question
        asked = re.sub(rf"\b{re.escape(owners[0])}\b", owners[1], rest)
        if asked != rest:
            yield ControlPrompt(prompt=passage + asked, how=how, right="foil")


def _with_end_of(sentence: str, other: str) -> str:
    """A sentence with the blank space after another, whose place it takes."""
    return sentence.rstrip() + other[len(other.rstrip()) :]


def _owners(one: str, other: str, answers: set[str]) -> tuple[str, str] | None:
    """The words in which two sentences differ, but for the answers; None where that is not one word."""
    words, others = _WORD.findall(one), _WORD.findall(other)
    if len(words) != len(others):
        return None
    differing = [(a, b) for a, b in zip(words, others, strict=True) if a != b and {a, b} != answers]
    return differing[0] if len(differing) == 1 else None
