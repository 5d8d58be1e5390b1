"""The directions of a layer's keys that ordinary text hardly uses, and the projector on them.

Fang et al. 2024 (arXiv 2410.02355) take the eigenvectors of the keys' second moment under an absolute threshold, which
means something on their models alone. Here they are those that together hold no more than a given part of the keys'
energy, which is the moment's trace.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.editing.editors.key_statistics import KeyStatistics
from workbench.files import write_atomically
from workbench.lazy import torch
from workbench.paths import cache_folder
from workbench.protocol import Progress
from workbench.reading import Unreadable, tensors_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from workbench.loading import LoadedModel


@dataclass(frozen=True, eq=False)
class NullSpace:
    """``basis`` ``(d_mlp, free)`` in float64 has orthonormal columns; ``kept`` is the part of the energy outside."""

    basis: Tensor
    kept: float


def null_space(model: LoadedModel, statistics: KeyStatistics, energy: float, progress: Progress) -> NullSpace:
    """The largest space of eigenvectors that leaves at least the part ``energy`` of the keys' energy alone."""
    values, vectors = _spectrum(model, statistics, progress)
    within = values.clamp(min=0).cumsum(0) / values.clamp(min=0).sum()
    free = int((within <= 1 - energy).sum())
    return NullSpace(vectors[:, :free], 1 - (float(within[free - 1]) if free else 0.0))


def _spectrum(model: LoadedModel, statistics: KeyStatistics, progress: Progress) -> tuple[Tensor, Tensor]:
    """Eigenvalues ``(d_mlp,)``, least first, and eigenvectors in columns, from the cache where they were found."""
    moment = statistics.second_moment
    name = hashlib.sha256(moment.numpy().tobytes()).hexdigest()[:32]
    file = cache_folder() / "statistics" / model.info.fingerprint / f"spectrum-{name}.safetensors"
    if (kept := _kept(file)) is not None:
        return kept
    progress(0, 1, stage=f"null space of layer {statistics.layer}")
    values, vectors = (found.cpu() for found in torch.linalg.eigh(moment.to(statistics.device)))
    _keep(file, {"values": values, "vectors": vectors.contiguous()})
    return values, vectors


def _kept(file: Path) -> tuple[Tensor, Tensor] | None:
    try:
        with tensors_of(file) as kept:
            return kept.get_tensor("values"), kept.get_tensor("vectors")
    except Unreadable:
        return None


def _keep(file: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, save(tensors))
