"""Whether a model still writes or only repeats: text generated from prompts, and the entropy of its n-grams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.errors import InputError
from workbench.models.forward.decoding import generate
from workbench.models.forward.sampling import drawn
from workbench.models.forward.stopping import stop_ids
from workbench.protocol import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

TOKENS = 50
"""A generated text of a suite is so long."""

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


def repeated(texts_of_token_ids: Sequence[Sequence[int]], n: int = 3) -> float:
    """Mean over texts of the share of n-grams that were in the text before, 0 … 1; a text without n-grams has none.

    seq-rep-n of Welleck et al. 2019 (arXiv 1908.04319), section 6: unlike the entropy it compares texts of unequal
    lengths, such as replies that end by themselves.
    """
    grams = [[tuple(text[at : at + n]) for at in range(len(text) - n + 1)] for text in texts_of_token_ids]
    return fmean(1 - len(set(some)) / len(some) if some else 0.0 for some in grams) if grams else 0.0


def generated(
    model: LoadedModel, prompts: Sequence[str], tokens: int = TOKENS, seed: int = 0, progress: Progress = silent
) -> list[list[int]]:
    """Continue each prompt by ``tokens`` tokens, after BOS or separator, sampled among the 5 likeliest.

    Returns the new tokens only. Tokens that end a text are not drawn, so that all texts have the same length. The
    random numbers of a prompt come from ``numpy.random.RandomState(seed)`` by its place in the list, on any device.
    Raises `InputError` for a prompt that leaves no room in the model's context, `NumericalError` for NaN logits.
    """
    import numpy as np

    cases = [Case(prompt=prompt, prepend="separator") for prompt in prompts]
    texts = [model.encode(case).ids for case in cases]
    longest = max(map(len, texts), default=0)
    if longest + tokens > model.info.context:
        raise InputError(
            f"a prompt to generate from has {longest} tokens, and {tokens} more do not fit into the model's "
            f"{model.info.context}; shorten it"
        )
    chances = np.random.RandomState(seed).random_sample((len(prompts), tokens))
    never = sorted(stop_ids(model))

    def choose(rows: Sequence[int], at: Sequence[int], logits: Tensor) -> list[int]:
        return drawn(logits, TOP_K, chances[rows, at].tolist(), never)

    return [list(text) for text in generate(model, texts, tokens, choose, progress, "generating text")]
