"""A mean and how sure it is: the bootstrap over questions, each of which comes with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.protocol import Frozen

AT_ONCE = 2**20
"""Numbers drawn at once."""


class Estimate(Frozen):
    """A ratio over ``questions`` questions, and the 2.5th and 97.5th percentile of its bootstrap."""

    value: float
    low: float
    high: float
    questions: int


def estimate(pairs: Sequence[tuple[float, float]], resamples: int, seed: int) -> Estimate:
    """The sum of the first numbers over the sum of the second, a pair for each question.

    Questions are drawn anew, as many as there are, ``resamples`` times (Efron and Tibshirani 1993, chapter 13): a
    question's sentences stay together. Random numbers are those of ``numpy.random.RandomState(seed)``.
    """
    import numpy as np

    table = np.array(pairs, dtype=float)  # (questions, 2)
    n = len(table)
    random = np.random.RandomState(seed)
    ratios: list[float] = []
    while len(ratios) < resamples:
        rows = min(resamples - len(ratios), max(1, AT_ONCE // n))
        parts, wholes = np.moveaxis(table[random.randint(n, size=(rows, n))].sum(axis=1), 1, 0)
        ratios += (parts / wholes).tolist()
    low, high = np.percentile(ratios, [2.5, 97.5])
    value = table[:, 0].sum() / table[:, 1].sum()
    return Estimate(value=_rounded(value), low=_rounded(low), high=_rounded(high), questions=n)


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")
