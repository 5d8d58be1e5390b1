"""What can be said of a model without loading it: from config.json and the headers of its safetensors. No torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from workbench.errors import ModelError
from workbench.models.store.checkpoint import StoredTensor, json_object, stored_tensors
from workbench.protocol import Frozen
from workbench.reading import Unreadable, is_file, read_start

ModelState = Literal["ready", "not fetched", "added", "missing", "damaged"]
"""Here; to be had by a download; added by reference; added, but no longer there; here, but not whole."""

# One thing has had several names in configurations.
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
_D_MODEL = ("hidden_size", "n_embd", "d_model")
_CONTEXT = ("max_position_embeddings", "n_positions", "seq_length")
_MOST_TEXT = 16_000_000  # bytes of a tokenizer's configuration, or of a model's card
_LICENCE = re.compile(r"^license:\s*(\S+)\s*$", re.MULTILINE)


class ModelDescription(Frozen):
    """A model as `workbench models` shows it. ``bytes`` is its size on the disk; None is what is not known.

    ``problem`` is the sentence about one that is damaged.
    """

    name: str
    state: ModelState
    title: str | None = None
    path: Path | None = None
    architecture: str | None = None
    parameters: int | None = None
    layers: int | None = None
    d_model: int | None = None
    vocabulary: int | None = None
    context: int | None = None
    dtype: str | None = None
    bytes: int | None = None
    chat_template: bool | None = None
    licence: str | None = None
    problem: str | None = None


def describe_folder(
    name: str, folder: Path, state: ModelState, title: str | None = None, licence: str | None = None
) -> ModelDescription:
    """Describe the model in ``folder``. Raises `ModelError` where there is none, or its weights are not whole."""
    config = _config(folder)
    tensors = stored_tensors(folder)
    quantised = bool(config.get("quantization_config"))  # what is stored is no number of the model, then
    try:
        return ModelDescription(
            name=name,
            state=state,
            title=title,
            path=folder,
            architecture=_architecture(config),
            parameters=None if quantised else sum(_count(tensor) for tensor in tensors),
            layers=_first(config, _LAYERS),
            d_model=_first(config, _D_MODEL),
            vocabulary=_first(config, ("vocab_size",)),
            context=_first(config, _CONTEXT),
            dtype=", ".join([*sorted({tensor.dtype for tensor in tensors}), *(["quantised"] if quantised else [])]),
            bytes=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
            chat_template=_has_chat_template(folder),
            licence=licence or _licence(folder),
        )
    except OSError as error:
        raise ModelError(f"{folder} cannot be read ({error.strerror})") from error


def _config(folder: Path) -> dict[str, Any]:
    """config.json, with the part about the language model of a model that also sees on top."""
    path = folder / "config.json"
    if not is_file(path):
        raise ModelError(f"{folder} is not a model: it has no config.json; name the folder that holds one")
    config = json_object(path)
    about_language = config.get("text_config")
    return {**config, **about_language} if isinstance(about_language, dict) else config


def _architecture(config: dict[str, Any]) -> str | None:
    """The class of the model, or else its family."""
    listed = config.get("architectures")
    names = [*(listed if isinstance(listed, list) else ()), config.get("model_type")]
    return next((name for name in names if isinstance(name, str)), None)


def _count(tensor: StoredTensor) -> int:
    count = 1
    for length in tensor.shape:
        count *= length
    return count


def _first(config: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((config[key] for key in keys if type(config.get(key)) is int), None)


def _has_chat_template(folder: Path) -> bool:
    if is_file(folder / "chat_template.jinja") or is_file(folder / "chat_template.json"):
        return True
    path = folder / "tokenizer_config.json"
    return '"chat_template"' in _start(path)


def _licence(folder: Path) -> str | None:
    """What the model card says, where there is one."""
    card = folder / "README.md"
    found = _LICENCE.search(_start(card))
    return found[1] if found else None


def _start(path: Path) -> str:
    """How a text file begins, nothing where it cannot be read: what it says is told only where it is there."""
    try:
        return read_start(path, _MOST_TEXT)
    except Unreadable:
        return ""
