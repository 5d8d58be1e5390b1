"""What heads write into the residual stream, as the unembedding reads it with the final norm's scale frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.lazy import torch
from workbench.models.forward.attending import written_by_head
from workbench.models.forward.readout import measured_norm
from workbench.models.tokens import token_text

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

AFTER_ATTENTION = "the norm after attention"


def added_by_head(model: LoadedModel, layer: int, read: Tensor) -> tuple[Tensor, Tensor]:
    """What each head of a layer adds to the residual stream ``(heads, d_model)``, and what belongs to none
    ``(d_model,)``, in float64.

    ``read`` ``(heads, head width)`` is what W_O reads at one token. Where a norm follows W_O its scale is frozen, so
    that the heads' parts add up. Raises `ModelError` for a norm of a kind that is not known.
    """
    by_head, bias = written_by_head(model, layer, read[None])
    if not model.heads.normed:
        return by_head[0], bias
    whole = (by_head[0].sum(dim=0) + bias).to(read.dtype)
    norm = measured_norm(model.attention(layer), whole, model, AFTER_ATTENTION)
    return norm.without_bias(by_head[0]), norm.without_bias(bias) + norm.bias


def vocabulary_logits(model: LoadedModel, last: Tensor, added: Tensor) -> Tensor:
    """What something added to the residual stream ``(d_model,)`` adds to every token's logit ``(vocabulary,)``.

    ``last`` ``(d_model,)`` is the state after the last block, by which the final norm's scale is frozen.
    """
    anatomy = model.anatomy
    states = added.double()
    if anatomy.final_norm:
        norm = measured_norm(anatomy.module(model.hf, anatomy.final_norm), last, model)
        states = norm.without_bias(states)
    with torch.no_grad():
        if anatomy.projection:
            projection = anatomy.module(model.hf, anatomy.projection)
            states = states @ projection.weight.double().T  # type: ignore[operator]
        weight = anatomy.module(model.hf, anatomy.unembedding).weight
        logits: Tensor = (weight @ states.to(weight.dtype)).double()  # type: ignore[operator, arg-type]
    return logits * anatomy.logit_scale


def top_tokens(model: LoadedModel, logits: Tensor, count: int) -> tuple[tuple[str, float], ...]:
    """The tokens whose logits are raised most, with by how much."""
    values, ids = logits.topk(min(count, len(logits)))
    return tuple(
        (token_text(model.tokenizer, int(token)), float(f"{value:.4g}"))
        for value, token in zip(values.tolist(), ids.tolist(), strict=True)
    )
