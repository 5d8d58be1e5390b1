"""What a row of a lens comes to, in tensors. It uses nothing but their methods: its source is sent to remote models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def row_numbers(logits: Tensor, final: Tensor, top_k: int, watched: tuple[int, ...]) -> dict[str, Tensor]:
    """Of logits ``(…, vocabulary)``, and those of the last row in the same shape or one that is broadcast to it.

    ``top`` and ``top_p`` ``(…, top_k)``, ``entropy`` in bits and ``kl`` (final ‖ row) in nats ``(…)``; and of the
    ``watched`` tokens ``logit``, ``p`` and ``rank`` (1 is the top), ``(…, watched)``.
    """
    log_p, last = logits.log_softmax(dim=-1), final.log_softmax(dim=-1)
    p = log_p.exp()
    top = p.topk(min(top_k, p.shape[-1]), dim=-1)
    entropy = -(p * log_p).nan_to_num(0.0).sum(dim=-1) / math.log(2)  # 0 · log 0 counts as 0
    kl = (last.exp() * (last - log_p)).nan_to_num(0.0).sum(dim=-1)
    followed = logits[..., list(watched)]
    rank = (logits[..., None, :] > followed[..., None]).sum(dim=-1) + 1
    return {
        "top": top.indices,
        "top_p": top.values,
        "entropy": entropy.clamp(min=0) + 0.0,  # and −0 is 0
        "kl": kl.clamp(min=0),
        "logit": followed,
        "p": p[..., list(watched)],
        "rank": rank,
    }
