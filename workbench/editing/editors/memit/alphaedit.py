"""AlphaEdit: as MEMIT, but within the directions that other text hardly uses, and sparing the keys of earlier edits.

Fang et al. 2024, "AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models" (arXiv 2410.02355). Each
edit carries the keys that it was made for (`workbench.editing.changes.KeyedChange`), so those of earlier ones that are
on are known wherever the edits came from: from this process, a session or a patch.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.editing.changes import KeyedChange, WeightUpdate
from workbench.editing.editor import Capacity, Cases, Editor, Made
from workbench.editing.editors.key_statistics import KeyStatistics
from workbench.editing.editors.memit.details import SpreadDetails
from workbench.editing.editors.memit.figures import spread_figures
from workbench.editing.editors.memit.making import Solver, fits
from workbench.editing.editors.memit.making import make as make_with
from workbench.editing.editors.memit.null_space import null_space
from workbench.editing.editors.memit.settings import SpreadSettings
from workbench.editing.editors.memit.solve import Keys, alphaedit, directions, held, kept_keys
from workbench.editing.gates import gate
from workbench.editing.layers import where_several
from workbench.editing.rewriting import rewrites
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

FULL = 0.8
"""The part of a layer's free directions in use above which the trust strip warns."""


class AlphaEditSettings(SpreadSettings):
    """``energy`` is the part of other text's keys, by their squared length, in whose directions nothing changes.

    Published is an absolute threshold of 2e-2 on eigenvalues, which calls three quarters of the default model's
    directions free; and an ``l2`` of 10, or of 1.
    """

    energy: Annotated[
        float, Field(gt=0, lt=1, description="The part of other text's key energy that is left alone.")
    ] = 0.95
    l2: Annotated[float, Field(ge=0, description="Ridge of the system: more keeps the change small.")] = 1.0


def make(model: LoadedModel, cases: Cases, settings: AlphaEditSettings, progress: Progress) -> Made:
    """The changes W ← W + R KᵀP (K₁K₁ᵀP + K KᵀP + λI)⁻¹ of all layers.

    Raises `InputError` where no direction is free, `workbench.errors.NumericalError` where a system is singular or
    numbers are not finite.
    """
    return make_with("alphaedit", model, cases, settings, partial(_Solving, settings, progress), progress)


class _Solving(Solver):
    """The null spaces of all layers, and what is in use of them as the layers are solved."""

    def __init__(
        self,
        settings: AlphaEditSettings,
        progress: Progress,
        model: LoadedModel,
        statistics: dict[int, KeyStatistics],
    ) -> None:
        self._l2 = settings.l2
        self._spaces = {layer: null_space(model, each, settings.energy, progress) for layer, each in statistics.items()}
        self._earlier = {layer: earlier_keys(model, layer) for layer in statistics}
        self._capacity: list[Capacity] = []
        for layer, space in self._spaces.items():
            if not space.basis.shape[1]:
                raise InputError(
                    f"no direction of layer {layer} is left where {settings.energy:g} of the key energy is kept; use "
                    "a smaller energy"
                )

    def change(self, layer: int, lacking: Tensor, keys: Keys) -> WeightUpdate:
        """Two factors, of a rank no larger than the residual stream is wide, and the keys."""
        basis, earlier = self._spaces[layer].basis.to(keys.columns), self._earlier[layer].to(keys.columns)
        used = directions(held(keys, basis, earlier), self._l2)
        self._capacity.append(Capacity(layer=layer, free=basis.shape[1], used=round(used, 1)))
        left, right = lacking, alphaedit(keys, basis, earlier, self._l2)
        if left.shape[1] > len(left):
            left, right = torch.eye(len(left), dtype=left.dtype, device=left.device), right @ left.T
        parts = (left, right, kept_keys(keys, basis))
        return KeyedChange(layer, *(part.float().cpu().contiguous() for part in parts))

    @property
    def capacity(self) -> tuple[Capacity, ...]:
        """What is in use of each layer's free directions."""
        return tuple(self._capacity)

    @property
    def checks(self) -> tuple[Check, ...]:
        """The fullest layer, and the least energy that is kept."""
        fullest = max(self._capacity, key=lambda each: each.share)
        text = f"{fullest.used:.0f} of {fullest.free} directions used at layer {fullest.layer}"
        kept = min(self._spaces.values(), key=lambda space: space.kept).kept
        return (gate("capacity", f"{text}, {kept:.1%} of key energy left alone", fullest.used > FULL * fullest.free),)


def earlier_keys(model: LoadedModel, layer: int) -> Tensor:
    """The keys ``(d_mlp, held)`` at one layer of the edits that are on and carry theirs."""
    changes = [change for edit in model.edits.applied for change in edit.changes]
    kept = [change.keys.double() for change in changes if isinstance(change, KeyedChange) and change.layer == layer]
    return torch.cat([torch.zeros(model.anatomy.mlp_widths[layer], 0, dtype=torch.float64), *kept], dim=1)


ALPHAEDIT = Editor(
    "alphaedit",
    "AlphaEdit",
    "fact",
    AlphaEditSettings,
    SpreadDetails,
    rewrites,
    fits,
    make,
    spread_figures,
    many=True,
    measured=("energy", "l2"),
    where=where_several,
)
