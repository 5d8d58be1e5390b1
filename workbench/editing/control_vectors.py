"""Steering as a GGUF control vector, as llama.cpp reads it (``--control-vector FILE``).

A one-dimensional float32 tensor ``direction.N`` is added to what block N puts out, blocks counted from 0, at every
token; nothing can be added after block 0. Metadata are those that llama.cpp's own generator writes
(``tools/cvector-generator``; the reader is ``common_control_vector_load`` in ``common/common.cpp``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from workbench.editing.changes import StateChange
from workbench.editing.queue import Edit
from workbench.errors import InputError, NotConfirmed
from workbench.files import write_atomically
from workbench.reading import Unreadable, opened, read_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

ARCHITECTURE = "controlvector"

HEAD = 128
"""Bytes of a file within which a GGUF file names its architecture, its first key."""


def check_vector_place(path: Path, confirmed: bool) -> None:
    """Raise `InputError` where something else than a control vector would be lost, `NotConfirmed` where one would."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    if not path.exists():
        return
    if not _is_control_vector(path):
        raise InputError(f"{path} exists and is no control vector; name another place")
    if not confirmed:
        raise NotConfirmed(f"{path} exists and would be replaced; name another file, or say yes")


def directions_of(edits: Sequence[Edit]) -> dict[int, Tensor]:
    """What edits add after each layer ``(d_model,)``, summed. Raises `InputError` for edits that do anything else."""
    if not edits:
        raise InputError("there is no edit to save; make one, or switch one on, first")
    found: dict[int, Tensor] = {}
    for edit in edits:
        for change in edit.changes:
            if not isinstance(change, StateChange) or change.left.shape[1]:
                raise InputError(
                    f"the edit {edit.info.id} ({edit.info.method}) does more than add a direction, which is all that a "
                    "control vector can hold; switch it off, or save a patch"
                )
            if change.layer == 0:
                raise InputError(
                    f"the edit {edit.info.id} steers after layer 0, where llama.cpp adds no control vector; steer "
                    "after another layer, or save a patch"
                )
            shift = change.shift.float().cpu()
            found[change.layer] = found[change.layer] + shift if change.layer in found else shift
    return found


def save_control_vector(path: Path, model: LoadedModel, edits: Sequence[Edit], confirmed: bool = False) -> None:
    """Write what edits add to the residual stream to one file, strengths included.

    Raises `InputError` for edits that a control vector cannot hold and a place that cannot be written, `NotConfirmed`.
    """
    from gguf import GGUFWriter  # with numpy; where it is asked for only

    directions = directions_of(edits)
    check_vector_place(path, confirmed)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "vector.gguf"
        writer = GGUFWriter(file, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", model.info.architecture)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(directions))
        for layer, direction in sorted(directions.items()):
            writer.add_tensor(f"direction.{layer}", direction.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        content = read_bytes(file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise InputError(
            f"the control vector could not be saved to {path}: {error.strerror}; choose another place"
        ) from error


def _is_control_vector(path: Path) -> bool:
    try:
        with opened(path) as file:
            head = file.read(HEAD)
    except Unreadable:
        return False
    return head.startswith(b"GGUF") and ARCHITECTURE.encode() in head
