"""Concept erasure: what a concept's labels can be read from is taken out of the states, layer by layer, as an edit.

LEACE (Belrose et al. 2023, arXiv 2306.03819) erases no more than what any *linear* reader needs. Every layer is fitted
on states in which the layers below are erased already, and probes trained anew say what is gone and what is not.
Steering adds a concept's direction instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.case import Case, Prepend
from workbench.datasets.concept_files import check_enough, read_concept
from workbench.datasets.concepts import ConceptData, shipped_concept, shipped_concepts
from workbench.editing.editor import Cases, Editor, Made, Settings
from workbench.editing.editors.erasure import checks as erasure_checks
from workbench.editing.editors.erasure.effects import TOKENS_READ, Effects, compare, observe
from workbench.editing.editors.erasure.erased import Erased, How
from workbench.editing.editors.erasure.figures import erasure_figures
from workbench.editing.editors.erasure.fit import (
    Fitted,
    Pool,
    Pooling,
    fit_eraser,
    fit_steering,
    refuse_nothing,
)
from workbench.editing.editors.erasure.layer import ErasedLayer, look_at_layer
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.layerwise import Layerwise, off_by, states_after
from workbench.numbers import rounded
from workbench.protocol import Frozen, Progress
from workbench.settings import TypedLayers

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


MEMORY_SHARE = 0.5
"""The part of this computer's memory that the states of all texts may take."""


class ErasureSettings(Settings):
    """The concept is ``concept`` (a shipped set of texts) or ``data`` (a file, with its ``digest``).

    ``layers`` are those after whose blocks states are changed. States are pooled to one a text (its last token, the
    mean) or taken at every token.
    """

    concept: Annotated[str | None, Field(description="A shipped set of texts.")] = None
    data: Annotated[str | None, Field(description="A file of texts and labels: .csv, .tsv or .jsonl.")] = None
    digest: str | None = None
    layers: Annotated[TypedLayers | None, Field(description="Where to change states: 12, 5-12 or 3,5,8; else all.")] = (
        None
    )
    pool: Annotated[Pool, Field(description="The state of a text: its last token's, the mean, or every one.")] = "last"
    prepend: Prepend = "as-is"
    limit: Annotated[int | None, Field(description="Use only so many texts.")] = None
    above: Annotated[bool, Field(description="Probe the layers above as well.")] = True
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of splits and probes.")] = 0


class SteeringSettings(ErasureSettings):
    """The difference of class means towards a class is added ``strength`` times."""

    towards: Annotated[str | None, Field(description="Steer to this class; else the first.")] = None
    strength: Annotated[float, Field(description="How many times the direction is added; below 0 away.")] = 1.0


def concept_of(settings: ErasureSettings) -> ConceptData:
    """The data that settings name, cut to their limit.

    Raises `InputError` where they are missing, bad or changed, or have no class such as is steered to.
    """
    if settings.concept is None and settings.data is None:
        raise InputError(f"name a concept ({', '.join(shipped_concepts())}) or a file of texts and labels")
    if settings.concept is not None and settings.data is not None:
        raise InputError("name a shipped concept or a file of texts and labels, and not both")
    if settings.limit is not None and settings.limit < 1:
        raise InputError(f"{settings.limit} texts are too few; name a higher limit, or none")
    if settings.concept is not None:
        data = shipped_concept(settings.concept)
    else:
        data = read_concept(Path(settings.data or "").expanduser(), settings.seed)
    if settings.limit is not None:
        data = data.limited(settings.limit, settings.seed)
        check_enough(data, "raise the limit")
    _towards(settings, data)
    if settings.digest is not None and settings.digest != data.digest:
        raise InputError(f"{settings.concept or settings.data} is not what it was when this was asked; ask anew")
    return data


def make(how: How, model: LoadedModel, cases: Cases, settings: ErasureSettings, progress: Progress) -> Made:
    """Fit layer by layer, look at what the edit does, and probe the layers above.

    Progress counts tokens times blocks, those of the whole model that is read before and after too, with `Erased` as
    far as it is. Raises `InputError` for data and layers that make no sense and for an eraser that would erase nothing,
    `NumericalError` for states that are not finite, `OutOfMemory`.
    """
    progress(0, 1, stage="reading texts")
    layers = _layers(model, settings)
    data = concept_of(settings)
    case = cases[0] if cases else None
    work = _Work(model, how, settings, data, layers, progress)
    before = observe(model, data, case, settings.prepend, work.looking("before"))
    work.climb(layers[-1])
    work.refuse_nothing()
    edit = Edit(_info(model, how, settings, data, layers), tuple(fitted.change for fitted in work.fits))
    with model.edits.added(edit):
        work.measure_parity()
        after = observe(model, data, case, settings.prepend, work.looking("after"))
    work.effects = compare(data, before, after)
    if settings.above:
        work.climb(model.info.layers - 1)
    return Made(edit, work.found())


def _check(cases: Cases, settings: ErasureSettings) -> None:
    """Raise `InputError` for data that cannot be read and settings that do not suit them."""
    if len(cases) > 1:
        raise InputError("one prompt can be watched; give one, or none")
    concept_of(settings)


def _fits(model: LoadedModel, cases: Cases, settings: ErasureSettings) -> None:
    _layers(model, settings)
    for case in cases:
        model.encode(case)


def _layers(model: LoadedModel, settings: ErasureSettings) -> tuple[int, ...]:
    everything = range(model.info.layers)
    layers = tuple(sorted(set(everything if settings.layers is None else settings.layers)))
    if not layers or not set(layers) <= set(everything):
        raise InputError(f"there are layers 0 to {everything[-1]} to erase at; name some of them")
    return layers


def _info(
    model: LoadedModel,
    how: How,
    settings: ErasureSettings,
    data: ConceptData,
    layers: tuple[int, ...],
) -> EditInfo:
    towards = _towards(settings, data)
    what = f"towards {towards}, {settings.strength:g} ×" if isinstance(settings, SteeringSettings) else "erased"
    named = settings.model_copy(update={"above": True, "digest": data.digest, "layers": layers})
    title = f"{layers_in_words(layers)} {data.title} {what}"
    return EditInfo(id=edit_id(model, how, (), named), method=how, title=title, layers=layers)


def layers_in_words(layers: Sequence[int]) -> str:
    """``L12``, ``L5–12``, ``L3,5,8``."""
    if len(layers) > 1 and list(layers) == list(range(layers[0], layers[-1] + 1)):
        return f"L{layers[0]}–{layers[-1]}"
    return "L" + ",".join(map(str, layers))


def _towards(settings: ErasureSettings, data: ConceptData) -> str | None:
    """The class that is steered to, None for an erasure. Raises `InputError` for one that the data have not."""
    if not isinstance(settings, SteeringSettings):
        return None
    if not math.isfinite(settings.strength):
        raise InputError(f"{settings.strength} is no strength to steer by; name a number, below 0 to steer away")
    if settings.towards is not None and settings.towards not in data.classes:
        raise InputError(f"there is no class {settings.towards!r} to steer to; choose one of {', '.join(data.classes)}")
    return settings.towards or data.classes[0]


class _Work:
    """The texts on their way through the model, twice: as it is, and with the edit at the layers below."""

    def __init__(
        self,
        model: LoadedModel,
        how: How,
        settings: ErasureSettings,
        data: ConceptData,
        layers: tuple[int, ...],
        progress: Progress,
    ) -> None:
        self.fits: list[Fitted] = []
        self.effects: Effects | None = None
        self.parity: float | None = None
        self._model, self._how, self._settings, self._data, self._layers = model, how, settings, data, layers
        self._towards = _towards(settings, data)
        self._progress = progress
        cases = (Case(prompt=example.text, prepend=settings.prepend) for example in data.examples)
        encoded = [model.encode(case) for case in cases]
        _check_memory(model, sum(len(each.ids) for each in encoded))
        self._clean = Layerwise(model, [each.ids for each in encoded], progress)
        self._changed: Layerwise | None = None
        prepended = [each.prepended for each in encoded]
        self._pooling = Pooling(self._clean, settings.pool, data.examples, data.classes, prepended, settings.seed)
        self._rows: list[ErasedLayer] = []
        self._blocks_done = self._observed = 0
        self._observation = TOKENS_READ * model.info.layers
        last = model.info.layers if settings.above else layers[-1] + 1
        self._blocks = layers[0] + 1 + 2 * (last - layers[0] - 1)

    @property
    def done(self) -> tuple[int, int]:
        """Tokens times blocks: so many of so many."""
        return (
            self._blocks_done * self._clean.tokens + self._observed,
            self._blocks * self._clean.tokens + 2 * self._observation,
        )

    def looking(self, when: str) -> Progress:
        """Counts what of the whole model is read, before or after it has the edit, and says it."""
        before = self._observed

        def report(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:  # noqa: ARG001
            self._observed = before + self._observation * done // total
            self._progress(*self.done, self.found() if self._rows else None, stage=f"{when}: {stage}")

        return report

    def climb(self, layer: int) -> None:
        """Carry the texts on after ``layer``, fitting and probing on the way."""
        while self._clean.layer < layer:
            self._advance(self._clean)
            if self._clean.layer < self._layers[0]:
                continue
            if self._changed is None:
                self._changed = self._clean.fork()
            else:
                self._advance(self._changed)
            self._rows.append(self._look(self._changed))
            self._progress(*self.done, self.found(), stage=f"layer {self._clean.layer}")

    def refuse_nothing(self) -> None:
        """Raise `InputError` where not one eraser erases anything."""
        if self._how != "steer":
            refuse_nothing(self.fits, Counter(e.label for e in self._data.of("train")))

    def measure_parity(self) -> None:
        """Compare the states that were fitted and changed here with those of the model that has the edit."""
        assert self._changed is not None
        batch, states = self._changed.batches[-1], self._changed.states[-1]
        self.parity = off_by(states, states_after(self._model, batch.ids, self._changed.layer))

    def found(self) -> Erased:
        """Everything so far."""
        pooling = self._pooling
        states = int(pooling.fitted.sum())
        found = Erased(
            concept=self._data.title,
            digest=self._data.digest,
            classes=self._data.classes,
            how=self._how,
            pool=self._settings.pool,
            layers=self._layers,
            towards=self._towards,
            texts=dict(Counter(example.split for example in self._data.examples)),
            states=states,
            per_dimension=rounded(states / self._model.info.d_model),
            majority=pooling.majority(),
            probed=tuple(self._rows),
            effects=self.effects,
        )
        checks = erasure_checks.checks(found, self._model.info.dtype, self._settings.seed, self.parity)
        return found.model_copy(update={"checks": checks})

    def _advance(self, stream: Layerwise) -> None:
        done, total = self.done
        for tokens in stream.advance():
            self._progress(done + tokens, total, stage=f"layer {stream.layer + 1}")
        self._blocks_done += 1

    def _look(self, changed: Layerwise) -> ErasedLayer:
        """Fit and change this layer if it is one of those that are, and probe it."""
        pooling, fitted = self._pooling, None
        clean, rows = pooling.rows(self._clean), pooling.rows(changed)
        if changed.layer in self._layers:
            fitted = self._fit(changed, rows)
            changed.map(fitted)
            rows = pooling.rows(changed)
            self.fits.append(fitted)

        def tick() -> None:
            self._progress(*self.done, stage=f"probes at layer {changed.layer}")

        return look_at_layer(
            changed.layer,
            pooling,
            clean,
            rows,
            self._data.examples,
            fitted,
            None if self._towards is None else self._data.classes.index(self._towards),
            self._settings.seed,
            tick,
        )

    def _fit(self, stream: Layerwise, rows: Tensor) -> Fitted:
        pooling, settings, layer = self._pooling, self._settings, stream.layer
        states, classes = rows[torch.from_numpy(pooling.fitted)], pooling.classes[pooling.fitted]
        if self._how == "steer":
            assert isinstance(settings, SteeringSettings)
            assert self._towards is not None
            towards = self._data.classes.index(self._towards)
            return fit_steering(layer, states, classes, towards, settings.strength)
        everywhere = pooling.every_token(stream)
        return fit_eraser(layer, states, classes, len(self._data.classes), self._how, everywhere)


def _check_memory(model: LoadedModel, tokens: int) -> None:
    """Raise `InputError` where the states of all texts, twice, would not fit into this computer."""
    import psutil

    there = psutil.virtual_memory().total
    needed = 2 * tokens * model.info.d_model * model.hf.dtype.itemsize
    if needed > MEMORY_SHARE * there:
        raise InputError(
            f"the states of all {tokens:,} tokens of these texts need {needed / 2**30:.0f} GiB and this computer has "
            f"{there / 2**30:.0f}; use shorter texts or --limit"
        )


def _editor(name: How, title: str, settings: type[ErasureSettings]) -> Editor:
    return Editor(name, title, "concept", settings, Erased, _check, _fits, partial(make, name), erasure_figures)


LEACE = _editor("leace", "LEACE", ErasureSettings)
ORTHOGONAL = _editor("orth", "Orthogonal projection", ErasureSettings)
STEERING = _editor("steer", "Steering", SteeringSettings)
