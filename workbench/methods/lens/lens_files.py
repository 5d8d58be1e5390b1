"""Lenses that somebody has fitted, in the formats of the tuned-lens package and of Jacobian lenses.

A tuned lens (Belrose et al. 2023, arXiv 2303.08112) is a folder with ``config.json`` and ``params.pt``, whose tensors
``i.weight`` and ``i.bias`` are what is *added* to the state that enters block i: h + h Wᵀ + b. A Jacobian lens, as the
published code, TransformerLens and their collections write it, is one file with ``J``, a matrix for the state
after each layer, and ``d_model``. Either is read with ``weights_only``, so that no code of the file's is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.datasets.json_files import decode
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.methods.lens.held_out import held_out_kl
from workbench.methods.lens.translators import LensFit, LensName, Translators, keep_lens, unfit
from workbench.paths import written_path
from workbench.protocol import Progress
from workbench.reading import MB, Unreadable, pickled_tensors, quoted, read_text

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

CONFIG, PARAMETERS = "config.json", "params.pt"


def read_lens(model: LoadedModel, lens: LensName, named: str, progress: Progress) -> tuple[LensFit, Translators]:
    """The lens in a file or folder, measured on held-out text, and kept as the model's lens of its kind.

    Raises `InputError` for a file that is none, or one for other weights.
    """
    path = written_path(named)
    progress(0, 1, stage=f"reading {path.name}")
    if lens not in ("tuned", "jacobian"):
        raise InputError("a lens file is a tuned or a Jacobian lens; say which by --lens tuned or --lens jacobian")
    translators = _tuned(model, path) if lens == "tuned" else _jacobian(model, path)
    if wrong := unfit(model, translators):
        raise InputError(f"the lens {path} is for another model: {wrong}; load the model that it was fitted for")
    with model.edits.all_off():
        known = held_out_kl(model, translators, None, None, progress)
    about = LensFit(lens=lens, source=f"read from {path.name}", held_out=known)
    keep_lens(model, about, translators)
    return about, translators


def _tuned(model: LoadedModel, path: Path) -> Translators:
    """A tuned lens, as the whole map of the state that enters each block."""
    folder = path if path.is_dir() else path.parent
    try:
        config = decode(read_text(folder / CONFIG, MB), folder / CONFIG)
    except Unreadable as error:
        raise InputError(
            f"there is no tuned lens at {path} ({CONFIG}: {error.why}); name the folder of {CONFIG} and {PARAMETERS}"
        ) from error
    if not isinstance(config, dict) or "d_model" not in config:
        raise InputError(f"{folder / CONFIG} is not the configuration of a tuned lens; name the lens' folder")
    for name, own in (("d_model", model.info.d_model), ("num_hidden_layers", model.info.layers)):
        if config.get(name) != own:
            raise InputError(
                f"the lens {path} is for another model: its {name} is {quoted(config.get(name))} and this model's "
                f"{own}; load the model that it was fitted for"
            )
    hashed = config.get("unembed_hash")
    if hashed is not None and hashed != unembedding_hash(model):
        raise InputError(
            f"the lens {path} is for other weights: it was fitted to the unembedding of "
            f"{quoted(config.get('base_model_name_or_path'))}, which is not this model's; load that model"
        )
    tensors = _tensors(model, folder / PARAMETERS if path.is_dir() else path)
    identity = torch.eye(model.info.d_model)
    weights, biases = dict[int, "Tensor"](), dict[int, "Tensor"]()
    for row in range(model.info.layers):
        weight, bias = tensors.get(f"{row}.weight"), tensors.get(f"{row}.bias")
        if weight is None or tuple(weight.shape) != tuple(identity.shape):
            raise InputError(f"the tuned lens {path} has no map of layer {row - 1} of this width; fetch it again")
        weights[row] = weight.float() + identity
        biases[row] = bias.float() if bias is not None else torch.zeros(len(identity))
    return Translators(weights, biases)


def _jacobian(model: LoadedModel, path: Path) -> Translators:
    matrices = _tensors(model, path, "J")
    if not matrices or not all(name.isdecimal() and each.ndim == 2 for name, each in matrices.items()):
        raise InputError(f"{path} is no Jacobian lens: it has no matrices J by layer; name the file of one")
    weights = {int(name) + 1: matrix.float() for name, matrix in matrices.items()}
    return Translators(weights, {row: torch.zeros(len(weight)) for row, weight in weights.items()})


def _tensors(model: LoadedModel, path: Path, within: str = "") -> dict[str, Tensor]:
    """The tensors that a file holds by name, or those in one of its entries. Larger than such a lens is none."""
    most = MB + 16 * (model.info.layers + 1) * model.info.d_model * (model.info.d_model + 1)
    try:
        found: Any = pickled_tensors(path, most)
    except Unreadable as error:
        raise InputError(f"the lens {path} cannot be read: {error.why}; fetch it again") from error
    if within and isinstance(found, Mapping):
        found = found.get(within)
    if not isinstance(found, Mapping):
        raise InputError(f"{path} is no such lens: it has no {within or 'tensors by name'}; name the file of one")
    return {str(name): each for name, each in found.items() if isinstance(each, torch.Tensor)}


def unembedding_hash(model: LoadedModel) -> str:
    """What the tuned-lens package tells models apart by: the SHA-256 of the unembedding as NumPy prints it, rounded."""
    import numpy as np

    weight: Any = model.unembedding.weight
    return hashlib.sha256(np.array_str(weight.detach().float().cpu().numpy(), precision=1).encode()).hexdigest()
