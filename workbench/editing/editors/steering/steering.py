"""Steering by contrast: a direction that is read from contrast pairs is added to the residual stream, as an edit.

What it does to behaviour is measured on held-out prompts, and so is what it costs. `workbench.editing.steer_sweep`
finds a strength; the editor called "steer" steers along the class means of a labelled concept instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.datasets.contrasts import ContrastSet, contrast_of
from workbench.editing.changes import StateChange
from workbench.editing.editor import Cases, Editor, Made, Settings
from workbench.editing.editors.steering.directions import By, Direction, encoded_pairs, read_directions
from workbench.editing.editors.steering.figures import steered_figures
from workbench.editing.editors.steering.steered import ReadDirection, Steered
from workbench.editing.layers import DEFAULT_MODEL
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.suite.behaviour import ObservedReplies, behaviour_checks, compare, observe, replies_perplexity
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.layerwise import off_by, states_after
from workbench.protocol import Check, Progress, part
from workbench.settings import TypedLayers

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

LAYERS = {DEFAULT_MODEL: 8}
"""Where to steer, by architecture, layers and width: the default model where a usable strength was found first; a sweep
over layers may find a better one (docs/steering.md)."""

DEPTH = 0.3
"""Where to steer a model that nobody has measured, as a part of its layers."""

WHERE = (
    "Where to steer: 12, 10-14 or 8,12 (a sweep: at each by itself); else where it is known, or at 30 % of the depth."
)

PARITY = {"float32": 1e-4}
PARITY_OF_HALF = 0.1
"""How far the states of the edited model may be off from those that were meant, by dtype: it is rounding."""

APART = 0.75
"""The share of pairs that are told apart by a direction read from the others, below which there is a warning."""


class ContrastSettings(Settings):
    """``contrast`` is a shipped set by its name, or a file, whose ``digest`` says which content was meant."""

    contrast: Annotated[str | None, Field(description="A shipped set of contrast pairs, or a file (.json).")] = None
    digest: str | None = None
    by: Annotated[By, Field(description="How the direction is read from the pairs' differences.")] = "mean"
    layers: Annotated[TypedLayers | None, Field(description=WHERE)] = None
    strength: Annotated[float, Field(description="How many times the direction is added; below 0 away.")] = 1.0
    tokens: Annotated[int, Field(ge=3, le=1000, description="The longest reply to a held-out prompt.")] = 48
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of the bootstrap.")] = 0


def set_of(contrast: str | None, digest: str | None) -> ContrastSet:
    """The set of these settings. Raises `InputError` where it cannot be used or is another one than was meant."""
    found = contrast_of(contrast)
    if digest is not None and digest != found.digest:
        raise InputError(f"{contrast} is not what it was when this was asked; ask anew")
    return found


def layer_checks(model: LoadedModel, asked: Sequence[int] | None) -> tuple[Check, ...]:
    """Where nobody named a layer and none is known for the model: that this one is a guess."""
    info = model.info
    if asked is not None or (info.architecture, info.layers, info.d_model) in LAYERS:
        return ()
    text = f"{DEPTH:.0%} of the depth, not measured on this model: try a sweep over --layers"
    return (Check(name="layer", text=text),)


def layers_of(model: LoadedModel, asked: Sequence[int] | None) -> tuple[int, ...]:
    """The layers asked for, or the one known for the model. Raises `InputError` for one that is not there."""
    info = model.info
    if asked is None:
        known = LAYERS.get((info.architecture, info.layers, info.d_model))
        return (round(DEPTH * (info.layers - 1)) if known is None else known,)
    layers = tuple(sorted(set(asked)))
    if not layers or not set(layers) <= set(range(info.layers)):
        raise InputError(f"there are layers 0 to {info.layers - 1} to steer at; name some of them")
    return layers


def make(model: LoadedModel, cases: Cases, settings: ContrastSettings, progress: Progress) -> Made:
    """Read the directions, and let the model reply to the held-out prompts without the edit and with it.

    Progress counts thirds. Raises what `read_directions` and `observe` raise.
    """
    contrast, layers = set_of(settings.contrast, settings.digest), layers_of(model, settings.layers)
    directions = read_directions(model, contrast, layers, settings.by, part(progress, 0, 100, 300))
    before = observe(model, contrast, settings.tokens, part(progress, 100, 100, 300, "before: {}"))
    named = settings.model_copy(update={"digest": contrast.digest, "layers": layers})
    title = f"{_where(layers)} {contrast.name} {settings.strength:+g} ×".replace("-", "−")
    info = EditInfo(id=edit_id(model, "contrast", cases, named), method="contrast", title=title, layers=layers)
    edit = Edit(info, tuple(change(direction, settings.strength) for direction in directions))
    unedited = clean_states(model, contrast, layers[0])
    with model.edits.added(edit):
        parity = off_by(clean_states(model, contrast, layers[0]), unedited + settings.strength * directions[0].vector)
        after = observe(model, contrast, settings.tokens, part(progress, 200, 95, 300, "after: {}"))
    progress(295, 300, stage="fluency of the replies")
    found = steered(model, contrast, settings, directions, before, after)
    sign = 1 if settings.strength > 0 else -1
    gates = behaviour_checks(found.behaviour, sign)
    checks = (
        *direction_checks(directions),
        *layer_checks(model, settings.layers),
        parity_check(model, parity),
        pairs_check(model, contrast),
    )
    return Made(edit, found.model_copy(update={"checks": checks}), gates)


def steered(
    model: LoadedModel,
    contrast: ContrastSet,
    settings: ContrastSettings,
    directions: Sequence[Direction],
    before: ObservedReplies,
    after: ObservedReplies,
) -> Steered:
    """What was found, with the model as it is without the edit."""
    replies = before.own, replies_perplexity(model, after)
    return Steered(
        contrast=contrast.name,
        digest=contrast.digest,
        towards=contrast.towards if settings.strength > 0 else contrast.away,
        by=settings.by,
        strength=settings.strength,
        pairs=len(contrast.pairs),
        directions=tuple(described(direction) for direction in directions),
        behaviour=compare(contrast, before, after, replies, settings.seed),
    )


def described(direction: Direction) -> ReadDirection:
    """A direction without its tensor."""
    return ReadDirection(layer=direction.layer, told_apart=direction.told_apart, length=direction.length)


def change(direction: Direction, strength: float) -> StateChange:
    """The change that adds a direction so many times to every state."""
    width = len(direction.vector)
    nothing, zero = torch.zeros(width, 0), torch.zeros(width)
    return StateChange(direction.layer, nothing, nothing, zero, strength * direction.vector)


def clean_states(model: LoadedModel, contrast: ContrastSet, layer: int) -> Tensor:
    """The states ``(1, tokens, d_model)`` of the first pair's positive text after a layer, in the model's forward."""
    text, _ = encoded_pairs(model, contrast)[0]
    return states_after(model, torch.tensor([text.ids]), layer).float()


def direction_checks(directions: Sequence[Direction]) -> tuple[Check, ...]:
    """Whether a direction is more than the pairs that it was read from; the worst layer counts."""
    worst = min(direction.told_apart for direction in directions)
    text = f"{worst:.0%} told apart by the others".replace("%", " %")
    lengths = [direction.length for direction in directions]
    size = f"{min(lengths):.2f}" + (f"–{max(lengths):.2f}" if len(lengths) > 1 else "") + " of a state's length"
    return (
        Check(name="pairs", text=text, level="ok" if worst >= APART else "warn"),
        Check(name="direction", text=size),
    )


def parity_check(model: LoadedModel, parity: float) -> Check:
    """How far the edited model's states are off from the unedited ones plus the direction."""
    passes = parity <= PARITY.get(model.info.dtype, PARITY_OF_HALF)
    return Check(name="in the model", text=f"parity {parity:.0e}", level="ok" if passes else "warn")


def pairs_check(model: LoadedModel, contrast: ContrastSet) -> Check:
    """What there was to read from, and how it was put to the model."""
    template = "chat template" if model.tokenizer.chat_template else "no chat template"
    return Check(name="set", text=f"{len(contrast.pairs)} pairs, {len(contrast.held_out)} held out, {template}")


def _check(cases: Cases, settings: ContrastSettings) -> None:
    """Raise `InputError` for a set that cannot be read and a strength that steers nowhere."""
    if len(cases) > 1:
        raise InputError("one prompt can be watched; give one, or none")
    if not math.isfinite(settings.strength) or not settings.strength:
        raise InputError(f"{settings.strength:g} is no strength to steer by; name a number, below 0 to steer away")
    set_of(settings.contrast, settings.digest)


def _fits(model: LoadedModel, cases: Cases, settings: ContrastSettings) -> None:
    del cases
    layers_of(model, settings.layers)


def _where(layers: Sequence[int]) -> str:
    """``L12``, ``L5–12``, ``L3,5,8``."""
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"L{layers[0]}–{layers[-1]}"
    return "L" + ",".join(map(str, layers))


CONTRAST = Editor(
    "contrast", "Contrastive steering", "behaviour", ContrastSettings, Steered, _check, _fits, make, steered_figures
)
