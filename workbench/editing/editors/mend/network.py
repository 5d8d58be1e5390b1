"""The hypernetwork of MEND: from the factors of a gradient to those of an edit.

Mitchell et al. 2022, "Fast Model Editing at Scale" (arXiv 2110.11309), section 3. One network serves all layers, as
their down-projections have one shape, with a scale and an offset for each layer; residual, of low rank, on normalised
inputs. Two things differ: what it adds is added to the gradient's own factors, not to the normalised ones, so that an
untrained network's edit is exactly a step of gradient descent; and the nonlinearity is GELU in the first layer and none
in the second, as a ReLU has no slope at 0, where both begin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.editing.editors.mend.gradients import Factors, norms
from workbench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

FIRST_STEP = 0.01
"""How large the mean edit of an untrained network is, in norms of the matrix. Training halves it until it is best."""

OUTLIERS = 10.0
"""Standard deviations beyond which normalised inputs are cut: the first token of a text is often far out there."""

LEARNED = ("down_1", "up_1", "bias_1", "scale_1", "offset_1", "down_2", "up_2", "scale_2", "offset_2", "log_step")
GIVEN = ("mean", "deviation")


@dataclass(frozen=True, eq=False)
class Network:
    """``tensors`` are those of `LEARNED` and `GIVEN`; ``layers`` those that are edited, lowest first.

    With d = d_model + d_mlp: ``down`` ``(rank, d)``, ``up`` ``(d, rank)``, ``bias`` ``(d,)``; ``scale``, ``offset``,
    ``mean`` and ``deviation`` ``(layers, d)``; ``log_step`` ``(layers,)``, the logarithm of each layer's step size.
    """

    layers: tuple[int, ...]
    tensors: Mapping[str, Tensor]

    @property
    def learned(self) -> dict[str, Tensor]:
        """What training changes."""
        return {name: self.tensors[name] for name in LEARNED}

    def edits(self, gradient: Factors) -> dict[int, tuple[Tensor, Tensor]]:
        """The factors of each edit's changes, signs and step sizes included.

        Tokens of which the loss does not depend have no part in it.
        """
        found = {}
        for place, layer in enumerate(self.layers):
            left, right = gradient[layer]
            live = (left != 0).any(dim=-1)
            factors = torch.cat([left[live], right[live]], dim=-1)
            mapped = factors + self.tensors["deviation"][place] * self._added(factors, place)
            new = torch.zeros(*live.shape, mapped.shape[-1], device=mapped.device).index_put((live,), mapped)
            step = self.tensors["log_step"][place].exp()
            found[layer] = (-step * new[..., : left.shape[-1]], new[..., left.shape[-1] :])
        return found

    def _added(self, factors: Tensor, place: int) -> Tensor:
        """What is added to factors ``(tokens, d)`` of one layer, in standard deviations."""
        of = self.tensors
        z = ((factors - of["mean"][place]) / of["deviation"][place]).clamp(-OUTLIERS, OUTLIERS)
        first = (z @ of["down_1"].T) @ of["up_1"].T + of["bias_1"]
        h = z + torch.nn.functional.gelu(of["scale_1"][place] * first + of["offset_1"][place])
        second = (h @ of["down_2"].T) @ of["up_2"].T
        return h - z + of["scale_2"][place] * second + of["offset_2"][place]


def shapes(model: LoadedModel, layers: tuple[int, ...], rank: int) -> dict[str, tuple[int, ...]]:
    """Those of a network's tensors, for layers of one width."""
    d = model.info.d_model + model.anatomy.mlp_widths[layers[0]]
    by_layer = dict.fromkeys(("scale_1", "offset_1", "scale_2", "offset_2", "mean", "deviation"), (len(layers), d))
    matrices = {"down_1": (rank, d), "up_1": (d, rank), "down_2": (rank, d), "up_2": (d, rank)}
    return {**matrices, "bias_1": (d,), "log_step": (len(layers),), **by_layer}


def untrained(model: LoadedModel, layers: tuple[int, ...], rank: int, seed: int, sample: list[Factors]) -> Network:
    """A network that maps every gradient to itself, with normalisation and first step sizes from a sample of them."""
    device = model.hf.device
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.zeros(shape) for name, shape in shapes(model, layers, rank).items()}
    for name in ("down_1", "down_2"):
        tensors[name] = torch.randn(tensors[name].shape, generator=generator) / tensors[name].shape[1] ** 0.5
    for name in ("scale_1", "scale_2"):
        tensors[name] = torch.ones_like(tensors[name])
    for place, layer in enumerate(layers):
        live = torch.cat(
            [torch.cat(factors[layer], dim=-1)[(factors[layer][0] != 0).any(dim=-1)] for factors in sample]
        )
        deviation = live.std(dim=0, correction=0)
        sizes = (deviation[: model.info.d_model], deviation[model.info.d_model :])
        least = torch.cat([(each.mean() / 1000).clamp(min=1e-12).expand_as(each) for each in sizes])
        tensors["mean"][place], tensors["deviation"][place] = live.mean(dim=0), torch.maximum(deviation, least)
        weight = model.down_projection(layer).weight
        assert isinstance(weight, torch.Tensor)
        norm = float(torch.cat([norms(factors[layer]) for factors in sample]).mean())
        tensors["log_step"][place] = float(torch.log(FIRST_STEP * weight.float().norm() / max(norm, 1e-12)))
    return Network(layers, {name: tensor.to(device) for name, tensor in tensors.items()})
