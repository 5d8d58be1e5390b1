"""What a `screens.widgets.grid.CellGrid` draws: labelled rows and columns of cells, computed without any widget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

from rich.cells import cell_len, set_cell_size

from screens.widgets.colours import Shade

Tone = Literal["plain", "dim", "strong", "target", "foil", "warn", "error"]
"""How a text is set. Each is a component class ``grid--…`` of `CellGrid`."""


class GridCell(NamedTuple):
    """One cell: display-safe text, how it is set, and a background where its value is coloured.

    ``badge`` stands at the right end: the value as a character, for who cannot see the colour.
    """

    text: str
    tone: Tone = "plain"
    shade: Shade | None = None
    badge: str = ""


@dataclass(frozen=True, slots=True)
class GridColumn:
    """A column of ``width`` cells, the last of them free between texts. ``key`` is the model's own.

    A ``tight`` column has no free cell, so that neighboring cells are one picture; the first ``lead`` of its cells
    are left blank, which sets a group of columns apart.
    """

    key: object
    label: str
    width: int
    right: bool = False
    tight: bool = False
    lead: int = 0

    @property
    def room(self) -> int:
        """What is left for text and badge."""
        return self.width - self.lead - (0 if self.tight else 1)


class GridModel(Protocol):
    """What a grid draws. Must not change once shown: show a new one instead."""

    @property
    def n_rows(self) -> int:
        """How many rows there are."""

    @property
    def corner(self) -> str:
        """The label above the row labels."""

    @property
    def labels_right(self) -> bool:
        """Whether row labels stand to the right, as numbers do."""

    def columns(self, width: int) -> tuple[GridColumn, ...]:
        """All columns, laid out for ``width`` cells beside the row labels; they may be wider and then scroll."""

    def row_label(self, row: int) -> str:
        """The label of a row, counted from the top."""

    def cell(self, row: int, column: GridColumn) -> GridCell:
        """The cell of a row and one of `columns`."""


class Place(NamedTuple):
    """A cell, counted from the top left."""

    row: int
    column: int


@lru_cache(16384)
def fit(text: str, width: int, right: bool = False) -> str:
    """Make a text exactly ``width`` cells wide; what is cut off is marked by "…"."""
    if width <= 0:
        return ""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    padding = " " * (width - length)
    return padding + text if right else text + padding
