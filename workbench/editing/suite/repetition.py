"""Whether a model still writes or only repeats: text generated from prompts, and the entropy of its n-grams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.errors import InputError, NumericalError
from workbench.lazy import torch
from workbench.models.tokens import encode
from workbench.protocol import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

TOP_K = 5
"""Sampling is among so many tokens, as published."""

WEIGHTS = {2: 2 / 3, 3: 4 / 3}
"""What the entropies of 2-grams and 3-grams count for, as published."""


def ngram_entropy(texts_of_token_ids: Sequence[Sequence[int]]) -> float:
    """Mean over texts of the weighted entropy of their 2- and 3-grams, in bits; low where a text repeats itself.

    (2/3 H₂ + 4/3 H₃) / 2 as in Meng et al. 2022 (arXiv 2202.05262), section 3.4 ("fluency"), but of the model's
    tokens, where the published code counts words. It grows with the length of the texts, so compare equal lengths.
    Raises `InputError` for no text, or one of fewer than 3 tokens.
    """
    if not texts_of_token_ids or min(map(len, texts_of_token_ids)) < max(WEIGHTS):
        raise InputError(f"the repetition of text is measured on texts of {max(WEIGHTS)} tokens or more")
    return fmean(fmean(weight * _entropy(text, n) for n, weight in WEIGHTS.items()) for text in texts_of_token_ids)


def _entropy(text: Sequence[int], n: int) -> float:
    """Entropy of the n-grams' frequencies, in bits."""
    counts = Counter(tuple(text[at : at + n]) for at in range(len(text) - n + 1))
    total = counts.total()
    return -sum(count / total * math.log2(count / total) for count in counts.values())


def generate(
    model: LoadedModel, prompts: Sequence[str], tokens: int = 50, seed: int = 0, progress: Progress = silent
) -> list[list[int]]:
    """Continue each prompt by ``tokens`` tokens, after BOS or separator, sampled among the 5 likeliest.

    Returns the new tokens only. Tokens that end a text are not drawn, so that all texts have the same length. The
    random numbers of a prompt come from ``numpy.random.RandomState(seed)`` by its place in the list, on any device.
    Raises `InputError` for a prompt that leaves no room in the model's context, `NumericalError` for NaN logits.
    """
    import numpy as np

    cases = [Case(prompt=prompt, prepend="separator") for prompt in prompts]
    texts = [list(encode(model.tokenizer, case, model.info.context).ids) for case in cases]
    lengths = [len(text) for text in texts]
    if lengths and max(lengths) + tokens > model.info.context:
        raise InputError(
            f"a prompt to generate from has {max(lengths)} tokens, and {tokens} more do not fit into the model's "
            f"{model.info.context}; shorten it"
        )
    chances = np.random.RandomState(seed).random_sample((len(prompts), tokens))
    never = _end_tokens(model)
    # All rows begin with as many tokens as the shortest has and go on together, so that no row needs padding: a row
    # whose prompt is longer is given its own next token where others are given a drawn one.
    at, cache = min(lengths, default=0), None
    step = torch.tensor([text[:at] for text in texts], device=model.hf.device)
    with torch.no_grad():
        while any(len(text) < length + tokens for text, length in zip(texts, lengths, strict=True)):
            progress(at, max(lengths) + tokens, stage="generating text")
            output = model.hf(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            top = _likeliest(output.logits[:, -1].float(), never)
            for row, text in enumerate(texts):
                drawn = len(text) - lengths[row]
                if at == len(text) and drawn < tokens:
                    text.append(_draw(top, row, float(chances[row, drawn])))
            step = torch.tensor([[text[min(at, len(text) - 1)]] for text in texts], device=model.hf.device)
            at += 1
    return [text[length:] for text, length in zip(texts, lengths, strict=True)]


def _end_tokens(model: LoadedModel) -> list[int]:
    """Every token that ends a text: generation settings may name several."""
    stop = model.hf.generation_config.eos_token_id if model.hf.generation_config else None
    stops = [*(stop if isinstance(stop, list) else [stop]), model.tokenizer.eos_token_id]
    return sorted({int(token) for token in stops if token is not None})


def _likeliest(logits: Tensor, never: list[int]) -> tuple[list[list[int]], list[list[float]]]:
    """The likeliest tokens of each row and the cumulative probabilities among them: ``(rows, 5)`` each."""
    if not bool(torch.isfinite(logits).all()):
        raise NumericalError("the model's logits are not finite; load it with --dtype float32 and try again")
    logits[:, never] = -math.inf
    top = logits.topk(min(TOP_K, logits.shape[-1] - len(never)))
    cumulative = top.values.double().cpu().softmax(dim=-1).cumsum(dim=-1)
    return top.indices.tolist(), cumulative.tolist()


def _draw(top: tuple[list[list[int]], list[list[float]]], row: int, chance: float) -> int:
    tokens, cumulative = top[0][row], top[1][row]
    return next((token for token, sum_ in zip(tokens, cumulative, strict=True) if chance < sum_), tokens[-1])
