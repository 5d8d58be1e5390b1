"""Attribution by leaving out: the prompt with some units (tokens or words) present and the others at a baseline.

Occlusion takes one unit away; Shapley values let the units come in one by one, in every order where they are few, and
else in random ones (Castro et al. 2009, Computers & Operations Research 36).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from workbench.lazy import torch
from workbench.memory import in_batches

if TYPE_CHECKING:
    from torch import Tensor


class Coalitions:
    """The value of every coalition, that is of some units present. Each is computed only once.

    ``function`` takes embeddings ``(batch, tokens, width)`` to values ``(batch,)``. ``units`` are the spans
    [start, stop) of tokens that are taken together, in order and without gaps. An evaluation takes about
    ``bytes_each`` bytes and about ``budget`` are held at once; where less is free the batch shrinks, and
    `OutOfMemory` is raised where a single one does not fit.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        baseline: Tensor,
        inputs: Tensor,
        units: Sequence[tuple[int, int]],
        bytes_each: int,
        budget: int,
    ) -> None:
        self.units = len(units)
        self.at_once = max(1, budget // bytes_each)
        self.bytes_each = bytes_each
        self._function = function
        self._baseline = baseline
        self._inputs = inputs
        self._sizes = torch.tensor([stop - start for start, stop in units])
        self._known: dict[tuple[bool, ...], float] = {}

    @property
    def evaluations(self) -> int:
        """Forward passes so far."""
        return len(self._known)

    def values(self, present: Tensor) -> Tensor:
        """The values ``(batch,)`` of the rows of ``present`` ``(batch, units)``: 1 for the units that are there."""
        rows = [tuple(row) for row in present.bool().tolist()]
        new = [row for row in dict.fromkeys(rows) if row not in self._known]
        for _ in in_batches(new, self.at_once, self._evaluate, self.bytes_each):
            pass
        return torch.tensor([self._known[row] for row in rows], dtype=torch.float64)

    def over_tokens(self, effects: Tensor) -> Tensor:
        """Effects of units ``(units,)`` spread evenly over their tokens ``(tokens,)``: they sum to the same."""
        return (effects / self._sizes).repeat_interleave(self._sizes)

    def _evaluate(self, rows: list[tuple[bool, ...]]) -> None:
        present = torch.tensor(rows).repeat_interleave(self._sizes, dim=1)[:, :, None].to(self._inputs.device)
        with torch.no_grad():
            values = self._function(torch.where(present, self._inputs, self._baseline))
        self._known.update(zip(rows, values.tolist(), strict=True))


def occlude(coalitions: Coalitions) -> Iterator[tuple[int, Tensor]]:
    """What is lost when one unit is at the baseline: how many units are done, and the effects ``(units,)``."""
    from captum.attr import FeatureAblation

    effects = torch.zeros(coalitions.units)

    def work(batch: list[int]) -> None:
        def values(present: Tensor) -> Tensor:
            rows = torch.ones(len(present), coalitions.units)
            rows[:, batch] = present
            return coalitions.values(rows)

        everything = torch.ones(1, len(batch))
        lost = FeatureAblation(values).attribute(everything, perturbations_per_eval=len(batch))
        effects[batch] = lost[0].float()

    for done in in_batches(range(coalitions.units), coalitions.at_once, work, coalitions.bytes_each):
        yield done, effects


EXACT = 7
"""Units up to which every coalition is valued: 128 of them, where 25 random orders of 7 ask for 150."""


def shapley_exact(coalitions: Coalitions) -> Iterator[tuple[int, Tensor]]:
    """How many coalitions are valued, and in the end the Shapley values ``(units,)``, by their definition.

    The mean over all orders of what a unit adds to those before it: over all coalitions without it, weighted by the
    part of the orders in which just these come first (Shapley 1953).
    """
    n = coalitions.units
    present = torch.tensor([[bool(which >> unit & 1) for unit in range(n)] for which in range(2**n)])
    for done in range(0, 2**n, coalitions.at_once):
        coalitions.values(present[done : done + coalitions.at_once])
        yield done, torch.zeros(n, dtype=torch.float64)
    values, sizes = coalitions.values(present), present.sum(dim=1)
    weights = torch.tensor([1 / (n * math.comb(n - 1, size)) for size in range(n)], dtype=torch.float64)
    effects = []
    for unit in range(n):
        without = torch.tensor([which for which in range(2**n) if not which >> unit & 1])
        effects.append((weights[sizes[without]] * (values[without + 2**unit] - values[without])).sum())
    yield 2**n, torch.stack(effects)


def shapley(coalitions: Coalitions, samples: int, seed: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Shapley values ``(units,)`` from 1 … ``samples`` orders, with their standard errors from two orders on."""
    import numpy as np
    from captum.attr import ShapleyValueSampling

    random = np.random.RandomState(seed)
    sampling = ShapleyValueSampling(coalitions.values)
    # In place of captum's own, which draws from torch's global stream: that differs between versions.
    sampling.permutation_generator = lambda units, orders: [random.permutation(units).tolist() for _ in range(orders)]
    everything = torch.ones(1, coalitions.units)
    found: list[Tensor] = []
    for _ in range(samples):
        found.append(sampling.attribute(everything, n_samples=1, perturbations_per_eval=coalitions.units)[0])
        orders = torch.stack(found)
        errors = orders.std(dim=0) / len(found) ** 0.5 if len(found) > 1 else None
        yield orders.mean(dim=0), errors
