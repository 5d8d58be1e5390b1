"""What the inputs of an MLP's down-projection are like: the second moment that a ROME edit is measured against.

ROME treats W_out as a memory of keys and values; the uncentred second moment C = E[k kᵀ] of the keys in
ordinary text says which directions others use (Meng et al. 2022, arXiv 2202.05262, section 3.1 and appendix E).
About 2 to 10 times d_mlp keys are enough (arXiv 2506.04226). Computed once for a layer and kept in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.files import write_atomically
from workbench.lazy import nnsight, torch
from workbench.memory import ByDevice
from workbench.models.forward.ordinary_text import PER_DIMENSION, corpus_text, sampled_text
from workbench.models.forward.sampling import document_start
from workbench.paths import cache_folder
from workbench.protocol import Check, Progress, silent
from workbench.reading import Unreadable, tensors_of

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

BATCH = ByDevice(cpu=8, elsewhere=64)
"""Texts that are run together, by kind of device."""

RIDGE = 1e-3
"""What is added to the diagonal, as a share of its mean."""

ENOUGH = 2.0
"""Keys for each dimension below which the trust strip warns."""


@dataclass(frozen=True, eq=False)
class KeyStatistics:
    """``second_moment`` is C ``(d_mlp, d_mlp)`` in float64 without the ridge, over ``vectors`` keys of ``source``.

    It lies on the CPU; what is solved with it is solved on ``device``.
    """

    layer: int
    second_moment: torch.Tensor
    vectors: int
    source: str
    condition: float
    device: torch.device | str = "cpu"

    @property
    def ridged(self) -> torch.Tensor:
        """C with the ridge, which makes it positive definite however few keys there were."""
        return _ridged(self.second_moment)

    def solve(self, keys: torch.Tensor) -> torch.Tensor:
        """C⁻¹k in float64 on the CPU for keys ``(d_mlp, n)``, by Cholesky."""
        factor = torch.linalg.cholesky(self.ridged.to(self.device))
        return torch.cholesky_solve(keys.to(self.device).double(), factor).cpu()

    def check(self) -> Check:
        """What the trust strip says about them."""
        per_dimension = self.vectors / len(self.second_moment)
        text = f"{self.vectors:,} keys of {self.source}, {per_dimension:.1f} × d_mlp, condition {self.condition:.0e}"
        return Check(name="statistics", text=text, level="info" if per_dimension >= ENOUGH else "warn")


def key_statistics(
    model: LoadedModel, layer: int, corpus: Path | None = None, seed: int = 0, progress: Progress = silent
) -> KeyStatistics:
    """The statistics of one layer of the unedited model: see `statistics_of`."""
    return statistics_of(model, (layer,), corpus, seed, progress)[layer]


def statistics_of(
    model: LoadedModel,
    layers: Sequence[int],
    corpus: Path | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[int, KeyStatistics]:
    """The statistics of layers of the unedited model, from the cache or computed from text, which is run once for all.

    The text is ``corpus``, or sampled from the model with ``seed``. Raises `InputError` for a corpus that cannot be
    read or is too short, `ModelError` for a model without down-projections.
    """
    for layer in layers:
        model.down_projection(layer)
    folder = cache_folder() / "statistics" / model.info.fingerprint
    widest = max(model.anatomy.mlp_widths[layer] for layer in layers)
    most, least = PER_DIMENSION * widest, int(ENOUGH * widest)
    text = corpus_text(model, corpus, least, most, "the statistics of this model need") if corpus else None
    name = hashlib.sha256(text.numpy().tobytes()).hexdigest()[:16] if text is not None else f"sampled-{seed}"
    files = {layer: folder / f"{model.info.dtype}-{name}-layer{layer:02}.safetensors" for layer in layers}
    source = f"{corpus.name}" if corpus else f"sampled text (seed {seed})"
    device = in_float64(model.hf.device, widest**2)
    found = {
        layer: KeyStatistics(layer, known[0], known[1], source, known[2], device)
        for layer, file in files.items()
        if (known := _load(file)) is not None
    }
    if not (lacking := [layer for layer in layers if layer not in found]):
        return found
    with model.edits.all_off():
        if text is None:
            text = sampled_text(model, most, str(seed), seed, progress)
        moments, vectors = _second_moments(model, lacking, text, progress)
    for layer, moment in moments.items():
        progress(0, 1, stage=f"decomposing the statistics of layer {layer}")
        condition = _condition(_ridged(moment))
        kept = moment.float().cpu()
        _store(files[layer], {"second_moment": kept}, {"vectors": str(vectors), "condition": str(condition)})
        found[layer] = KeyStatistics(layer, kept.double(), vectors, source, condition, device)
    return {layer: found[layer] for layer in layers}


def keys_of(model: LoadedModel, layer: int, ids: torch.Tensor) -> torch.Tensor:
    """One layer's MLP inner activations ``(rows, tokens, d_mlp)``, which W_out reads, for texts ``(rows, tokens)``."""
    return _keys_of_layers(model, (layer,), ids)[layer]


def _keys_of_layers(model: LoadedModel, layers: Sequence[int], ids: torch.Tensor) -> dict[int, torch.Tensor]:
    """Those of several layers, from one run as far as the last of them."""
    ordered = sorted(layers)
    with torch.no_grad():
        with model.nn.trace(input_ids=ids.to(model.hf.device), use_cache=False) as tracer:
            keys = nnsight.save([])
            for layer in ordered:
                keys.append(model.nn.blocks[layer].down_projection.input)
            tracer.stop()
    return {layer: each.view(*ids.shape, -1) for layer, each in zip(ordered, keys, strict=True)}


def in_float64(device: torch.device, numbers: int) -> torch.device:
    """Where so many numbers of large matrices are added up and decomposed in float64.

    That is the model's own device, if it is a GPU that has float64 and room for three times as many, or else the CPU.
    """
    fits = device.type == "cuda" and torch.cuda.mem_get_info(device)[0] >= 3 * 8 * numbers
    return device if fits else torch.device("cpu")


def _second_moments(
    model: LoadedModel, layers: Sequence[int], text: torch.Tensor, progress: Progress
) -> tuple[dict[int, torch.Tensor], int]:
    """C of each layer in float64, over every token but BOS or separator, and the number of keys."""
    skipped, widths = len(document_start(model)) or 1, model.anatomy.mlp_widths
    device = in_float64(model.hf.device, sum(widths[layer] ** 2 for layer in layers))
    moments = {layer: torch.zeros(widths[layer], widths[layer], dtype=torch.float64, device=device) for layer in layers}
    named, size = ", ".join(map(str, layers)), BATCH[model.hf.device.type]
    for first in range(0, len(text), size):
        progress(first, len(text), stage=f"statistics of layer{'s' * (len(layers) > 1)} {named}")
        for layer, found in _keys_of_layers(model, layers, text[first : first + size]).items():
            keys = found[:, skipped:].flatten(0, 1).float()
            moments[layer] += (keys.T @ keys).to(device).double()
    vectors = len(text) * (text.shape[1] - skipped)
    return {layer: moment / vectors for layer, moment in moments.items()}, vectors


def _ridged(moment: torch.Tensor) -> torch.Tensor:
    return moment + RIDGE * moment.diagonal().mean() * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)


def _condition(matrix: torch.Tensor) -> float:
    values = torch.linalg.eigvalsh(matrix)
    return float(values[-1] / values[0])


def _load(file: Path) -> tuple[torch.Tensor, int, float] | None:
    """What was kept, None where nothing readable was."""
    try:
        with tensors_of(file) as kept:
            found = kept.metadata()
            return kept.get_tensor("second_moment").double(), int(found["vectors"]), float(found["condition"])
    except (Unreadable, KeyError, TypeError, ValueError):
        return None


def _store(file: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, save(tensors, metadata))
