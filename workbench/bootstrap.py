"""How sure a mean is: the bootstrap over what was drawn, such as questions or records; a share by Wilson."""

from __future__ import annotations

from collections.abc import Sequence

AT_ONCE = 2**20
"""Numbers drawn at once."""

RESAMPLES = 2000


def interval(
    parts: Sequence[float], wholes: Sequence[float] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the sum of ``parts`` over the sum of ``wholes`` (their mean where not given).

    Pairs are drawn anew, as many as there are, ``resamples`` times (Efron and Tibshirani 1993, chapter 13). Random
    numbers are those of ``numpy.random.RandomState(seed)``. Of a single pair nothing is known but its value.
    """
    import numpy as np
    from scipy.stats import bootstrap

    above = np.array(parts, dtype=float)
    below = np.ones_like(above) if wholes is None else np.array(wholes, dtype=float)
    if len(above) < 2 or (wholes is None and above.min() == above.max()):
        value = float(above.sum() / below.sum())
        return value, value
    found = bootstrap(
        (above, below),
        lambda part, whole, axis: part.sum(axis=axis) / whole.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, AT_ONCE // len(above)),
        method="percentile",
        rng=np.random.RandomState(seed),
    )
    low, high = found.confidence_interval
    return float(low), float(high)


def share_interval(part: int, whole: int) -> tuple[float, float]:
    """The 95 % interval of ``part`` of ``whole`` by Wilson (1927), which says something at none and at all too."""
    from scipy.stats import binomtest

    found = binomtest(part, whole).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
