"""Directions that can be read while a model runs: what an erasure takes away, and what steering adds.

They are those of an edit in the queue, on or off, or of a patch file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.editing.changes import StateChange
from workbench.editing.patches import load_patch
from workbench.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.editing.queue import Edit
    from workbench.loading import LoadedModel


@dataclass(frozen=True, eq=False)
class MonitoredDirection:
    """What is read after a layer: ``unit`` · (state − ``center``), both ``(d_model,)``, float32 on the CPU.

    ``id`` is the edit's that it is of, ``title`` says what it does.
    """

    id: str
    title: str
    layer: int
    unit: Tensor
    center: Tensor


def directions_named(model: LoadedModel, named: str) -> tuple[MonitoredDirection, ...]:
    """The directions of an edit in the queue, by its id, or of the edits in a patch file: one a layer.

    Of an erasure it is the direction in which the concept is read, from its center; of steering the one that is added.
    Raises `InputError` for what is neither, for a patch that does not fit the model, and for edits without a direction.
    """
    if any(entry.info.id == named for entry in model.edits.entries):
        edits: tuple[Edit, ...] = (model.edits.get(named),)
    elif Path(named).expanduser().exists():
        edits = load_patch(Path(named).expanduser(), model)
    else:
        raise InputError(
            f"there is neither an edit {named!r} in the queue nor a patch of that name to monitor; name an edit by its "
            "id, or a patch file"
        )
    found = tuple(_direction(edit, change) for edit in edits for change in edit.changes)
    if not found:
        raise InputError(f"{named} holds no edit to monitor; name another")
    return found


def _direction(edit: Edit, change: object) -> MonitoredDirection:
    if not isinstance(change, StateChange):
        raise InputError(
            f"the edit {edit.info.id} ({edit.info.method}) changes no states, so it has no direction to monitor; name "
            "an erasure or steering"
        )
    rank = change.right.shape[1]
    if rank > 1:
        raise InputError(
            f"the edit {edit.info.id} erases {rank} directions at once after layer {change.layer}, and a monitor reads "
            "one; use a concept of two classes"
        )
    vector = (change.right[:, 0] if rank else change.shift).float().cpu()
    center = change.center.float().cpu() if rank else vector.new_zeros(vector.shape)
    if not float(vector.norm()) > 0:
        raise InputError(f"the edit {edit.info.id} has no direction after layer {change.layer}; name another")
    return MonitoredDirection(edit.info.id, edit.info.title, change.layer, vector / vector.norm(), center)
