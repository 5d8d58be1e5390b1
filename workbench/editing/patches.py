"""Edits as files: a small safetensors patch that can be applied elsewhere, and whole models with a model card."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from workbench.editing.adapter import adapter_edit
from workbench.editing.changes import KINDS, AdapterChange, Change, WeightUpdate
from workbench.editing.queue import Edit, EditInfo
from workbench.errors import InputError, NotConfirmed
from workbench.files import write_atomically
from workbench.models.adapters import CONFIG, is_adapter
from workbench.paths import cache_folder
from workbench.protocol import Frozen
from workbench.reading import BadJson, Unreadable, first_problem, parse, quoted, shortened, tensors_of

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

FORMAT = "lm-workbench-patch"
VERSION = "1"
FLOATS = ("F64", "F32", "F16", "BF16")
MOST_EDITS, MOST_CHANGES = 10_000, 1_000
"""In one patch, and in one edit. They bound what a stranger's file can ask for, not what anybody has done."""


def check_place(path: Path) -> None:
    """Raise `InputError` where something else would be lost by saving a patch there: only a patch takes its place."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    if path.exists() and not _is_patch(path):
        raise InputError(f"{path} exists and is no patch of this program; name another place")


def check_free(path: Path) -> None:
    """Raise `NotConfirmed` where the patch that is there would be replaced."""
    if path.exists():
        raise NotConfirmed(f"{path} exists and would be replaced; name another file, or say yes")


def check_folder(folder: Path) -> None:
    """Raise `InputError` where a whole model cannot be saved without anything being lost."""
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a folder that is, or does not exist yet")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder that does not exist yet")


def _is_patch(path: Path) -> bool:
    try:
        with tensors_of(path) as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except Unreadable:
        return False


def save_patch(path: Path, fingerprint: str, edits: Sequence[Edit]) -> None:
    """Write edits to one file, with the fingerprint of the weights they are for. Raises `InputError`."""
    from safetensors.torch import save

    if not edits:
        raise InputError("there is no edit to save; make one, or switch one on, first")
    check_place(path)
    tensors = {}
    described = []
    for number, edit in enumerate(edits):
        changes = []
        for place, change in enumerate(edit.changes):
            kind = next(name for name, known in KINDS.items() if type(change) is known)
            module = {"module": change.module} if isinstance(change, AdapterChange) else {}
            changes.append({"kind": kind, "layer": change.layer, **module})
            for part, tensor in change.tensors.items():
                # A copy, as two tensors of a file may share no memory, and those of a change may.
                tensors[f"{number}.{place}.{part}"] = tensor.cpu().contiguous().clone()
        described.append({"info": edit.info.model_dump(mode="json"), "changes": changes})
    metadata = {"format": FORMAT, "version": VERSION, "fingerprint": fingerprint, "edits": json.dumps(described)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors, metadata))
    except OSError as error:
        raise InputError(f"the patch could not be saved to {path}: {error.strerror}; choose another place") from error


def size_in_bytes(edit: Edit) -> int:
    """The bytes of an edit's numbers, which are nearly all of a patch."""
    return sum(tensor.nbytes for change in edit.changes for tensor in change.tensors.values())


def load_patch(path: Path, model: LoadedModel) -> tuple[Edit, ...]:
    """Read the edits of a patch, of which everything fits the model. The folder of a LoRA adapter is a patch of one.

    Raises `InputError` for a file that is no patch, is for other weights, or holds anything but what it should, and as
    `workbench.editing.adapter.adapter_edit` does.
    """
    if is_adapter(path):
        return (adapter_edit(path, model),)
    if path.is_dir():
        raise InputError(f"the folder {path} holds no LoRA adapter ({CONFIG}); name that of one, or a patch file")
    try:
        with tensors_of(path) as file:
            return _edits(file, path, model)
    except Unreadable as error:
        if error.missing:
            raise InputError(f"there is no patch {path}") from None
        raise InputError(f"{path} is not a patch: {error.why}") from error


class _WrittenChange(Frozen):
    kind: str
    layer: int | None
    module: str | None = None


class _WrittenEdit(Frozen):
    """An edit as the header of a patch describes it; tensor ``0.1.left`` is that of its second change."""

    info: EditInfo
    changes: tuple[_WrittenChange, ...] = Field(min_length=1, max_length=MOST_CHANGES)


class _Written(Frozen):
    edits: tuple[_WrittenEdit, ...] = Field(min_length=1, max_length=MOST_EDITS)


def _edits(file: Any, path: Path, model: LoadedModel) -> tuple[Edit, ...]:
    metadata, names = file.metadata() or {}, set(file.keys())
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is a safetensors file, but not a patch of this program")
    if (version := metadata.get("version")) != VERSION:
        raise InputError(f"{path} is a patch of version {shortened(str(version), 40)} and this program reads {VERSION}")
    if (fingerprint := metadata.get("fingerprint")) != model.info.fingerprint:
        raise InputError(
            f"the patch {path} is for the weights {shortened(str(fingerprint), 40)} and these are "
            f"{model.info.fingerprint}; load the model that it was made with"
        )
    written = _written(metadata.get("edits", ""), path)
    found = []
    for number, edit in enumerate(written):
        changes = []
        for place, change in enumerate(edit.changes):
            prefix, where = f"{number}.{place}.", f"change {place + 1} of edit {edit.info.id} in {path}"
            changes.append(_change(file, names, prefix, change, model, where))
        if set(edit.info.layers) != {change.layer for change in changes if change.layer is not None}:
            raise InputError(f"edit {edit.info.id} in {path} changes other layers than it says; make the patch again")
        found.append(Edit(edit.info, tuple(changes)))
    if names:
        raise InputError(f"{path} holds {quoted(min(names))}, which is of none of its edits; make the patch again")
    return tuple(found)


def _written(text: str, path: Path) -> tuple[_WrittenEdit, ...]:
    try:
        written = _Written.model_validate({"edits": parse(text)}).edits
    except BadJson as error:
        raise InputError(f"{path} is a damaged patch: its list of edits cannot be read ({error.why})") from error
    except ValidationError as error:
        raise InputError(f"{path} is a damaged patch: its list of edits is wrong at {first_problem(error)}") from error
    ids = [edit.info.id for edit in written]
    if len(set(ids)) < len(ids):
        raise InputError(f"{path} holds two edits of the same id; make the patch again")
    return written


def _change(file: Any, names: set[str], prefix: str, written: _WrittenChange, model: LoadedModel, where: str) -> Change:
    """One change, checked against the model by what its class says. Its tensors are taken out of ``names``."""
    if (kind := KINDS.get(written.kind)) is None:
        raise InputError(f"{where} is of the kind {quoted(written.kind)}, which this program does not know")
    layer = written.layer
    if (layer is not None) != kind.LAYERED:
        raise InputError(f"{where} {'lacks' if kind.LAYERED else 'has'} a layer; make the patch again")
    if layer is not None and not 0 <= layer < model.info.layers:
        raise InputError(f"{where} is for layer {layer}, and the model has {model.info.layers}, counted from 0")
    if (written.module is not None) != kind.IN_MODULE:
        raise InputError(f"{where} {'names no' if kind.IN_MODULE else 'names a'} module; make the patch again")
    try:
        known = kind.sizes(model, layer or 0, written.module)
    except InputError as error:
        raise InputError(f"{where} does not fit the model: {error}") from error
    most, sizes, parts = max(known.values()), dict(known), {}
    for part, dimensions in kind.SHAPES.items():
        if (name := prefix + part) not in names:
            raise InputError(f"{where} lacks its tensor {part}; make the patch again")
        names.remove(name)
        view = file.get_slice(name)
        shape = tuple(view.get_shape())
        fits = len(shape) == len(dimensions) and all(
            size == sizes[dimension] if dimension in sizes else size <= kind.MOST.get(dimension, most)
            for dimension, size in zip(dimensions, shape, strict=True)
        )
        if not fits:
            wanted = " × ".join(str(sizes.get(dimension, dimension)) for dimension in dimensions)
            found = " × ".join(map(str, shape)) or "a single number"
            raise InputError(f"{where} does not fit the model: {part} is {quoted(found)} and should be {wanted}")
        sizes.update(zip(dimensions, shape, strict=True))
        if view.get_dtype() not in ((kind.DTYPES[part],) if part in kind.DTYPES else FLOATS):
            raise InputError(f"{where} holds no numbers to compute with: {part} is {quoted(view.get_dtype())}")
        parts[part] = file.get_tensor(name)
        if not bool(parts[part].isfinite().all()):
            raise InputError(f"{where} holds numbers that are not finite in {part}; make the patch again")
    named: dict[str, Any] = {"module": written.module} if kind.IN_MODULE else {}
    change = kind(layer, **parts, **named)
    if wrong := change.wrong(model):
        raise InputError(f"{where} {wrong}; make the patch again")
    return change


def keep_edit(fingerprint: str, edit: Edit) -> None:
    """Keep an edit in the cache, so that a session that is continued has it again at once."""
    save_patch(kept_path(fingerprint, edit.info.id), fingerprint, [edit])


def kept_edit(model: LoadedModel, id: str) -> Edit:  # noqa: A002 - what it is called everywhere
    """An edit from the cache. Raises `InputError` where it is not there any more."""
    path = kept_path(model.info.fingerprint, id)
    (edit, *others) = load_patch(path, model)
    if others or edit.info.id != id:
        raise InputError(f"{path} does not hold the edit {id}; remove the file and make the edit again")
    return edit


def kept_path(fingerprint: str, id: str) -> Path:  # noqa: A002
    """Where an edit is kept; never outside the folder of these weights, whatever it is called."""
    folder = cache_folder() / "edits" / fingerprint
    path = folder / f"{id}.safetensors"
    if path.parent != folder or not re.fullmatch("[0-9a-f]{8}", id):
        raise InputError(f"{quoted(id)} is not the id of an edit: those are eight hex digits")
    return path


def save_model(folder: Path, model: LoadedModel) -> None:
    """Write the model as it is now, with its tokenizer and a model card that lists the edits. Raises `InputError`.

    Only changes of weights are a part of them, so a model with another one on cannot be saved as weights alone.
    """
    active = list(map(model.edits.get, model.edits.active))
    check_folder(folder)
    outside = [edit for edit in active if not all(isinstance(change, WeightUpdate) for change in edit.changes)]
    if outside:
        raise InputError(
            f"the edit {outside[0].info.id} ({outside[0].info.method}) is on, which no weights can hold; save a patch "
            "(.safetensors) instead, or switch it off"
        )
    try:
        model.hf.save_pretrained(folder, safe_serialization=True)
        model.tokenizer.save_pretrained(folder)
        write_atomically(folder / "README.md", _card(model, active))
    except OSError as error:
        raise InputError(f"the model could not be saved to {folder}: {error.strerror or error}; make room") from error


def _card(model: LoadedModel, edits: Sequence[Edit]) -> str:
    info = model.info
    listed = "\n".join(f"- `{edit.info.id}` {edit.info.method}: {edit.info.title}" for edit in edits) or "- none"
    return (
        f"---\nbase_model: {info.name}\ntags: [edited]\n---\n\n# {Path(info.name).name}, edited\n\n"
        f"The weights of {info.name} (fingerprint `{info.fingerprint}`, {info.dtype}) with these edits:\n\n{listed}\n\n"
        "Every edit is a hypothesis: run a regression suite before relying on this model.\n"
    )
