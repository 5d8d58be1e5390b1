"""The same question in other words: what a prompt's answer should not depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workbench.case import Case, Prepend
from workbench.datasets.facts import relation_and_subject
from workbench.protocol import Frozen
from workbench.spans import find_subject

VariantKind = Literal["asked", "start", "template", "phrasing", "order"]

STARTS: tuple[Prepend, ...] = ("as-is", "separator", "newline")

FRAMES = (
    "It is well known that {}",
    "Here is a fact from a textbook. {}",
    "As I told you before, {}",
    "Question and answer. {}",
)
"""Sentences to stand before any prompt, for one that no shipped relation has other phrasings of."""


class Variant(Frozen):
    """A case that asks the same as another one. ``label`` says in a few words what is different about it."""

    kind: VariantKind
    label: str
    case: Case


def variants(case: Case, sentences: tuple[str, ...], chat: bool) -> Iterator[Variant]:
    """The case itself, then with other starts, with the chat template on or off, in other words and another order.

    ``sentences`` are the prompt's; ``chat`` says whether the model has a template.
    """
    yield Variant(kind="asked", label="as asked", case=case)
    for prepend in STARTS:
        if prepend != case.prepend and not case.chat:
            label = "nothing prepended" if prepend == "as-is" else f"{prepend} prepended"
            yield Variant(kind="start", label=label, case=_with(case, prepend=prepend))
    if chat:
        yield Variant(
            kind="template",
            label="without the chat template" if case.chat else "through the chat template",
            case=_with(case, chat=not case.chat, prepend="as-is"),
        )
    for prompt in _phrasings(case):
        yield Variant(kind="phrasing", label=prompt, case=_with(case, prompt=prompt))
    if (moved := reordered(sentences)) is not None:
        yield Variant(kind="order", label="first sentence moved to the end", case=_with(case, prompt=moved))


def reordered(sentences: tuple[str, ...]) -> str | None:
    """A passage with its first sentence after its other ones, before what is to be continued.

    None where there are not two sentences before the last one.
    """
    if len(sentences) < 3:
        return None
    first, *others, last = (sentence.strip() for sentence in sentences)
    blank = sentences[-1][len(sentences[-1].rstrip()) :]
    return " ".join((*others, first, last)) + blank


def _phrasings(case: Case) -> tuple[str, ...]:
    """Of the shipped relation that the prompt asks for; else the prompt after each of some sentences."""
    found = relation_and_subject(case.prompt, case.subject) if case.subject else None
    if found is None:
        prompt = case.prompt
        return tuple(frame.format(_lower(prompt) if frame[-3] != "." else prompt) for frame in FRAMES)
    relation, subject = found
    plain = " ".join(case.prompt.split()).casefold()
    return tuple(prompt for prompt in relation.prompts(subject) if prompt.casefold() != plain)


def _lower(prompt: str) -> str:
    """The prompt inside a sentence: with a small article."""
    article, blank, rest = prompt.partition(" ")
    return f"{article.lower()}{blank}{rest}" if article in ("The", "A", "An", "In", "To") else prompt


def _with(case: Case, **changes: object) -> Case:
    """Another prompt may not hold the subject as it is written."""
    changed = case.model_copy(update={**changes, **({"subject_at": None} if "prompt" in changes else {})})
    if changed.subject is not None and find_subject(changed.prompt, changed.subject) is None:
        return changed.model_copy(update={"subject": None})
    return changed
