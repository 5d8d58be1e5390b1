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
from workbench.editing.editors.memit.details import SpreadDetails
from workbench.editing.editors.memit.figures import spread_figures
from workbench.editing.editors.memit.making import Solver, fits
from workbench.editing.editors.memit.making import make as make_with
from workbench.editing.editors.memit.settings import SpreadSettings
from workbench.editing.editors.memit.solve import Keys, memit
from workbench.editing.layers import where_several
from workbench.editing.rewriting import rewrites
from workbench.protocol import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


class MemitSettings(SpreadSettings):
    """``covariance`` is λ: what other keys' second moment weighs beside the facts' keys.

    Published: 15,000 for models of 6 billion and more; of a single edit of the default model that writes a fifth.
    """

    covariance: Annotated[
        float,
        Field(ge=0, description="Weight (λ) of what other text's keys receive: more keeps more and writes less."),
    ] = 1500.0


def make(model: LoadedModel, cases: Cases, settings: MemitSettings, progress: Progress) -> Made:
    """The changes W ← W + R Kᵀ (λC + K Kᵀ)⁻¹ of all layers.

    Raises `workbench.errors.NumericalError` where λ leaves a system singular or numbers are not finite.
    """
    return make_with("memit", model, cases, settings, partial(_Solving, settings), progress)


class _Solving(Solver):
    """Against the second moment of other text's keys."""

    def __init__(self, settings: MemitSettings, _: LoadedModel, statistics: dict[int, KeyStatistics]) -> None:
        self._settings, self._statistics = settings, statistics

    def change(self, layer: int, lacking: Tensor, keys: Keys) -> WeightUpdate:
        """What takes fewer bytes, two factors or their product."""
        moment = self._statistics[layer].ridged.to(keys.columns.device)
        right = memit(keys, moment, self._settings.covariance)
        if lacking.numel() + right.numel() < len(lacking) * len(right):
            return WeightChange(layer, lacking.float().cpu().contiguous(), right.float().cpu().contiguous())
        return DenseChange(layer, (lacking @ right.T).float().cpu())


MEMIT = Editor(
    "memit",
    "MEMIT",
    "fact",
    MemitSettings,
    SpreadDetails,
    rewrites,
    fits,
    make,
    spread_figures,
    many=True,
    tried="weights",
    measured=("covariance",),
    where=where_several,
)
