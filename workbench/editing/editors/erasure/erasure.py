"""Concept erasure: what a concept's labels can be read from is taken out of the states, layer by layer, as an edit.

LEACE (Belrose et al. 2023, arXiv 2306.03819) erases no more than what any *linear* reader needs. Every layer is fitted
on states in which the layers below are erased already, and probes trained anew say what is gone and what is not.
Steering adds a concept's direction instead.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from workbench.case import Case, Start
from workbench.datasets.concept_files import check_enough, read_concept
from workbench.datasets.concepts import ConceptData, Split, shipped_concept, shipped_concepts
from workbench.editing.editors.erasure import checks as erasure_checks
from workbench.editing.editors.erasure.effects import Effects, compare, observe
from workbench.editing.editors.erasure.fit import (
    Fitted,
    Pool,
    Pooling,
    fit_eraser,
    fit_steering,
    refuse_nothing,
)
from workbench.editing.editors.erasure.layer import ErasedLayer, look_at_layer
from workbench.editing.editors.erasure.probes import Accuracy
from workbench.editing.patches import keep_edit
from workbench.editing.queue import Edit, EditInfo, QueueState, edit_id
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.layerwise import Layerwise, off_by, states_behind
from workbench.models.tokens import encode
from workbench.numbers import rounded
from workbench.protocol import Method, Progress, Request, Result
from workbench.shapes import as_many, increasing

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.models.loading import LoadedModel

Method = Literal["leace", "orth", "steer"]

MEMORY_SHARE = 0.5
"""The part of this computer's memory that the states of all texts may take."""


class ErasureRequest(Request):
    """Ask for a concept to be erased, from ``concept`` (a shipped set) or ``data`` (a file with its ``digest``).

    ``layers`` are those behind whose blocks states are changed, all if not given. States are pooled to one a text
    (its last token, the mean) or taken at every token. ``method`` "orth" projects orthogonally, for comparison;
    "steer" adds the difference of class means towards the class ``towards`` (the first, if not given), ``strength``
    times. ``start`` is what stands in front of the texts. ``limit`` uses so many texts of the data. ``above`` also
    probes the layers above the last changed one. ``case`` is a prompt that is watched.
    """

    kind: Literal["erasure"] = "erasure"
    concept: str | None = None
    data: str | None = None
    digest: str | None = None
    layers: tuple[int, ...] | None = None
    pool: Pool = "last"
    method: Method = "leace"
    towards: str | None = None
    strength: float = 1.0
    start: Start = "as-is"
    limit: int | None = None
    above: bool = True
    seed: int = 0
    case: Case | None = None


class ErasureResult(Result):
    """An edit that is in the queue and on, from the moment that ``edit`` is there; before that only probes.

    ``texts`` counts those of each split, ``states`` those that were fitted on and ``per_dimension`` how many that
    is for each of the ``d_model`` dimensions. ``majority`` is the accuracy of always guessing the most frequent
    class. ``layers`` are those changed; ``probed`` has these and, if asked for, those above.
    """

    kind: Literal["erasure"] = "erasure"
    concept: str
    digest: str
    classes: tuple[str, ...]
    method: Method
    pool: Pool
    layers: tuple[int, ...]
    towards: str | None = None
    texts: dict[Split, int]
    states: int
    per_dimension: float
    majority: Accuracy
    probed: tuple[ErasedLayer, ...]
    edit: EditInfo | None = None
    effects: Effects | None = None
    queue: QueueState

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not self.layers:
            raise ValueError("there are no layers")
        increasing("layer", (row.layer for row in self.probed))
        for word in self.effects.words if self.effects else ():
            as_many(classes=self.classes, before=word.before, after=word.after)
        return self

    def at(self, layer: int) -> ErasedLayer | None:
        """What was found at one layer, None where it was not probed."""
        return next((row for row in self.probed if row.layer == layer), None)


def concept_of(request: ErasureRequest) -> ConceptData:
    """The data that a request names, cut to its limit.

    Raises `InputError` where they are missing, bad or changed, or have no class such as the request steers to.
    """
    if request.concept is None and request.data is None:
        raise InputError(f"name a concept ({', '.join(shipped_concepts())}) or a file of texts and labels")
    if request.concept is not None and request.data is not None:
        raise InputError("name a shipped concept or a file of texts and labels, and not both")
    if request.limit is not None and request.limit < 1:
        raise InputError(f"{request.limit} texts are too few; name a higher limit, or none")
    if request.concept is not None:
        data = shipped_concept(request.concept)
    else:
        data = read_concept(Path(request.data or "").expanduser(), request.seed)
    if request.limit is not None:
        data = data.limited(request.limit, request.seed)
        check_enough(data, "raise the limit")
    _towards(request, data)
    if request.digest is not None and request.digest != data.digest:
        raise InputError(f"{request.concept or request.data} is not what it was when this was asked; ask anew")
    return data


def run(model: LoadedModel, request: ErasureRequest, progress: Progress) -> ErasureResult:
    """Fit layer by layer, put the edit into the queue, look at what it does, and probe the layers above.

    Cancelled before the edit is there, nothing has changed. Progress counts tokens times blocks. Raises `InputError`
    for data, layers or settings that make no sense and for an eraser that would erase nothing, `NumericalError`
    for states that are not finite, `OutOfMemory`.
    """
    progress(0, 1, stage="reading texts")
    layers = _layers(model, request)
    data = concept_of(request)
    work = _Work(model, request, data, layers, progress)
    before = observe(model, data, request.case, request.start, work.looking("before"))
    work.climb(layers[-1])
    work.refuse_nothing()
    edit = Edit(_info(model, request, data, layers), tuple(fitted.change for fitted in work.fits))
    model.edits.add(edit)
    keep_edit(model.info.fingerprint, edit)
    work.edit = edit.info
    work.measure_parity()
    after = observe(model, data, request.case, request.start, work.looking("after"))
    work.effects = compare(data, before, after)
    if request.above:
        work.climb(model.info.layers - 1)
    return work.found()


def _layers(model: LoadedModel, request: ErasureRequest) -> tuple[int, ...]:
    everything = range(model.info.layers)
    layers = tuple(sorted(set(everything if request.layers is None else request.layers)))
    if not layers or not set(layers) <= set(everything):
        raise InputError(f"there are layers 0 to {everything[-1]} to erase at; name some of them")
    return layers


def _info(model: LoadedModel, request: ErasureRequest, data: ConceptData, layers: tuple[int, ...]) -> EditInfo:
    where = f"L{layers[0]}" if len(layers) == 1 else f"L{layers[0]}–{layers[-1]}"
    what = f"towards {_towards(request, data)}, {request.strength:g} ×" if request.method == "steer" else "erased"
    named = request.model_copy(update={"case": None, "above": True, "digest": data.digest, "layers": layers})
    return EditInfo(
        id=edit_id(model, named), method=request.method, title=f"{where} {data.title} {what}", layers=layers
    )


def _towards(request: ErasureRequest, data: ConceptData) -> str | None:
    """The class that is steered to, None for an erasure. Raises `InputError` for one that the data have not."""
    if request.method != "steer":
        if request.towards is not None:
            raise InputError(f"{request.method} has no class to go towards; steer, or leave {request.towards!r} out")
        return None
    if not math.isfinite(request.strength):
        raise InputError(f"{request.strength} is no strength to steer by; name a number, below 0 to steer away")
    if request.towards is not None and request.towards not in data.classes:
        raise InputError(f"there is no class {request.towards!r} to steer to; choose one of {', '.join(data.classes)}")
    return request.towards or data.classes[0]


class _Work:
    """The texts on their way through the model, twice: as it is, and with the edit at the layers below."""

    def __init__(
        self,
        model: LoadedModel,
        request: ErasureRequest,
        data: ConceptData,
        layers: tuple[int, ...],
        progress: Progress,
    ) -> None:
        self.fits: list[Fitted] = []
        self.edit: EditInfo | None = None
        self.effects: Effects | None = None
        self.parity: float | None = None
        self._model, self._request, self._data, self._layers = model, request, data, layers
        self._towards = _towards(request, data)
        self._progress = progress
        cases = (Case(prompt=example.text, start=request.start) for example in data.examples)
        encoded = [encode(model.tokenizer, case, model.info.context) for case in cases]
        _check_memory(model, sum(len(each.ids) for each in encoded))
        self._clean = Layerwise(model, [each.ids for each in encoded], progress)
        self._changed: Layerwise | None = None
        fronts = [each.in_front for each in encoded]
        self._pooling = Pooling(self._clean, request.pool, data.examples, data.classes, fronts, request.seed)
        self._rows: list[ErasedLayer] = []
        self._blocks_done = 0
        last = model.info.layers if request.above else layers[-1] + 1
        self._blocks = layers[0] + 1 + 2 * (last - layers[0] - 1)

    @property
    def done(self) -> tuple[int, int]:
        """Tokens times blocks: so many of so many."""
        return self._blocks_done * self._clean.tokens, self._blocks * self._clean.tokens

    def looking(self, when: str) -> Callable[[str], None]:
        """Says what of the whole model is read, before or after it has the edit."""
        return lambda what: self._progress(*self.done, self.found() if self._rows else None, stage=f"{when}: {what}")

    def climb(self, layer: int) -> None:
        """Carry the texts on behind ``layer``, fitting and probing on the way."""
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
        if self._request.method != "steer":
            refuse_nothing(self.fits, Counter(e.label for e in self._data.of("train")))

    def measure_parity(self) -> None:
        """Compare the states that were fitted and changed here with those of the model that has the edit."""
        assert self._changed is not None
        batch, states = self._changed.batches[-1], self._changed.states[-1]
        self.parity = off_by(states, states_behind(self._model, batch.ids, self._changed.layer))

    def found(self) -> ErasureResult:
        """Everything so far."""
        pooling = self._pooling
        states = int(pooling.fitted.sum())
        result = ErasureResult(
            concept=self._data.title,
            digest=self._data.digest,
            classes=self._data.classes,
            method=self._request.method,
            pool=self._request.pool,
            layers=self._layers,
            towards=self._towards,
            texts=dict(Counter(example.split for example in self._data.examples)),
            states=states,
            per_dimension=rounded(states / self._model.info.d_model),
            majority=pooling.majority(),
            probed=tuple(self._rows),
            edit=self.edit,
            effects=self.effects,
            queue=self._model.edits.state,
        )
        checks = erasure_checks.checks(result, self._model.info.dtype, self._request.seed, self.parity)
        return result.model_copy(update={"checks": checks})

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
            self._request.seed,
            tick,
        )

    def _fit(self, stream: Layerwise, rows: Tensor) -> Fitted:
        pooling, request, layer = self._pooling, self._request, stream.layer
        states, classes = rows[torch.from_numpy(pooling.fitted)], pooling.classes[pooling.fitted]
        if request.method == "steer":
            assert self._towards is not None
            towards = self._data.classes.index(self._towards)
            return fit_steering(layer, states, classes, towards, request.strength)
        everywhere = pooling.every_token(stream)
        return fit_eraser(layer, states, classes, len(self._data.classes), request.method, everywhere)


def _check_memory(model: LoadedModel, tokens: int) -> None:
    """Raise `InputError` where the states of all texts, twice, would not fit into this computer."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = 2 * tokens * model.info.d_model * model.hf.dtype.itemsize
    if needed > MEMORY_SHARE * there:
        raise InputError(
            f"the states of all {tokens:,} tokens of these texts need {needed / 2**30:.0f} GiB and this computer has "
            f"{there / 2**30:.0f}; use shorter texts or --limit"
        )


METHOD = Method("Concept erasure", ErasureRequest, ErasureResult, run)
