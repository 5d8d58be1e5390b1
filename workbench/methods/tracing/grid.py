"""What is read with each cell (layer, token) of a run replaced, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import model_validator

from workbench.protocol import Check, Frozen
from workbench.shapes import as_many, within

TraceKind = Literal["states", "mlp", "attention"]


class Peak(Frozen):
    """One cell and its value."""

    layer: int
    token: int
    value: float


class TraceGrid(Frozen):
    """What is read with each cell restored: ``values[layer][token]``.

    Where ``exact`` is false the value is an estimate from gradients, or None where there is none yet. Cells at
    tokens before the subject have the corrupted value by definition: nothing differs there. ``peak`` is the exact
    cell that restores most, for states among the tokens before the last one, whose late states are the answer
    itself. It is None while no such cell is known.
    """

    kind: TraceKind
    values: tuple[tuple[float | None, ...], ...]
    exact: tuple[tuple[bool, ...], ...]
    peak: Peak | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(values=self.values, exact=self.exact)
        if not self.values or not self.values[0]:
            raise ValueError("there are no values")
        for values, exact in zip(self.values, self.exact, strict=True):
            as_many(tokens=self.values[0], values=values, exact=exact)
        if self.peak is not None:
            within("the layer of the peak", self.peak.layer, len(self.values))
            within("the token of the peak", self.peak.token, len(self.values[0]))
        return self

    @property
    def complete(self) -> bool:
        """Whether every cell is exact."""
        return all(all(row) for row in self.exact)

    def peak_among(self, tokens: Iterable[int], rises: bool = True) -> Peak | None:
        """The exact cell at ``tokens`` with the highest value; the lowest unless restoring ``rises``."""
        known = [
            (value if rises else -value, -layer, -token)  # of equal cells the first
            for token in tokens
            for layer, row in enumerate(self.values)
            if self.exact[layer][token] and (value := row[token]) is not None
        ]
        if not known:
            return None
        best, layer, token = max(known)
        return Peak(layer=-layer, token=-token, value=best if rises else -best)


def unfinished(exact: Iterable[Iterable[Iterable[bool]]]) -> list[Check]:
    """A warning where some cells of grids are not exact."""
    cells = [cell for grid in exact for row in grid for cell in row]
    if all(cells):
        return []
    return [Check(name="cells", text=f"{sum(cells)} of {len(cells)} exact", level="warn")]
