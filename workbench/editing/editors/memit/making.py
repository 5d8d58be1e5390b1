"""One edit of all facts: values found, spread over the layers, and what else the change does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from workbench.editing.changes import WeightUpdate
from workbench.editing.editor import Capacity, Cases, Made
from workbench.editing.editors.key_statistics import KeyStatistics, statistics_of
from workbench.editing.editors.memit.anchor import anchored, mean_length
from workbench.editing.editors.memit.details import SpreadDetails
from workbench.editing.editors.memit.facts import FactContexts, facts_of
from workbench.editing.editors.memit.settings import SpreadSettings
from workbench.editing.editors.memit.solve import Keys
from workbench.editing.editors.memit.spread import spread
from workbench.editing.editors.memit.values import values_of
from workbench.editing.editors.rome.value import Value
from workbench.editing.gates import gate, gates
from workbench.editing.layers import check_layer, chosen_layers
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.lazy import torch
from workbench.numbers import rounded
from workbench.protocol import Check, Progress, part

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

LITTLE = 0.5
"""The part of a fact's value that has to be written; half of the facts may have less before the trust strip warns."""


class Solver(ABC):
    """How an editor solves a layer. ``capacity`` and ``checks`` are read when all layers are written."""

    @abstractmethod
    def change(self, layer: int, lacking: Tensor, keys: Keys) -> WeightUpdate:
        """The layer's change R Bᵀ, which gives the keys what each fact lacks: R ``(d_model, facts)``."""

    @property
    def capacity(self) -> tuple[Capacity, ...]:
        """What is in use of a null space, layer by layer."""
        return ()

    @property
    def checks(self) -> tuple[Check, ...]:
        """The editor's own."""
        return ()


def fits(model: LoadedModel, cases: Cases, settings: SpreadSettings) -> None:
    """Raise what does not fit the model: prompts that are too long, layers that are not there."""
    for case in cases:
        model.encode(case)
    for layer in chosen_layers(model, settings.layers)[0]:
        check_layer(model, layer)


def make(
    name: str,
    model: LoadedModel,
    cases: Cases,
    settings: SpreadSettings,
    solving: Callable[[LoadedModel, dict[int, KeyStatistics]], Solver],
    progress: Progress,
) -> Made:
    """The edit ``name`` of all cases at once.

    Raises `workbench.errors.NumericalError` where the numbers blow up or a system is singular.
    """
    layers, layers_from = chosen_layers(model, settings.layers)
    corpus = Path(settings.corpus) if settings.corpus else None
    first = part(progress, 0, 10, 100)
    statistics = statistics_of(model, layers, corpus, progress=first)
    facts = facts_of(model, cases, settings, first)
    values = values_of(model, layers[-1], facts, settings.optimisation, part(progress, 10, 60, 100))
    info = EditInfo(
        id=edit_id(model, name, cases, settings.model_copy(update={"layers": layers})),
        method=name,
        title=title(layers, cases),
        layers=layers,
    )
    solver = solving(model, statistics)
    aims = _aims(model, layers[-1], facts, values, settings, part(progress, 70, 2, 100))

    def change(layer: int, lacking: Tensor, keys: Keys) -> WeightUpdate:
        return solver.change(layer, lacking, keys if settings.keys == "balanced" else keys.averaged())

    written = spread(model, info, facts, aims, change, part(progress, 72, 20, 100))
    edit = Edit(info, written.changes)
    details = SpreadDetails(
        layers=layers,
        layers_from=layers_from,
        facts=len(facts),
        losses=_losses(values),
        probabilities=tuple(rounded(value.target_probability) for value in values),
        shares=tuple(map(rounded, written.shares)),
        sizes=tuple(rounded(model.edits.size(Edit(info, (change,)))) for change in written.changes),
        capacity=solver.capacity,
        checks=(_statistics_check(statistics), _optimisation_check(values), *solver.checks),
    )
    subjects = frozenset(case.subject or "" for case in cases)
    share = gate("written", _written(written.shares), median(written.shares) < LITTLE)
    fullest = max(solver.capacity, key=lambda each: each.share, default=None)
    return Made(edit, details, gates(model, edit, subjects, part(progress, 92, 8, 100), share), fullest)


def title(layers: tuple[int, ...], cases: Cases) -> str:
    """ "L4–8 Australia → Canberra", or how many facts there are."""
    together = len(layers) > 1 and all(after == before + 1 for before, after in pairwise(layers))
    where = f"L{layers[0]}–{layers[-1]}" if together else f"L{','.join(map(str, layers))}"
    if len(cases) > 1:
        return f"{where} {len(cases)} facts"
    return f"{where} {cases[0].subject} → {(cases[0].target or '').strip()}"


def _aims(
    model: LoadedModel,
    layer: int,
    facts: tuple[FactContexts, ...],
    values: tuple[Value, ...],
    settings: SpreadSettings,
    progress: Progress,
) -> Callable[[Tensor], Tensor]:
    """What the states of all contexts are to gain: their fact's value, with its sum's length anchored if asked for."""
    deltas = torch.stack([value.delta for fact, value in zip(facts, values, strict=True) for _ in fact.texts])
    anchor = mean_length(model, layer, progress) if settings.norm_anchor else None

    def aims(states: Tensor) -> Tensor:
        gain = deltas.to(states)
        return gain if anchor is None else anchored(states + gain, anchor) - states

    return aims


def _losses(values: tuple[Value, ...]) -> tuple[float, ...]:
    """Means over the facts by step; one that has ended keeps its last."""
    steps = max(len(value.losses) for value in values)
    return tuple(
        rounded(fmean(value.losses[min(step, len(value.losses) - 1)] for value in values)) for step in range(steps)
    )


def _statistics_check(statistics: dict[int, KeyStatistics]) -> Check:
    """That of the layer with the worst condition: keys and text are the same for all."""
    return max(statistics.values(), key=lambda each: each.condition).check()


def _optimisation_check(values: tuple[Value, ...]) -> Check:
    probabilities = sorted(value.target_probability for value in values)
    steps = [len(value.losses) for value in values]
    low = sum(probability <= 0.5 for probability in probabilities)
    text = f"{steps[0]} steps, p {probabilities[0]:.2f}"
    if len(values) > 1:
        text = f"{fmean(steps):.0f} steps, p {fmean(probabilities):.2f} (least {probabilities[0]:.2f})"
        text += f", {low} facts not over one half" if low else ""
    whole = "" if all(value.resumed for value in values) else ", complete runs"
    return Check(name="optimisation", text=text + whole, level="warn" if 2 * low >= len(values) else "ok")


def _written(shares: tuple[float, ...]) -> str:
    if len(shares) == 1:
        return f"{shares[0]:.0%} of the value"
    return f"{median(shares):.0%} of a value (median), {min(shares):.0%} … {max(shares):.0%}"
