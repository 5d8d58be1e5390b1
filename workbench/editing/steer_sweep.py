"""How strongly to steer: effect and fluency at several strengths, at one layer or at each of several.

A strength is usable where the whole interval of the effect is on the side that it steers to, and no measure of fluency
grew beyond its limit (`workbench.editing.suite.behaviour`). Nothing is put into the queue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.editing.editors.steering.directions import By, read_directions
from workbench.editing.editors.steering.steered import ReadDirection
from workbench.editing.editors.steering.steering import (
    WHERE,
    change,
    described,
    direction_checks,
    layer_checks,
    layers_of,
    pairs_check,
    set_of,
)
from workbench.editing.queue import Edit, EditInfo
from workbench.editing.suite.behaviour import (
    PERPLEXITY_LIMIT,
    REPETITION_LIMIT,
    REPLIES_LIMIT,
    Behaviour,
    compare,
    effect_text,
    observe,
    replies_perplexity,
)
from workbench.errors import InputError
from workbench.figures import Cell, Column, Curve, Curves, Figure, Line, Table, line, said
from workbench.protocol import Check, Frozen, Progress, Request, Result, part
from workbench.settings import Listed, TypedLayers
from workbench.shapes import different
from workbench.wording import signed

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

STRENGTHS = (-1.0, -0.5, -0.25, 0.25, 0.5, 1.0)

MOST_STRENGTHS = 100

SHOWN = 2
"""Replies that are kept of each strength."""


class SteerSweepRequest(Request):
    """Ask for a sweep over ``strengths`` at each of ``layers`` by itself.

    ``contrast`` is a shipped set by its name, or a file, whose ``digest`` says which content was meant.
    """

    kind: Literal["steer-sweep"] = "steer-sweep"
    contrast: Annotated[str | None, Field(description="A shipped set of contrast pairs, or a file (.json).")] = None
    digest: str | None = None
    by: Annotated[By, Field(description="How the direction is read from the pairs' differences.")] = "mean"
    layers: Annotated[TypedLayers | None, Field(description=WHERE)] = None
    strengths: Annotated[
        tuple[float, ...], Listed, Field(description="How many times the direction is added: 0.5,1,-1.")
    ] = STRENGTHS
    tokens: Annotated[int, Field(ge=3, le=1000, description="The longest reply to a held-out prompt.")] = 48
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of the bootstrap.")] = 0


class SweptStrength(Frozen):
    """What one strength at one layer does. ``works``: the whole interval of the effect lies on the side steered to."""

    layer: int
    strength: Annotated[float, Field(allow_inf_nan=False)]
    behaviour: Behaviour
    works: bool

    @property
    def usable(self) -> bool:
        """Whether it works, and the model stays fluent."""
        return self.works and self.behaviour.fluent


class SteerSweepResult(Result):
    """Every strength that was tried so far, by layer; ``towards`` and ``away`` name the sides of the pairs."""

    kind: Literal["steer-sweep"] = "steer-sweep"
    contrast: str
    digest: str
    towards: str
    away: str
    by: By
    directions: tuple[ReadDirection, ...] = Field(min_length=1)
    swept: tuple[SweptStrength, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not all(one.strength for one in self.swept):
            raise ValueError("a strength is 0, at which nothing is steered")
        different("strengths", ((one.layer, one.strength) for one in self.swept))
        return self

    def at(self, layer: int) -> tuple[SweptStrength, ...]:
        """What was tried at a layer, rising."""
        return tuple(sorted((one for one in self.swept if one.layer == layer), key=lambda one: one.strength))

    @property
    def best(self) -> SweptStrength | None:
        """The usable one above 0 with the largest effect, None where no strength is usable."""
        usable = [one for one in self.swept if one.usable and one.strength > 0]
        return max(usable, key=lambda one: abs(one.behaviour.effect.value), default=None)


def run(model: LoadedModel, request: SteerSweepRequest, progress: Progress) -> SteerSweepResult:
    """Read the directions, observe the model without any, then with each strength at each layer.

    Progress counts observations, with what was found so far as the partial result. Raises `InputError` for a set,
    layers or strengths that make no sense, and what reading directions and observing raise.
    """
    strengths = _strengths(request.strengths)
    contrast, layers = set_of(request.contrast, request.digest), layers_of(model, request.layers)
    whole = 100 * (2 + len(layers) * len(strengths))
    directions = read_directions(model, contrast, layers, request.by, part(progress, 0, 100, whole))
    found = SteerSweepResult(
        contrast=contrast.name,
        digest=contrast.digest,
        towards=contrast.towards,
        away=contrast.away,
        by=request.by,
        directions=tuple(map(described, directions)),
        checks=(
            *direction_checks(directions),
            *layer_checks(model, request.layers),
            pairs_check(model, contrast),
        ),
    )
    before = observe(model, contrast, request.tokens, part(progress, 100, 100, whole, "unsteered: {}"))
    done = 200
    for direction in directions:
        for strength in strengths:
            where = f"layer {direction.layer}, {signed(strength, 2)} ×: {{}}"
            within = part(progress, done, 95, whole, where, lambda _, so_far=found: so_far)  # type: ignore[misc]
            info = EditInfo(id="0" * 8, method="contrast", title=where, layers=(direction.layer,))
            with model.edits.added(Edit(info, (change(direction, strength),))):
                after = observe(model, contrast, request.tokens, within)
            progress(done + 95, whole, found, stage=where.format("fluency of the replies"))
            both = before.own, replies_perplexity(model, after)
            behaviour = compare(contrast, before, after, both, request.seed, SHOWN)
            works = behaviour.works(1 if strength > 0 else -1)
            one = SweptStrength(layer=direction.layer, strength=strength, behaviour=behaviour, works=works)
            found = found.model_copy(update={"swept": (*found.swept, one)})
            done += 100
    return found.model_copy(update={"checks": (_window_check(found), *found.checks)})


def _strengths(asked: Sequence[float]) -> tuple[float, ...]:
    """Those asked for, rising. Raises `InputError`."""
    strengths = tuple(sorted(set(asked)))
    if not strengths or len(strengths) > MOST_STRENGTHS:
        raise InputError(f"there are {len(strengths)} strengths to try; name 1 to {MOST_STRENGTHS}")
    if bad := [strength for strength in strengths if not math.isfinite(strength) or not strength]:
        raise InputError(f"{bad[0]:g} is no strength to steer by; name numbers, below 0 to steer away")
    return strengths


def _window_check(found: SteerSweepResult) -> Check:
    best = found.best
    if best is None:
        return Check(name="usable", text="no strength above 0", level="warn")
    return Check(name="usable", text=f"best {best.strength:g} × at layer {best.layer}", level="ok")


# --- Figures ---


def sweep_figures(result: SteerSweepResult) -> tuple[Figure, ...]:
    """A chart and a table for each layer, and the best usable strength."""
    parts: list[Figure] = []
    for direction in result.directions:
        if swept := result.at(direction.layer):
            parts += [_curves(result, direction.layer, swept), _table(swept)]
    return (*parts, *said(*_sentences(result)))


def _curves(result: SteerSweepResult, layer: int, swept: Sequence[SweptStrength]) -> Curves:
    """Effect and held-out perplexity against strength; the usable strengths are a curve of their own."""
    first = swept[0].behaviour
    start = (0.0, first.before)
    effect = sorted([start, *((one.strength, one.behaviour.after) for one in swept)])
    usable = [(x, None) if x == 0 else (x, y) for x, y in effect]
    kept = {one.strength for one in swept if one.usable}
    growth = sorted([(0.0, 0.0), *((one.strength, 100 * one.behaviour.perplexity_growth) for one in swept)])
    curves = [
        Curve(label="property", points=tuple(effect)),
        Curve(label="perplexity growth %", points=tuple(growth), right=True, decimals=1),
    ]
    if kept:
        marked = tuple((x, y if x in kept else None) for x, y in usable)
        curves.append(Curve(label="usable", points=marked))
    return Curves(
        title=f"{result.contrast} at layer {layer} · {first.measure}",
        x="strength",
        y=first.measure,
        right="growth of held-out perplexity, %",
        curves=tuple(curves),
    )


def _table(swept: Sequence[SweptStrength]) -> Table:
    names = ("strength", "effect", "held-out perplexity", "of replies", "repetition")
    return Table(
        columns=(*(Column(heading=name, right=True) for name in names), Column(heading="", wraps=True)),
        rows=tuple(_row(one) for one in swept),
    )


def _row(one: SweptStrength) -> tuple[Cell, ...]:
    found = one.behaviour
    replies = "–" if found.replies_growth is None else f"{signed(100 * found.replies_growth, 0)} %"
    cells = [
        Cell(text=f"{one.strength:g}".replace("-", "−")),
        Cell(text=effect_text(found.effect)),
        Cell(text=f"{signed(100 * found.perplexity_growth, 1)} %"),
        Cell(text=replies),
        Cell(text=signed(found.repeated - found.repeated_before, 2)),
    ]
    verdict = "usable" if one.usable else "no effect that is sure" if not one.works else "not fluent"
    return (*cells, Cell(text=verdict, meaning="good" if one.usable else "muted"))


def _sentences(result: SteerSweepResult) -> tuple[str | Line, ...]:
    limits = (
        f"usable: the effect's whole interval lies on the side steered to, held-out perplexity grew by "
        f"{100 * PERPLEXITY_LIMIT:g} % at most, that of replies by {100 * REPLIES_LIMIT:g} %, repeated 3-grams by "
        f"{100 * REPETITION_LIMIT:g} points"
    )
    best = result.best
    if best is None:
        return line("no strength above 0 that was tried is usable; try others, or another layer", "warning"), limits
    window = [one.strength for one in result.at(best.layer) if one.usable]
    said_of = f"best towards {result.towards}: {best.strength:g} × at layer {best.layer}, "
    said_of += f"{effect_text(best.behaviour.effect)} {best.behaviour.measure}"
    listed = ", ".join(f"{strength:g}".replace("-", "−") for strength in window)
    return line(said_of, "good"), f"usable strengths at layer {best.layer}: {listed}", limits
