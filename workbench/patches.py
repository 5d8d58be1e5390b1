"""Edits as files: a small safetensors patch that can be applied elsewhere, and whole models with a model card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.edits import Change, Edit, EditInfo, StateChange, WeightChange
from workbench.errors import InputError, NotConfirmed
from workbench.files import write_atomically
from workbench.paths import cache_folder

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

FORMAT = "lm-workbench-patch"
VERSION = "1"
KINDS: dict[str, type[Any]] = {"weight": WeightChange, "state": StateChange}


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
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (OSError, SafetensorError):
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
            kind = next(name for name, type_ in KINDS.items() if isinstance(change, type_))
            changes.append({"kind": kind, "layer": change.layer})
            for field in fields(change)[1:]:
                tensors[f"{number}.{place}.{field.name}"] = getattr(change, field.name).cpu().contiguous()
        described.append({"info": edit.info.model_dump(mode="json"), "changes": changes})
    metadata = {"format": FORMAT, "version": VERSION, "fingerprint": fingerprint, "edits": json.dumps(described)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors, metadata))
    except OSError as error:
        raise InputError(f"the patch could not be saved to {path}: {error.strerror}; choose another place") from error


def load_patch(path: Path, fingerprint: str) -> tuple[Edit, ...]:
    """Read the edits of a patch. Raises `InputError` for a file that is none, or is for other weights."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except FileNotFoundError:
        raise InputError(f"there is no patch {path}") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is not a patch: it is no safetensors file, or a damaged one") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is a safetensors file, but not a patch of this program")
    if metadata.get("version") != VERSION:
        raise InputError(f"{path} is a patch of version {metadata.get('version')} and this program reads {VERSION}")
    if metadata["fingerprint"] != fingerprint:
        raise InputError(
            f"the patch {path} is for the weights {metadata['fingerprint']} and these are {fingerprint}; load the "
            "model that it was made with"
        )
    return tuple(
        Edit(
            EditInfo.model_validate(edit["info"]),
            tuple(_change(tensors, number, place, one) for place, one in enumerate(edit["changes"])),
        )
        for number, edit in enumerate(json.loads(metadata["edits"]))
    )


def _change(tensors: dict[str, Any], number: int, place: int, described: dict[str, Any]) -> Change:
    kind = KINDS[described["kind"]]
    parts = {field.name: tensors[f"{number}.{place}.{field.name}"] for field in fields(kind)[1:]}
    change: Change = kind(layer=described["layer"], **parts)
    return change


def keep_edit(fingerprint: str, edit: Edit) -> None:
    """Keep an edit in the cache, so that a session that is continued has it again at once."""
    save_patch(_kept(fingerprint, edit.info.id), fingerprint, [edit])


def kept_edit(fingerprint: str, id: str) -> Edit:  # noqa: A002 - what it is called everywhere
    """An edit from the cache. Raises `InputError` where it is not there any more."""
    return load_patch(_kept(fingerprint, id), fingerprint)[0]


def _kept(fingerprint: str, id: str) -> Path:  # noqa: A002
    return cache_folder() / "edits" / fingerprint / f"{id}.safetensors"


def save_model(folder: Path, model: LoadedModel) -> None:
    """Write the model as it is now, with its tokenizer and a model card that lists the edits. Raises `InputError`.

    Changes to states are no part of any weight, so a model with one of them on cannot be saved as weights alone.
    """
    active = list(map(model.edits.get, model.edits.active))
    check_folder(folder)
    if any(isinstance(change, StateChange) for edit in active for change in edit.changes):
        raise InputError(
            "an erasure or steering is on, which no weights can hold; save a patch (.safetensors) instead, or switch "
            "it off"
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
