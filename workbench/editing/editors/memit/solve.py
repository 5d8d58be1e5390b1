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
        f"a covariance of {weight:g} leaves the system singular; use a larger one",
    )
    solved: Tensor = torch.cholesky_solve(keys.by_fact, factor)
    return solved


def alphaedit(keys: Keys, basis: Tensor, earlier: Tensor, l2: float) -> Tensor:
    """B = P (P(K₁K₁ᵀ + K W Kᵀ)P + λI)⁻¹ P of the mean keys, where P = U Uᵀ projects on the null space.

    This is R KᵀP (K₁K₁ᵀP + K KᵀP + λI)⁻¹ (arXiv 2410.02355, equation 14) written in the coordinates of the null space,
    where it is symmetric. ``basis`` is U ``(d_mlp, free)``, ``earlier`` K₁ ``(d_mlp, held)``, keys of earlier edits.
    Raises `NumericalError` where the system is singular.
    """
    system = held(keys, basis, earlier)
    system.diagonal().add_(l2)
    factor = cholesky(system, f"an l2 of {l2:g} leaves the system singular; use a larger one")
    return basis @ torch.cholesky_solve(basis.T @ keys.by_fact, factor)


def held(keys: Keys, basis: Tensor, earlier: Tensor) -> Tensor:
    """Uᵀ(K₁K₁ᵀ + K W Kᵀ)U ``(free, free)``: how much edits hold of each direction of the null space."""
    old, new = basis.T @ earlier, (basis.T @ keys.columns) * keys.weights.sqrt()
    return old @ old.T + new @ new.T


def directions(held: Tensor, l2: float) -> float:
    """How many directions of the null space are in use: Σ σ / (σ + λ) over the eigenvalues σ of what edits hold.

    A direction counts fully where its keys outweigh the ridge, and not at all where nothing is held: the effective
    degrees of freedom of a ridge regression.
    """
    values = torch.linalg.eigvalsh(held).clamp(min=0)
    return float((values / (values + l2)).sum())


def kept_keys(keys: Keys, basis: Tensor) -> Tensor:
    """Columns ``(d_mlp, held)`` with the same K W Kᵀ in the null space, no more than it has directions."""
    inside = (basis.T @ keys.columns) * keys.weights.sqrt()
    if inside.shape[1] > len(inside):
        values, vectors = torch.linalg.eigh(inside @ inside.T)
        inside = vectors * values.clamp(min=0).sqrt()
    return basis @ inside


def cholesky(matrix: Tensor, otherwise: str) -> Tensor:
    """The factor of a symmetric matrix. Raises `NumericalError`, which says ``otherwise``, where it is singular."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    pivots = factor.diagonal() ** 2
    if int(info) or not bool(torch.isfinite(pivots).all()) or float(pivots.min()) <= SINGULAR * float(pivots.max()):
        raise NumericalError(otherwise)
    found: Tensor = factor
    return found
