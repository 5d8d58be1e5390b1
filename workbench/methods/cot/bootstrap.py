"""A mean and how sure it is: the bootstrap over questions, each of which comes with all that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.bootstrap import interval, share_interval
from workbench.numbers import rounded
from workbench.protocol import Frozen


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
    parts, wholes = [part for part, _ in pairs], [whole for _, whole in pairs]
    low, high = interval(parts, wholes, resamples, seed)
    value = sum(parts) / sum(wholes)
    return Estimate(value=rounded(value), low=rounded(low), high=rounded(high), questions=len(pairs))


class Proportion(Frozen):
    """``part`` of ``whole``, and its 95 % interval by Wilson (1927)."""

    part: int
    whole: int
    value: float
    low: float
    high: float


def wilson(part: int, whole: int) -> Proportion | None:
    """A share with its interval, which says something at 0 and at 1 too. None of nothing."""
    if not whole:
        return None
    low, high = share_interval(part, whole)
    return Proportion(part=part, whole=whole, value=rounded(part / whole), low=rounded(low), high=rounded(high))
