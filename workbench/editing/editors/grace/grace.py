"""GRACE: facts that are looked up. A codebook at one layer puts a learned state in the place of those near its keys.

Hartvigsen et al. 2023, "Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors" (arXiv 2211.11031).
No weight is changed. Published, the key is the state before a late layer at the prompt's last token, and the value
stands for the layer's output; here both are of the residual stream after the layer, and the key may be at the subject's
last token, which is the only one that other phrasings share (docs/grace.md).
"""

from __future__ import annotations

import hashlib
from statistics import median
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.editing.changes import Codebook
from workbench.editing.editor import Cases, Editor, Made, Settings
from workbench.editing.editors.grace.details import GraceDetails, figures
from workbench.editing.editors.grace.prompts import KeyToken, prompts_of
from workbench.editing.editors.grace.reach import reach_checks, without_codebooks
from workbench.editing.editors.grace.value import Descent, Learned, learn
from workbench.editing.gates import gate, gates
from workbench.editing.layers import at_depth, where_at_depth
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.rewriting import continuations, rewrites
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.tokens import continuation_ids
from workbench.numbers import rounded
from workbench.protocol import Progress, part
from workbench.wording import count

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

DEPTH: dict[KeyToken, float] = {"subject": 0.28, "last": 0.93}
"""Where the codebook is, as a part of the layers: 8 and 27 of 30. By our measurement (docs/grace.md)."""

RADIUS: dict[KeyToken, float] = {"subject": 0.35, "last": 0.1}
"""The deferral radius, as a part of the key's length. By our measurement too."""

SINK = 2.0
"""A key so many times as long as another of its fact is that of an attention sink."""

RADIUS_HELP = "How far a key reaches, in lengths of the key; else as measured on the default model."


class GraceSettings(Settings):
    """Where the keys are taken, how far they reach, and how their values are learned (rate as published)."""

    key: Annotated[KeyToken, Field(description="Whose state is the key: the subject's or the prompt's last token.")] = (
        "subject"
    )
    layer: Annotated[int | None, Field(ge=0, description="Where the codebook is; else a part of the depth.")] = None
    radius: Annotated[float | None, Field(gt=0, le=2, description=RADIUS_HELP)] = None
    steps: Annotated[int, Field(ge=1, le=1000, description="Most steps of Adam.")] = 100
    rate: Annotated[float, Field(gt=0, le=100, description="Adam's learning rate.")] = 1.0
    enough: Annotated[
        float, Field(gt=0, le=1, description="The probability of the target at which the descent ends.")
    ] = 0.95


def _check(cases: Cases, settings: GraceSettings) -> None:
    (rewrites if settings.key == "subject" else continuations)(cases, settings)


def _fits(model: LoadedModel, cases: Cases, settings: GraceSettings) -> None:
    if settings.layer is not None and not 0 <= settings.layer < model.info.layers:
        raise InputError(f"there is no layer {settings.layer}; choose from 0 to {model.info.layers - 1}")
    for case in cases:
        prompts_of(model, case, settings.key)


def make(model: LoadedModel, cases: Cases, settings: GraceSettings, progress: Progress) -> Made:
    """Learn a value for every fact, and see what else their keys reach.

    Raises `NumericalError` where a loss is not finite.
    """
    layer, layer_from = _layer(model, settings)
    descent = Descent(settings.steps, settings.rate, settings.enough)
    learned = list[Learned]()
    with without_codebooks(model, layer):
        for number, case in enumerate(cases):
            within = part(progress, 100 * number, 100, 100 * (len(cases) + 1), "{}")
            what = f" {number + 1} of {len(cases)}" if len(cases) > 1 else ""
            learned.append(learn(model, layer, prompts_of(model, case, settings.key), descent, within, what))
    radius = settings.radius or RADIUS[settings.key]
    books = [
        _codebook(layer, one, radius, label_of(continuation_ids(model.tokenizer, case)))
        for one, case in zip(learned, cases, strict=True)
    ]
    (book,) = Codebook.together(books)
    first = cases[0]
    said = f"{first.subject or first.prompt} → {(first.target or '').strip()}"
    info = EditInfo(
        id=edit_id(model, "grace", cases, settings.model_copy(update={"layer": layer, "radius": radius})),
        method="grace",
        title=f"L{layer} {said if len(cases) == 1 else f'{len(cases)} facts'}",
        layers=(layer,),
    )
    edit = Edit(info, (book,))
    progress(100 * len(cases), 100 * (len(cases) + 1), stage="what the keys reach")
    least = min(learned, key=lambda one: one.probability)
    steps = max(len(one.losses) for one in learned) - 1
    text = f"{count(steps, 'step')}, p {least.probability_before:.2f} → {least.probability:.2f}"
    checks = (
        gate("optimisation", text + ("" if least.resumed else ", complete runs"), least.probability <= 0.5),
        *reach_checks(model, book, books, cases),
    )
    details = GraceDetails(
        layer=layer,
        layer_from=layer_from,
        key=settings.key,
        facts=len(cases),
        keys=len(book.keys),
        radius=rounded(median(book.radii.tolist())),
        norm=rounded(median(book.keys.norm(dim=-1).tolist())),
        losses=tuple(map(rounded, learned[-1].losses)),
        probability_before=rounded(least.probability_before),
        probability=rounded(least.probability),
        checks=checks,
    )
    return Made(edit, details, gates(model, edit, first.subject, progress)[1:])


def label_of(answers: tuple[int, ...]) -> int:
    """A whole number that is the same for the same answer."""
    return int.from_bytes(hashlib.sha256(repr(answers).encode()).digest()[:8], "big", signed=True)


def _layer(model: LoadedModel, settings: GraceSettings) -> tuple[int, str]:
    if settings.layer is not None:
        return settings.layer, "asked for"
    return at_depth(model.info, DEPTH[settings.key])


def _codebook(layer: int, learned: Learned, radius: float, label: int) -> Codebook:
    """The codebook of one fact: a key for every prompt, and the same value for all.

    A radius is a part of its key's length, but where that is so long by an attention sink: states of sinks are alike
    whatever the word, and one is within such a part of another's. Then it is that part of the fact's shortest key.
    """
    n, lengths = len(learned.keys), learned.keys.norm(dim=-1)
    shortest = lengths.min()
    radii: Tensor = radius * torch.where(lengths > SINK * shortest, shortest, lengths)
    return Codebook(layer, learned.keys, learned.value.expand(n, -1).clone(), radii, torch.full((n,), label))


GRACE = Editor(
    "grace",
    "GRACE",
    "fact",
    GraceSettings,
    GraceDetails,
    _check,
    _fits,
    make,
    figures,
    many=True,
    tried="weights",
    measured=("radius",),
    where=where_at_depth(DEPTH["subject"]),
)
