"""The change of one layer that gives the keys of facts what they lack, with the least effect on other keys.

With the keys of all facts' contexts as columns of K, their weights on the diagonal of W, and what each fact lacks as a
column of R, both editors give ΔW = R Bᵀ, where B ``(d_mlp, facts)`` is made of the weighted keys of each fact. What is
solved is as large as the layer or the null space, however many facts there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import NumericalError
from workbench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

SINGULAR = 1e-15
"""Where the smallest pivot of a Cholesky factor is so small a part of the largest, rounding decides what is found."""


@dataclass(frozen=True, eq=False)
class Keys:
    """``columns`` ``(d_mlp, contexts)`` in float64, with weights ``(contexts,)`` and the fact of each ``(contexts,)``.

    The weights of a fact are 1 in sum.
    """

    columns: Tensor
    weights: Tensor
    facts: Tensor
    number: int

    @property
    def gram(self) -> Tensor:
        """K W Kᵀ ``(d_mlp, d_mlp)``."""
        return (self.columns * self.weights) @ self.columns.T

    @property
    def by_fact(self) -> Tensor:
        """The weighted mean key of each fact ``(d_mlp, facts)``."""
        found = torch.zeros(len(self.columns), self.number, dtype=self.columns.dtype, device=self.columns.device)
        return found.index_add(1, self.facts, self.columns * self.weights)

    def averaged(self) -> Keys:
        """One key for each fact: the mean of its own."""
        ones = torch.ones(self.number, dtype=self.columns.dtype, device=self.columns.device)
        return Keys(self.by_fact, ones, torch.arange(self.number, device=self.columns.device), self.number)


def memit(keys: Keys, second_moment: Tensor, weight: float) -> Tensor:
    """B = (λC + K W Kᵀ)⁻¹ of the mean keys (arXiv 2210.07229, equation 14), λ being the ``weight`` of C.

    Raises `NumericalError` where the system is singular.
    """
    factor = cholesky(
        weight * second_moment + keys.gram,
        f"a covariance weight of {weight:g} leaves the system singular; use a larger one",
    )
    solved: Tensor = torch.cholesky_solve(keys.by_fact, factor)
    return solved


def cholesky(matrix: Tensor, otherwise: str) -> Tensor:
    """The factor of a symmetric matrix. Raises `NumericalError`, which says ``otherwise``, where it is singular."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    pivots = factor.diagonal() ** 2
    if int(info) or not bool(torch.isfinite(pivots).all()) or float(pivots.min()) <= SINGULAR * float(pivots.max()):
        raise NumericalError(otherwise)
    found: Tensor = factor
    return found
