"""How far two sets of answers differ, how surely, and how far such sets differ where nothing is different."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.numbers import rounded
from workbench.protocol import Frozen

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Counts = NDArray[float64]

RESAMPLES = 2000

FEWEST = 4
"""Answers on each side below which nothing is said of their difference."""


class Difference(Frozen):
    """The total variation between two distributions of answers: half the sum of absolute differences, 0 … 1.

    ``low`` and ``high`` are the 2.5th and 97.5th percentile of a bootstrap over the answers of each side. ``chance`` is
    the 95th percentile where the same answers are dealt out to the sides at random: of few answers no two sets are
    alike, so that a difference below it says nothing.
    """

    value: float
    low: float
    high: float
    chance: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the difference is larger than chance makes it."""
        return self.value > self.chance


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """The total variation between two distributions; what they lack of 1 is an answer more."""
    rest = abs((1 - sum(one)) - (1 - sum(other)))
    return rounded((sum(abs(a - b) for a, b in zip(one, other, strict=True)) + rest) / 2)


def difference(one: Sequence[int], other: Sequence[int], seed: int) -> Difference | None:
    """How far two sets of answers differ, each an index. None where either has fewer than `FEWEST`."""
    import numpy as np

    if min(len(one), len(other)) < FEWEST:
        return None
    random = np.random.RandomState(seed)
    kinds = sorted({*one, *other})
    first, second = (np.array([[answer == kind for kind in kinds] for answer in some], float) for some in (one, other))

    def drawn(some: Counts) -> Counts:
        found: Counts = some[random.randint(len(some), size=(RESAMPLES, len(some)))].mean(axis=1)
        return found

    def apart(a: Counts, b: Counts) -> Counts:
        found: Counts = np.abs(a - b).sum(axis=-1) / 2
        return found

    both = np.concatenate([first, second])
    dealt = both[np.argsort(random.rand(RESAMPLES, len(both)), axis=1)]
    by_chance = apart(dealt[:, : len(first)].mean(axis=1), dealt[:, len(first) :].mean(axis=1))
    low, high = np.percentile(apart(drawn(first), drawn(second)), [2.5, 97.5])
    return Difference(
        value=rounded(float(apart(first.mean(axis=0), second.mean(axis=0)))),
        low=rounded(float(low)),
        high=rounded(float(high)),
        chance=rounded(float(np.percentile(by_chance, 95))),
    )
