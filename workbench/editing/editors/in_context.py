"""In-context editing: the fact is put before every prompt, after demonstrations of what to do with it.

IKE (Zheng et al. 2023, arXiv 2305.12740): each demonstration states a new fact and continues a prompt; one that asks
the same (copy), one that asks it in other words (update), or one about something else, whose answer stays (retain). No
weight changes. It is the baseline that every edit of weights has to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from workbench.case import Case
from workbench.datasets.facts import Fact, Relation, relation_of, shipped_facts
from workbench.editing.changes import PromptPrefix
from workbench.editing.editor import Cases, Details, Editor, Made, Settings
from workbench.editing.gates import gate, gates
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.rewriting import continuations
from workbench.editing.said import said
from workbench.errors import InputError
from workbench.figures import Figure, line
from workbench.figures import said as lines
from workbench.lazy import torch
from workbench.models.following import follows
from workbench.numbers import rounded
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from numpy.random import RandomState

    from workbench.loading import LoadedModel

DemonstrationKind = Literal["copy", "update", "retain"]

KINDS: tuple[DemonstrationKind, ...] = ("retain", "update", "retain", "copy", "retain", "update", "retain", "update")
"""In this order, over and over: one to three to four, as published, and nearly so for four of them."""


class InContextSettings(Settings):
    """The demonstrations before the new fact, made of the shipped facts.

    By our measurement (docs/in-context.md) none at all is best for the default model.
    """

    demonstrations: Annotated[
        int, Field(ge=0, le=32, description="Demonstrations before the new fact; 4 to 8 as published.")
    ] = 0
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of the choice of demonstrations.")] = 0


class InContextDetails(Details):
    """``text`` is what stands before every prompt, ``tokens`` how many that are.

    Probabilities are those of the target's first token, without the edit and with it.
    """

    text: str
    tokens: int
    demonstrations: tuple[DemonstrationKind, ...]
    probability_before: float
    probability: float


def _fits(model: LoadedModel, cases: Cases, settings: InContextSettings) -> None:
    """Raise `InputError` where what is put before a prompt leaves no room for it."""
    text, _ = prefix_text(cases, settings)
    tokens = len(_ids(model, text))
    longest = max(len(model.encode(case).ids) for case in cases)
    if tokens + longest >= model.info.context:
        raise InputError(
            f"the fact and its demonstrations are {tokens} tokens, which with a prompt of {longest} is more than the "
            f"{model.info.context} that the model reads; ask for fewer demonstrations"
        )


def make(model: LoadedModel, cases: Cases, settings: InContextSettings, progress: Progress) -> Made:
    """Write the text, and see what else it changes."""
    progress(0, 1, stage="writing demonstrations")
    text, kinds = prefix_text(cases, settings)
    ids = _ids(model, text)
    first = cases[0]
    what = f"{first.subject or first.prompt} → {(first.target or '').strip()}"
    info = EditInfo(
        id=edit_id(model, "in-context", cases, settings),
        method="in-context",
        title=what if len(cases) == 1 else f"{len(cases)} facts in context",
        layers=(),
    )
    edit = Edit(info, (PromptPrefix(None, torch.tensor(ids)),))
    before = said(model, first)[0].target
    with model.edits.added(edit):
        after = said(model, first)[0].target
    share = len(ids) / model.info.context
    taken = f"{len(ids)} tokens before every prompt, {share:.0%} of what the model reads"
    details = InContextDetails(
        text=text,
        tokens=len(ids),
        demonstrations=kinds,
        probability_before=rounded(before),
        probability=rounded(after),
        checks=(Check(name="context", text=taken),),
    )
    said_now = gate("target", f"p {before:.2f} → {after:.2f}", after <= 0.5)
    return Made(edit, details, (said_now, *gates(model, edit, first.subject, progress)[1:]))


def prefix_text(cases: Sequence[Case], settings: InContextSettings) -> tuple[str, tuple[DemonstrationKind, ...]]:
    """What stands before a prompt, and of which kinds its demonstrations are. The new facts come last."""
    import numpy as np

    random = np.random.RandomState(settings.seed)
    relations = _relations(cases, random)
    kinds = tuple(KINDS[number % len(KINDS)] for number in range(settings.demonstrations))
    shown = [
        _demonstration(relations[-(number % len(relations)) - 1], kind, random) for number, kind in enumerate(kinds)
    ]
    new = [_stated(case.prompt.strip(), (case.target or "").strip()) for case in cases]
    return "".join((*reversed(shown), *new)), kinds[::-1]


def _demonstration(relation: Relation, kind: DemonstrationKind, random: RandomState) -> str:
    """A fact that is changed, and a prompt with its answer once it is."""
    fact = _drawn(relation.facts, random)
    others = [each for each in relation.facts if each.object != fact.object]
    new, other = _drawn(others, random).object, _drawn(others, random)
    prompts = relation.prompts(fact.subject)
    asked, answer = {
        "copy": (prompts[0], new),
        "update": (prompts[1 + random.randint(len(prompts) - 1)] if len(prompts) > 1 else prompts[0], new),
        "retain": (relation.prompts(other.subject)[0], other.object),
    }[kind]
    return f"{_stated(prompts[0], new)}{asked} {answer}.\n\n"


def _stated(prompt: str, answer: str) -> str:
    return f"New fact: {prompt}{follows(prompt, 'target', answer, [])}.\n"


def _drawn(facts: Sequence[Fact], random: RandomState) -> Fact:
    return facts[random.randint(len(facts))]


def _relations(cases: Sequence[Case], random: RandomState) -> list[Relation]:
    """Relations to show, those that share most words with the first prompt last.

    Not those that the cases are of, nor facts about what they name: what they are tested on must not be given away.
    """
    text = " ".join(part for case in cases for part in (case.prompt, case.target, case.foil) if part).casefold()
    own = {relation.id for case in cases if (relation := relation_of(case.prompt, case.subject or ""))}
    found = []
    for relation in shipped_facts():
        kept = tuple(
            fact
            for fact in relation.facts
            if fact.subject.casefold() not in text and fact.object.casefold() not in text
        )
        if relation.id not in own and len({fact.object for fact in kept}) > 1:
            found.append(relation.model_copy(update={"facts": kept}))
    words = set(cases[0].prompt.casefold().split())
    order = random.permutation(len(found))
    return sorted((found[at] for at in order), key=lambda each: len(words & set(each.canonical.casefold().split())))


def _ids(model: LoadedModel, text: str) -> list[int]:
    ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def figures(details: InContextDetails) -> tuple[Figure, ...]:
    """What stands before every prompt."""
    first = (
        f"{details.tokens} tokens before every prompt; p {details.probability_before:.2f} → {details.probability:.2f}"
    )
    return lines(first, *(line(each, "muted") for each in details.text.strip().split("\n")))


IN_CONTEXT = Editor(
    "in-context",
    "In context",
    "fact",
    InContextSettings,
    InContextDetails,
    continuations,
    _fits,
    make,
    figures,
    many=True,
    tried="in-context",
)
