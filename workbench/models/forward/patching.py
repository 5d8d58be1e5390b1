"""Attribution patching: what replacing any state would do, estimated for all of them by one backward pass.

Nanda, "Attribution Patching" (2023). The gradient is taken at the runs that are changed: in a causal trace at the
corrupted ones, as at the clean one, where the answer is nearly certain, it says little.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from workbench.lazy import nnsight, torch
from workbench.memory import in_batches
from workbench.models.anatomy import tensor_of
from workbench.models.forward.runs import LogitMeasure, Part, Run

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

BUDGET = 2**30
"""Bytes of activations held at once for the backward pass."""

Site = Literal["states"] | Part


def first_order(
    model: LoadedModel, runs: Run, goals: Mapping[Site, torch.Tensor], read: LogitMeasure
) -> dict[Site, torch.Tensor]:
    """How much would be added to what is read by putting ``goals`` in place of what stands in ``runs``.

    ``goals`` are ``(layers, tokens, d_model)`` for block outputs, attention and MLP; so are the effects, without the
    last dimension: gradient at each run times (goal − what is there), summed over d_model, the mean over runs. Raises
    `OutOfMemory` where not even one run fits.
    """
    total = {place: torch.zeros(goal.shape[:2], device=goal.device) for place, goal in goals.items()}

    def work(rows: list[int]) -> None:
        reached, slopes = gradients(model, runs.rows(slice(rows[0], rows[-1] + 1)), read)
        for place, goal in goals.items():
            change = goal[:, None] - reached[place]
            total[place] += (slopes[place].float() * change.float()).sum(dim=(1, 3))

    bytes_each = bytes_of_gradients(model, runs.tokens)
    rows = range(len(runs.ids))
    for _ in in_batches(rows, max(1, BUDGET // bytes_each), work, bytes_each):
        pass
    return {place: effect / len(rows) for place, effect in total.items()}


def gradients(
    model: LoadedModel, run: Run, read: LogitMeasure
) -> tuple[dict[Site, torch.Tensor], dict[Site, torch.Tensor]]:
    """Values and gradients of what is read, each ``(layers, rows, tokens, d_model)``."""
    n_rows = len(run.ids)
    with torch.enable_grad():
        with model.nn.trace(input_ids=run.ids, use_cache=False) as tracer:
            states = nnsight.save([])
            attention = nnsight.save([])
            mlp = nnsight.save([])
            model.nn.embedding.output = (model.nn.embedding.output + run.added).requires_grad_()
            for block in model.nn.blocks:
                if model.anatomy.attention:
                    attention.append(_first(block.attention.output))
                if model.anatomy.mlp:
                    mlp.append(_first(block.mlp.output))
                states.append(_first(block.output))
            tracer.stop()
        outputs: dict[Site, list[torch.Tensor]] = {
            "states": list(states),
            "attention": list(attention),
            "mlp": list(mlp),
        }
        value = read(model.unembed(states[-1][:, -1])).sum()
        flat = [tensor for tensors in outputs.values() for tensor in tensors]
        slopes = iter(torch.autograd.grad(value, flat))

    def stacked(tensors: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([tensor_of(tensor, n_rows) for tensor in tensors]).detach()

    reached = {place: stacked(tensors) for place, tensors in outputs.items()}
    return reached, {place: stacked([next(slopes) for _ in tensors]) for place, tensors in outputs.items()}


def _first(output: Any) -> torch.Tensor:
    """The tensor of an output as it is in the graph: a view of it would have no gradient."""
    tensor: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def bytes_of_gradients(model: LoadedModel, tokens: int) -> int:
    """About what one run keeps for its backward pass: a dozen states, six MLP widths and the scores a block."""
    anatomy, info = model.anatomy, model.info
    a_token = 12 * info.d_model + 6 * anatomy.d_mlp + anatomy.heads * tokens
    return int(info.layers * tokens * a_token * model.hf.dtype.itemsize)
