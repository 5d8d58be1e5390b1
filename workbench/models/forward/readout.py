"""How the model reads logits from its last state, with the final norm's scale frozen: an affine map.

Both layer norm and RMS norm are N(x) = γ ⊙ C x / s(x) + β, where C takes the mean away or does nothing. With s held
at its value for one state, all that follows the last block is affine, so that a logit is a sum over whatever the
state is a sum of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.loading import LoadedModel

PROBE = 16.0
"""Entries of the state by which γ is measured: a power of two, and so large that the norm's ε does not count."""

MISFIT = {"float32": 1e-3, "float64": 1e-3}
"""Largest relative difference at which N(x) passes as γ ⊙ C x / s + β, by dtype."""

MISFIT_OF_HALF = 0.05


@dataclass(frozen=True, eq=False)
class Readout:
    """A logit, or a difference of two, as ``direction · x + bias``; ``direction`` is (d_model,) in float64.

    ``scale`` is the final norm's s at the state where it is frozen (1 for a model without a final norm). The softcap
    of a model that has one comes after this.
    """

    direction: Tensor
    bias: float
    scale: float


def frozen_readout(model: LoadedModel, state: Tensor, target: int, foil: int | None) -> Readout:
    """The target's logit, minus the foil's if there is one, around ``state`` ``(d_model,)``, the last block's output.

    Raises `ModelError` where the final norm is neither a layer norm nor an RMS norm.
    """
    anatomy = model.anatomy
    unembedding = anatomy.module(model.hf, anatomy.unembedding)
    direction, bias = _row(unembedding, target)
    if foil is not None:
        other, its_bias = _row(unembedding, foil)
        direction, bias = direction - other, bias - its_bias
    if anatomy.projection:
        projection = anatomy.module(model.hf, anatomy.projection)
        bias = bias + (0.0 if projection.bias is None else float(direction @ _double(projection.bias)))
        direction = direction @ _double(projection.weight)
    scale = 1.0
    if anatomy.final_norm:
        norm = measured_norm(anatomy.module(model.hf, anatomy.final_norm), state, model)
        bias = bias + float(direction @ norm.bias)
        direction, scale = norm.transposed(direction), norm.scale
    return Readout(direction * anatomy.logit_scale, bias * anatomy.logit_scale, scale)


@dataclass(frozen=True, eq=False)
class MeasuredNorm:
    """N(x) = gain ⊙ C x / scale + bias; ``centred`` says that C takes the mean away."""

    gain: Tensor
    bias: Tensor
    centred: bool
    scale: float

    def without_bias(self, states: Tensor) -> Tensor:
        """gain ⊙ C x / scale of states ``(..., d_model)``: linear, as the scale is held."""
        doubled = states.double()
        return self.gain * (doubled - doubled.mean(dim=-1, keepdim=True) if self.centred else doubled) / self.scale

    def transposed(self, direction: Tensor) -> Tensor:
        """What is to be multiplied by x in place of multiplying N(x) by ``direction``."""
        found = self.gain * direction / self.scale
        return found - found.mean() if self.centred else found


def measured_norm(norm: Module, state: Tensor, model: LoadedModel, what: str = "the final norm") -> MeasuredNorm:
    """What a norm does, by its answers to four states: it may keep γ as it is, as γ − 1, or not at all.

    The scale is held at ``state`` ``(d_model,)``, what the norm reads. Raises `ModelError` for a norm of another kind.
    """

    def answer(to: Tensor) -> Tensor:
        with torch.no_grad():
            return _double(norm(to.to(state.dtype)[None, None])[0, 0])

    signs = torch.ones_like(state, dtype=torch.float64)
    signs[1::2] = -1
    bias = answer(torch.zeros_like(signs))
    probed = answer(PROBE * signs)
    gain = (probed - bias) * signs
    centred = torch.allclose(answer(PROBE * signs + PROBE), probed, rtol=1e-2, atol=1e-2)
    found = answer(state) - bias
    inner = gain * (_double(state) - (_double(state).mean() if centred else 0))
    inverse = float(found @ inner / (inner @ inner))
    misfit = float((found - inverse * inner).abs().max() / found.abs().max())
    if not misfit <= MISFIT.get(model.info.dtype, MISFIT_OF_HALF):
        raise ModelError(
            f"{what} of {model.info.name} is neither a layer norm nor an RMS norm (off by {misfit:.0e}), so "
            "logits are no sum over layers; use another model to take logits apart"
        )
    return MeasuredNorm(gain, bias, centred, 1 / inverse)


def _row(unembedding: Module, token: int) -> tuple[Tensor, float]:
    bias = getattr(unembedding, "bias", None)
    return _double(unembedding.weight[token]), 0.0 if bias is None else float(bias[token])  # type: ignore[index]


def _double(tensor: Any) -> Tensor:
    doubled: Tensor = tensor.detach().double()
    return doubled
