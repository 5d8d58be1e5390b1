"""Text sampled from the model itself, for statistics and for the contexts of edits, where there is no corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.lazy import torch
from workbench.models.forward.decoding import generate
from workbench.models.tokens import encode
from workbench.protocol import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

TOP_K = 50
"""Sampling is among so many tokens: without a bound a small model's texts soon fall apart."""

NUMBERS = 64
"""Random numbers are drawn for so many texts at a time, however many go together on this device."""


def document_start(model: LoadedModel) -> tuple[int, ...]:
    """The token ids prepended to a text that begins a document: BOS or separator."""
    encoded = encode(model.tokenizer, Case(prompt="a", prepend="separator"))
    return encoded.ids[: encoded.prepended]


def sample(model: LoadedModel, rows: int, tokens: int, seed: int, progress: Progress = silent) -> Tensor:
    """Texts ``(rows, prepended + tokens)`` that the model begins after BOS or separator, as token ids on the CPU.

    At temperature 1 among the `TOP_K` likeliest tokens, with random numbers of ``numpy.random.RandomState(seed)``,
    whose stream is the same on every device. Progress counts tokens.
    """
    import numpy as np

    random = np.random.RandomState(seed)
    chances = [random.rand(tokens, min(NUMBERS, rows - first)) for first in range(0, rows, NUMBERS)]

    def choose(rows: Sequence[int], at: Sequence[int], logits: Tensor) -> list[int]:
        places = zip(rows, at, strict=True)
        return drawn(logits, TOP_K, [float(chances[row // NUMBERS][step, row % NUMBERS]) for row, step in places])

    start = document_start(model) or (0,)
    texts = generate(model, [start] * rows, tokens, choose, progress, "sampling text")
    return torch.tensor([start + text for text in texts])


def drawn(logits: Tensor, among: int, chances: Sequence[float], never: Sequence[int] = ()) -> list[int]:
    """For each text the token at which the probabilities of its likeliest ones, added up, reach its chance from 0 to 1.

    ``logits`` is ``(texts, vocabulary)``. Tokens that are ``never`` drawn are not ``among`` the likeliest.
    """
    if never:
        logits = logits.index_fill(-1, torch.tensor(never, device=logits.device), -torch.inf)
    top = logits.topk(min(among, logits.shape[-1] - len(never)))
    sums = top.values.cpu().double().softmax(dim=-1).cumsum(dim=-1)  # on the CPU the same on every machine
    reached = (sums < torch.tensor(chances, dtype=torch.float64)[:, None]).sum(dim=-1, keepdim=True)
    found: list[int] = top.indices.cpu().gather(-1, reached.clamp(max=sums.shape[-1] - 1)).flatten().tolist()
    return found


def sampled(logits: Tensor, temperature: float, top_p: float, chance: float) -> int:
    """The token that is drawn by ``chance``, from 0 to 1, of ``logits`` ``(vocabulary,)`` over ``temperature``.

    Only the likeliest tokens that together have ``top_p`` of the probability are drawn from: nucleus sampling
    (Holtzman et al. 2020, arXiv 1904.09751). Temperature 0 is the first choice.
    """
    if temperature == 0:
        return int(logits.argmax())
    ordered = (logits.double() / temperature).softmax(dim=-1).sort(descending=True)
    sums = ordered.values.cumsum(dim=-1)
    many = min(int((sums < top_p).sum()), len(sums) - 1) + 1
    return int(ordered.indices[min(int((sums[:many] < chance * sums[many - 1]).sum()), many - 1)])
