"""Text sampled from the model itself, for statistics and for the contexts of edits, where there is no corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.lazy import torch
from workbench.models.tokens import encode
from workbench.protocol import Progress, part, silent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TOP_K = 50
"""Sampling is among so many tokens: without a bound a small model's texts soon fall apart."""

ROWS = 64
"""Texts sampled together."""


def document_start(model: LoadedModel) -> tuple[int, ...]:
    """The token ids prepended to a text that begins a document: BOS or separator."""
    encoded = encode(model.tokenizer, Case(prompt="a", prepend="separator"))
    return encoded.ids[: encoded.prepended]


def sample(model: LoadedModel, rows: int, tokens: int, seed: int, progress: Progress = silent) -> torch.Tensor:
    """Texts ``(rows, prepended + tokens)`` that the model begins at a document's start, as token ids on the CPU.

    At temperature 1 among the `TOP_K` likeliest tokens, with random numbers of ``numpy.random.RandomState(seed)``,
    whose stream is the same on every device. Progress counts tokens.
    """
    import numpy as np

    random = np.random.RandomState(seed)
    texts = []
    for first in range(0, rows, ROWS):
        chances = torch.from_numpy(random.rand(tokens, min(ROWS, rows - first)))
        texts.append(_sample(model, chances, part(progress, first * tokens, chances.numel(), rows * tokens)))
    return torch.cat(texts)


def _sample(model: LoadedModel, chances: torch.Tensor, progress: Progress) -> torch.Tensor:
    """``chances`` ``(tokens, rows)`` are uniform random numbers, one for each token."""
    tokens, rows = chances.shape
    start = document_start(model)
    ids = torch.tensor([start or (0,)] * rows)
    inputs, cache = ids.to(model.hf.device), None
    with torch.no_grad():
        for number in range(tokens):
            progress(number * rows, tokens * rows, stage="sampling text")
            output = model.hf(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            top = output.logits[:, -1].float().cpu().topk(min(TOP_K, model.info.vocabulary))
            cumulative = top.values.double().softmax(dim=-1).cumsum(dim=-1)
            place = (
                (cumulative < chances[number, :, None]).sum(dim=-1, keepdim=True).clamp(max=top.indices.shape[-1] - 1)
            )
            drawn = top.indices.gather(-1, place)
            ids = torch.cat([ids, drawn], dim=1)
            inputs = drawn.to(model.hf.device)
    return ids
