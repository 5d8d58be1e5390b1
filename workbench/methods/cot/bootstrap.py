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
    from scipy.stats import bootstrap

    parts, wholes = np.array(pairs, dtype=float).T
    value = parts.sum() / wholes.sum()
    low = high = value
    if len(parts) > 1:
        found = bootstrap(
            (parts, wholes),
            lambda part, whole, axis: part.sum(axis=axis) / whole.sum(axis=axis),
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, AT_ONCE // len(parts)),
            method="percentile",
            rng=np.random.RandomState(seed),
        )
        low, high = found.confidence_interval
    return Estimate(value=_rounded(value), low=_rounded(low), high=_rounded(high), questions=len(parts))


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")
