"""The edit queue: the model as it was loaded, plus the changes that are switched on.

Every matrix is W0 + the sum of the enabled changes, computed anew from a copy of W0 whenever the queue changes, so
that an edit can be switched off, removed or moved in any order, and with none of them on the weights are bit for
bit those that were loaded. Changes to states are functions that a block's forward ends with while they are on, and
prefixes are tokens that `workbench.loading.LoadedModel.encode` puts before every prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import ref

from pydantic import Field, model_validator

from workbench.editing.changes import Change, PromptPrefix, StateMap, WeightUpdate, in_order
from workbench.errors import Cancelled, InputError
from workbench.lazy import torch
from workbench.models.anatomy import input_first, tensor_of, with_tensor
from workbench.models.forward.maps import MAPS
from workbench.protocol import Frozen
from workbench.shapes import different

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.loading import LoadedModel


MeasuredValue = TypeVar("MeasuredValue")

MEASUREMENTS_KEPT = 8
"""Of models with edits on: enough for the checks of an edit, before and with it, and its suite."""


class EditInfo(Frozen):
    """What is said about an edit: ``method`` made it, ``title`` says what it does, ``layers`` are those it changes.

    ``id`` is eight hex digits that depend on the model, the request and the edits that were on, so that making the
    same edit again gives it the same name.
    """

    id: str = Field(pattern="^[0-9a-f]{8}$")
    method: str
    title: str
    layers: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Edit:
    """A reversible change to the model."""

    info: EditInfo
    changes: tuple[Change, ...]


class QueuedEdit(Frozen):
    """An edit's place in the queue."""

    info: EditInfo
    on: bool


class QueueState(Frozen):
    """The queue as plain data. ``bypassed``: all edits are off for a comparison, whatever their switches say."""

    entries: tuple[QueuedEdit, ...] = ()
    bypassed: bool = False
    can_undo: bool = False
    can_redo: bool = False

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        different("edits", (entry.info.id for entry in self.entries))
        return self


def edit_id(model: LoadedModel, editor: str, cases: Sequence[Frozen], settings: Frozen) -> str:
    """The name of the edit that an editor makes of cases and settings, with the edits that are on now."""
    made_of = (editor, *(case.model_dump_json() for case in cases), settings.model_dump_json())
    parts = (model.info.fingerprint, model.info.dtype, *model.edits.active, *made_of)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


class EditQueue:
    """The edits of one model, in order, each on or off, with undo and redo. For the engine's thread only.

    ``baselines`` is for whoever measures the model without edits and does not want to do so twice; `measured_once` for
    whoever measures it with those that are on.
    """

    def __init__(self, model: LoadedModel) -> None:
        self.baselines: dict[str, Any] = {}
        self._model = model
        self._edits: dict[str, Edit] = {}
        self._history: list[tuple[QueuedEdit, ...]] = [()]
        self._at = 0
        self._bypassed = False
        self._applied: Sequence[Edit] = ()
        self._originals: dict[Module, Tensor] = {}
        self._measured: list[tuple[object, Any]] = []

    @property
    def entries(self) -> tuple[QueuedEdit, ...]:
        """The queue, first edit first."""
        return self._history[self._at]

    @property
    def bypassed(self) -> bool:
        """Whether all edits are off for a comparison, whatever their switches say."""
        return self._bypassed

    @property
    def active(self) -> tuple[str, ...]:
        """The ids of the edits that the model has now."""
        return tuple(edit.info.id for edit in self._applied)

    @property
    def applied(self) -> tuple[Edit, ...]:
        """The edits that the model has now, those of a context (`only`, `added`) among them."""
        return tuple(self._applied)

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens that edits in context put before every prompt, in the queue's order."""
        prefixes = (change for edit in self._applied for change in edit.changes if isinstance(change, PromptPrefix))
        return tuple(token for each in prefixes for token in each.ids.tolist())

    @property
    def state(self) -> QueueState:
        """The queue as plain data."""
        return QueueState(entries=self.entries, bypassed=self._bypassed, can_undo=self.can_undo, can_redo=self.can_redo)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change of the queue to take back."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone change to make again."""
        return self._at < len(self._history) - 1

    def get(self, id: str) -> Edit:  # noqa: A002 - what it is called everywhere
        """An edit of the queue. Raises `InputError` when there is none of that id."""
        if id not in {entry.info.id for entry in self.entries}:
            raise InputError(f"there is no edit {id} in the queue; it may have been removed")
        return self._edits[id]

    def add(self, edit: Edit) -> None:
        """Put an edit at the end, switched on. One of the same id is replaced."""
        others = tuple(entry for entry in self.entries if entry.info.id != edit.info.id)
        known = self._edits | {edit.info.id: edit}
        self._apply([known[entry.info.id] for entry in (*others, QueuedEdit(info=edit.info, on=True)) if entry.on])
        self._edits, self._bypassed = known, False
        self._remember((*others, QueuedEdit(info=edit.info, on=True)))

    def switch(self, id: str, on: bool) -> None:  # noqa: A002
        """Switch one edit on or off."""
        self.get(id)
        self._become(
            tuple(entry.model_copy(update={"on": on}) if entry.info.id == id else entry for entry in self.entries)
        )

    def remove(self, id: str) -> None:  # noqa: A002
        """Take an edit out of the queue; `undo` brings it back."""
        self.get(id)
        self._become(tuple(entry for entry in self.entries if entry.info.id != id))

    def move(self, id: str, by: int) -> None:  # noqa: A002
        """Move an edit by some places, as far as there are any."""
        self.get(id)
        order = list(self.entries)
        place = next(place for place, entry in enumerate(order) if entry.info.id == id)
        entry = order.pop(place)
        order.insert(max(0, min(len(order), place + by)), entry)
        self._become(tuple(order))

    def undo(self) -> None:
        """Take the last change of the queue back. Raises `InputError` when there is none."""
        if not self.can_undo:
            raise InputError("there is nothing to undo")
        self._go(self._at - 1)

    def redo(self) -> None:
        """Make an undone change again. Raises `InputError` when there is none."""
        if not self.can_redo:
            raise InputError("there is nothing to redo")
        self._go(self._at + 1)

    def bypass(self, bypassed: bool) -> None:
        """Take all edits off for a comparison, or put those that are on back."""
        self._apply([] if bypassed else self._on(self.entries))
        self._bypassed = bypassed

    def restore(self, edits: Sequence[tuple[Edit, bool]]) -> None:
        """Make these edits, in order and each on or off, the whole queue."""
        self._edits = self._edits | {edit.info.id: edit for edit, _ in edits}
        self._become(tuple(QueuedEdit(info=edit.info, on=on) for edit, on in edits))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A context that leaves the queue as it was, in all it holds, when it is left by an error.

        After `Cancelled` a change that was complete by then can be made by `redo`: it was computed, after all.
        """
        edits, history, at = self._edits, list(self._history), self._at
        bypassed, applied = self._bypassed, self._applied
        try:
            yield
        except BaseException as error:
            if self._applied is not applied:
                self._apply(applied)
            if not isinstance(error, Cancelled):
                self._edits, self._history = edits, history
            self._at, self._bypassed = at, bypassed
            raise

    @contextmanager
    def only(self, edits: Iterable[Edit]) -> Iterator[None]:
        """A context within which the model has exactly these edits; after it, whatever happens, its own again."""
        before = self._applied
        self._apply(list(edits))
        try:
            yield
        finally:
            self._apply(before)

    def added(self, edit: Edit) -> AbstractContextManager[None]:
        """A context within which the model has this edit besides those that are on."""
        return self.only([*self._applied, edit])

    def all_off(self) -> AbstractContextManager[None]:
        """A context within which the model is as it was loaded."""
        return self.only([])

    def size(self, edit: Edit) -> float:
        """‖ΔW‖ / ‖W‖ over the matrices that an edit changes, as they are now; 0 where it changes none."""
        changed, there = 0.0, 0.0
        for matrix, updates in self._by_matrix(edit.changes).items():
            changed += float(sum(c.to(torch.float64).update() for c in updates).norm()) ** 2  # type: ignore[union-attr]
            there += float(_weight(matrix).detach().double().norm()) ** 2
        return (changed / there) ** 0.5 if there else 0.0

    def measured_once(self, name: str, measure: Callable[[], MeasuredValue]) -> MeasuredValue:
        """What ``measure`` finds with exactly the edits that are on: not again where these same ones were on lately.

        An editor's checks and the suite after it ask for the same numbers.
        """
        key = (name, *map(ref, self._applied))  # which keeps no edit from being forgotten
        for known, value in self._measured:
            if known == key:
                found: MeasuredValue = value
                return found
        found = measure()
        self._measured = [*self._measured[1 - MEASUREMENTS_KEPT :], (key, found)]
        return found

    def _on(self, entries: Iterable[QueuedEdit]) -> list[Edit]:
        return [self._edits[entry.info.id] for entry in entries if entry.on]

    def _become(self, entries: tuple[QueuedEdit, ...]) -> None:
        if entries != self.entries:
            self._apply(self._on(entries))
            self._bypassed = False
            self._remember(entries)

    def _remember(self, entries: tuple[QueuedEdit, ...]) -> None:
        self._history[self._at + 1 :] = [entries]
        self._at += 1

    def _go(self, place: int) -> None:
        self._apply(self._on(self._history[place]))
        self._at, self._bypassed = place, False

    def _apply(self, edits: Sequence[Edit]) -> None:
        """Give the model these edits and no others. All is computed before anything is changed."""
        changes = [change for edit in edits for change in edit.changes]
        updates = {matrix: list[WeightUpdate]() for matrix in self._originals} | self._by_matrix(changes)
        maps: dict[int, list[StateMap]] = {}
        for change in changes:
            if isinstance(change, StateMap):
                maps.setdefault(change.layer, []).append(change)
        originals, weights = dict(self._originals), {}
        for matrix, some in updates.items():
            if matrix not in originals:
                originals[matrix] = _weight(matrix).detach().clone().cpu()
            weights[matrix] = _sum(matrix, originals[matrix], some)
            if some and not bool(torch.isfinite(weights[matrix]).all()):
                layer = some[0].layer
                raise InputError(f"with these edits weights of layer {layer} are not finite; leave one of them off")
        with torch.no_grad():
            for matrix, weight in weights.items():
                _weight(matrix).copy_(weight)
        self._originals = {matrix: originals[matrix] for matrix, some in updates.items() if some}
        device = self._model.hf.device  # where states lie, wherever a block's weights do
        for layer, block in enumerate(self._model.block_modules):
            vars(block)[MAPS][:] = [_mapping(maps[layer], device)] if layer in maps else []
        self._applied = edits

    def _by_matrix(self, changes: Iterable[Change]) -> dict[Module, list[WeightUpdate]]:
        found: dict[Module, list[WeightUpdate]] = {}
        for change in changes:
            if isinstance(change, WeightUpdate):
                found.setdefault(change.changed(self._model), []).append(change)
        return found


def _weight(matrix: Module) -> Tensor:
    return matrix.weight  # type: ignore[return-value]


def _sum(matrix: Module, original: Tensor, changes: Sequence[WeightUpdate]) -> Tensor:
    """W0 + the changes, in float32 (or better), as the model's dtype; W0 itself where there are none."""
    if not changes:
        return original
    total = original if original.dtype == torch.float64 else original.float()
    for change in changes:
        update = change.to(total).update()
        total = total + (update.T if input_first(matrix) else update)
    return total.to(original.dtype)


def _mapping(changes: Sequence[StateMap], device: torch.device) -> Callable[[Any], Any]:
    """From a block's output to the output with its states changed, one change after the other."""
    placed = [change.to(device, torch.float32) for change in in_order(changes)]

    def mapped(output: Any) -> Any:
        states = tensor_of(output)
        found = states.float()
        for change in placed:
            found = change.mapped(found)
        return with_tensor(output, found.to(states.dtype))

    return mapped
