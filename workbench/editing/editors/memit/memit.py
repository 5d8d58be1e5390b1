"""MEMIT: rewrite many facts at once by changes of the down-projections of several layers.

Meng et al. 2023, "Mass-Editing Memory in a Transformer" (arXiv 2210.07229), with the key of every context made to
receive the change, not only their mean.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.editing.changes import DenseChange, WeightChange, WeightUpdate
from workbench.editing.editor import Cases, Editor, Made
from workbench.editing.editors.key_statistics import KeyStatistics
from workbench.editing.editors.memit import solve
from workbench.editing.editors.memit.details import SpreadDetails
from workbench.editing.editors.memit.figures import spread_figures
from workbench.editing.editors.memit.making import Solver, fits
from workbench.editing.editors.memit.making import make as make_with
from workbench.editing.editors.memit.settings import SpreadSettings
from workbench.editing.rewriting import rewrites
from workbench.protocol import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


class MemitSettings(SpreadSettings):
    """``covariance_weight`` is λ: what other keys' second moment weighs beside the facts' keys.

    Published: 15,000 for models of 6 billion and more; of a single edit of the default model that writes a fifth.
    """

    covariance_weight: Annotated[
        float, Field(ge=0, description="Weight of what other text's keys receive: more keeps more and writes less.")
    ] = 1500.0


def make(model: LoadedModel, cases: Cases, settings: MemitSettings, progress: Progress) -> Made:
    """The changes W ← W + R Kᵀ (λC + K Kᵀ)⁻¹ of all layers.

    Raises `workbench.errors.NumericalError` where λ leaves a system singular or numbers are not finite.
    """
    return make_with("memit", model, cases, settings, partial(_solver, settings), progress)


def _solver(
    settings: MemitSettings, model: LoadedModel, _: SpreadSettings, statistics: dict[int, KeyStatistics]
) -> Solver:
    del model

    def solved(layer: int, keys: solve.Keys) -> Tensor:
        moment = statistics[layer].ridged.to(keys.columns.device)
        return solve.memit(keys, moment, settings.covariance_weight)

    return Solver(solved, packed)


def packed(layer: int, left: Tensor, right: Tensor, _: solve.Keys) -> WeightUpdate:
    """left rightᵀ as what takes fewer bytes, two factors or their product."""
    if left.numel() + right.numel() < len(left) * len(right):
        return WeightChange(layer, left.float().cpu().contiguous(), right.float().cpu().contiguous())
    return DenseChange(layer, (left @ right.T).float().cpu())


MEMIT = Editor("memit", "MEMIT", "fact", MemitSettings, SpreadDetails, rewrites, fits, make, spread_figures, many=True)
