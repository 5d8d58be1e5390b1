"""Steering one answer: the direction from what a model says to what it is to say is added to the residual stream.

The direction is that of contrastive activation addition (Rimsky et al. 2023, arXiv 2312.06681), read from pairs that
the case gives: the prompt continued by the target and by the foil, as it stands, after BOS or separator, and after
sampled texts. It is added at every token of every prompt, so that it moves what else is asked as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.case import Case
from workbench.editing.editor import Cases, Editor, Made, Settings
from workbench.editing.editors.rome.contexts import prefixes_of
from workbench.editing.editors.steering.directions import PairText, read_from_pairs
from workbench.editing.editors.steering.steering import change, direction_checks, layers_of
from workbench.editing.gates import gate, gates
from workbench.editing.layers import LayerDetails, at_depth, where_at_depth
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.rewriting import one_continuation
from workbench.editing.said import Said, said
from workbench.errors import InputError
from workbench.figures import Cell, Column, Figure, Table
from workbench.figures import said as lines
from workbench.models.tokens import continuation_ids
from workbench.numbers import rounded
from workbench.protocol import Frozen, Progress, part
from workbench.shapes import Share

if TYPE_CHECKING:
    from workbench.loading import LoadedModel
    from workbench.models.info import ModelInfo

NAME = "steer-answer"

DEPTH = 0.7
"""Where to steer, as a part of the layers: from 40 to 70 % a weak direction turned each of three prompts of the default
model (docs/steering.md)."""

STRENGTHS = (0.125, 0.25, 0.5, 1.0, 2.0)
"""Tried in this order where none is asked for."""

LAYER = "Where the direction is added; else at 70 % of the depth."
STRENGTH = "How many times the direction is added; else as few as make the target the first choice."


class AnswerSteeringSettings(Settings):
    """``prefixes``, ``prefix_tokens`` and ``seed`` are those of ROME: with the same ones, the texts are the same."""

    layer: Annotated[int | None, Field(ge=0, description=LAYER)] = None
    strength: Annotated[float | None, Field(gt=0, description=STRENGTH)] = None
    prefixes: Annotated[
        int, Field(ge=1, le=100, description="Sampled texts prepended, over which the direction is averaged.")
    ] = 6
    prefix_tokens: Annotated[int, Field(ge=1, le=100, description="Tokens of each of these texts.")] = 10
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of these texts.")] = 0


class TriedStrength(Frozen):
    """What the model says to the prompt with the direction added ``strength`` times; the foil's is its first token."""

    strength: float
    target: Share
    foil: Share
    top: str


class SteeredAnswer(LayerDetails):
    """``foil`` is what was steered away from; ``told_apart`` and ``length`` as of
    `workbench.editing.editors.steering.directions.Direction`. ``strength`` is the one that the edit has."""

    foil: str
    pairs: int
    told_apart: Share
    length: float
    strength: float
    tried: tuple[TriedStrength, ...] = Field(min_length=1)


def _check(cases: Cases, settings: AnswerSteeringSettings) -> None:
    one_continuation(cases, settings)
    if settings.strength is not None and not math.isfinite(settings.strength):
        raise InputError(f"{settings.strength:g} is no strength to steer by; name a number")


def _fits(model: LoadedModel, cases: Cases, settings: AnswerSteeringSettings) -> None:
    del cases
    if settings.layer is not None:
        layers_of(model, (settings.layer,))


def make(model: LoadedModel, cases: Cases, settings: AnswerSteeringSettings, progress: Progress) -> Made:
    """Read the direction, and add it as often as it takes.

    Raises `InputError` where no foil is given and the model says the target already, and what `read_from_pairs` raises.
    """
    progress(0, 100, stage="sampling prefixes")
    layer, layer_from = _layer(model.info, settings)
    case = _with_foil(model, cases[0])
    wanted = model.encode(case).target
    assert wanted is not None, "the case has been checked"
    pairs = answer_pairs(model, case, settings)
    (direction,) = read_from_pairs(model, pairs, (layer,), "mean", part(progress, 10, 50, 100))
    found: list[tuple[Said, Edit, float]] = []
    for number, strength in enumerate((settings.strength,) if settings.strength else STRENGTHS):
        progress(60 + 4 * number, 100, stage=f"{strength:g} ×")
        named = settings.model_copy(update={"layer": layer, "strength": strength})
        title = f"L{layer} {case.subject or case.prompt} → {(case.target or '').strip()}, {strength:g} ×"
        info = EditInfo(id=edit_id(model, NAME, (case,), named), method=NAME, title=title, layers=(layer,))
        edit = Edit(info, (change(direction, strength),))
        with model.edits.added(edit):
            found.append((said(model, case)[0], edit, strength))
        if found[-1][0].top == wanted.text:
            break
    now, edit, strength = found[-1] if found[-1][0].top == wanted.text else max(found, key=lambda one: one[0].target)
    details = SteeredAnswer(
        layer=layer,
        layer_from=layer_from,
        foil=(case.foil or "").strip(),
        pairs=len(pairs),
        told_apart=direction.told_apart,
        length=rounded(strength * direction.length),
        strength=strength,
        tried=tuple(
            TriedStrength(strength=added, target=each.target, foil=each.foil or 0.0, top=each.top)
            for each, _, added in found
        ),
        checks=direction_checks((direction,)),
    )
    first = gate("target", f"“{now.top}” with {strength:g} ×, target p {now.target:.2f}", now.top != wanted.text)
    progress(80, 100, stage="what else moves")
    return Made(edit, details, (first, *gates(model, edit, case.subject, part(progress, 80, 20, 100))[1:]))


def answer_pairs(
    model: LoadedModel, case: Case, settings: AnswerSteeringSettings
) -> tuple[tuple[PairText, PairText], ...]:
    """The prompt with target and foil, of each of which the state at its last token counts; no pair twice."""
    prefixes = prefixes_of(model, settings.prefixes, settings.prefix_tokens, settings.seed)[: settings.prefixes]
    asked = (case, case.model_copy(update={"prepend": "separator"}), *(case.after(f"{prefix} ") for prefix in prefixes))
    found = ((_text(model, one, case.target), _text(model, one, case.foil)) for one in asked)
    return tuple(dict.fromkeys(found))


def _text(model: LoadedModel, asked: Case, answer: str | None) -> PairText:
    case = asked.model_copy(update={"target": answer, "foil": None})
    ids = (*model.encode(case).ids, *continuation_ids(model.tokenizer, case))
    if len(ids) > model.info.context:
        raise InputError(f"a prompt with its answer is {len(ids)} tokens, and the model reads {model.info.context}")
    return PairText(ids, 1)


def _with_foil(model: LoadedModel, case: Case) -> Case:
    """The case with a foil: its own, or what the model says."""
    if (case.foil or "").strip():
        return case
    top, wanted = said(model, case)[0].top, model.encode(case).target
    if wanted is not None and top == wanted.text:
        raise InputError("the model says the target already; name the foil that it is to be steered away from")
    found = case.model_copy(update={"foil": top})
    written = model.encode(found.model_copy(update={"target": None})).foil
    if written is None or written.text != top:
        raise InputError(f"the model's own answer, “{top}”, cannot be typed as a foil; name one")
    return found


def _layer(info: ModelInfo, settings: AnswerSteeringSettings) -> tuple[int, str]:
    if settings.layer is not None:
        return settings.layer, "asked for"
    return at_depth(info, DEPTH)


def figures(details: SteeredAnswer) -> tuple[Figure, ...]:
    """Where and from what the direction was read, and what each strength that was tried makes the model say."""
    read = f"layer {details.layer} ({details.layer_from}), away from “{details.foil}”, by {details.pairs} pairs; "
    added = f"{details.strength:g} × is {details.length:.2f} of a state's length, at every token"
    table = Table(
        columns=(
            *(Column(heading=name, right=True) for name in ("strength", "target", "foil")),
            Column(heading="answer", wraps=True),
        ),
        rows=tuple(
            tuple(Cell(text=text) for text in (f"{one.strength:g}", f"{one.target:.3f}", f"{one.foil:.3f}", one.top))
            for one in details.tried
        ),
    )
    return (*lines(read + added), table)


STEER_ANSWER = Editor(
    NAME,
    "Steering",
    "fact",
    AnswerSteeringSettings,
    SteeredAnswer,
    _check,
    _fits,
    make,
    figures,
    tried="steer",
    where=where_at_depth(DEPTH),
)
