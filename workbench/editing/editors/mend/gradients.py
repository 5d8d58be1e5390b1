"""The fine-tuning gradient of down-projections, in the factors that it is made of, and low-rank changes for a batch.

The gradient of a loss by a matrix W is Σ δᵢ uᵢᵀ over the tokens, with uᵢ the matrix's input and δᵢ the gradient by its
output. MEND (Mitchell et al. 2022, arXiv 2110.11309, section 3.1) maps these factors, which are short, and never the
matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from workbench.lazy import torch
from workbench.models.forward.upper import Continued, UpperLayers, log_probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

Factors = Mapping[int, tuple["Tensor", "Tensor"]]
"""By layer, for a batch of edits: ``left`` ``(edits, tokens, d_model)`` and ``right`` ``(edits, tokens, d_mlp)``, whose
sum of products left rightᵀ over the tokens is a matrix as the down-projection is. Float32."""


def gradients(model: LoadedModel, layers: Sequence[int], upper: UpperLayers, asked: Sequence[Continued]) -> Factors:
    """The factors (δ, u) of the gradient of each edit's loss by the down-projections of some layers.

    The loss is the mean negative log-probability (nats) of the target's tokens. Padding has the gradient 0.
    """
    inputs: dict[int, Tensor] = {}
    added: dict[int, Tensor] = {}
    rows = len(asked)

    def adding(layer: int) -> Any:
        def hook(_module: Any, args: Any, output: Tensor) -> Tensor:
            inputs[layer] = args[0].detach()
            added[layer] = torch.zeros_like(output, requires_grad=True)
            return output + added[layer]

        return hook

    with ExitStack() as hooks, torch.enable_grad():
        for layer in layers:
            hooks.callback(model.down_projection(layer).register_forward_hook(adding(layer)).remove)
        states = upper.states([each.row for each in asked])
        loss = -torch.stack([each.mean() for each in log_probabilities(model, states, asked)]).sum()
        found = torch.autograd.grad(loss, [added[layer] for layer in layers])
    return {
        layer: (by_output.float().view(rows, -1, by_output.shape[-1]), _by_row(inputs[layer], rows))
        for layer, by_output in zip(layers, found, strict=True)
    }


def norms(factors: tuple[Tensor, Tensor]) -> Tensor:
    """The Frobenius norm of each edit's Σ left rightᵀ ``(edits,)``, without computing any such matrix."""
    left, right = (each @ each.transpose(1, 2) for each in factors)
    return (left * right).sum(dim=(1, 2)).clamp(min=0).sqrt()


@contextmanager
def edited(model: LoadedModel, changes: Factors, owners: Sequence[int]) -> Iterator[None]:
    """While the model runs, each row has the change of one edit of a batch: ``owners`` says of which.

    Gradients reach the factors.
    """
    with ExitStack() as hooks:
        for layer, (left, right) in changes.items():
            own = torch.tensor(owners, device=left.device)
            hook = model.down_projection(layer).register_forward_hook(_changing(left[own], right[own]))
            hooks.callback(hook.remove)
        yield


def _changing(left: Tensor, right: Tensor) -> Any:
    """A hook that adds left rightᵀ x to the output for an input x, row by row."""

    def hook(_module: Any, args: Any, output: Tensor) -> Tensor:
        change = _by_row(args[0], len(left)) @ right.transpose(1, 2) @ left
        return output + change.view(output.shape).to(output.dtype)

    return hook


def _by_row(tensor: Tensor, rows: int) -> Tensor:
    """As ``(rows, tokens, width)`` in float32, whatever way round tokens are flattened."""
    return tensor.float().view(rows, -1, tensor.shape[-1])
