"""What the trace pane draws, computed from results without any widget: tokens down, layers across.

Several kinds stand side by side as groups of columns. A cell is a block as high as the share of the clean–corrupted
gap that it restores; an estimate has a coarser, dotted block, so that the two differ without colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

from rich.cells import cell_len
from textual.content import Content

from screens.messages import Cursor
from screens.widgets import numbers
from screens.widgets.colours import block, sequential
from screens.widgets.grid_model import GridCell, GridColumn, Place, fit
from workbench.blocks import bar
from workbench.methods.tracing.causal_trace import TraceGrid, TraceKind, TraceResult

KINDS: tuple[TraceKind, ...] = get_args(TraceKind)
NAMES: dict[TraceKind, str] = {"states": "states", "mlp": "MLP", "attention": "attention"}

LABEL = 14
"""Cells that a token's label may take."""

GAP = 2
"""Blank cells between two kinds."""

DOTS = "░▒▓"
PEAK = "◆"
LOWERS = -0.05
"""Share from which on a cell that takes away from what is read is marked as such: less is noise to the eye."""


@dataclass(frozen=True)
class Traced:
    """One kind's grid, and the result that it is part of."""

    result: TraceResult
    grid: TraceGrid

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.grid.values)

    def share(self, cursor: Cursor) -> float:
        """The share of the gap that a cell restores; NaN where it is not known or there is no gap."""
        value = self.grid.values[cursor.layer][cursor.token]
        share = None if value is None else self.result.share(value)
        return share if share is not None and math.isfinite(share) else math.nan


@dataclass(frozen=True)
class TracePicture:
    """One kind, or all side by side, for the grid."""

    shown: tuple[Traced, ...]

    corner = "layer"
    labels_right = False

    @property
    def n_rows(self) -> int:
        """The tokens."""
        return len(self.shown[0].result.encoded.texts)

    def row_label(self, row: int) -> str:
        """A token; those of the subject are starred."""
        encoded = self.shown[0].result.encoded
        start, stop = encoded.subject or (0, 0)
        star = "*" if start <= row < stop else ""
        text = encoded.texts[row].strip() or encoded.texts[row]
        return fit(text, LABEL - len(star)).rstrip() + star

    def columns(self, width: int) -> tuple[GridColumn, ...]:
        """A column a layer, two cells wide where that fits, and else one."""
        each = 2 if self._needs(2) <= width else 1
        found: list[GridColumn] = []
        for group, traced in enumerate(self.shown):
            name = NAMES[traced.grid.kind] if len(self.shown) > 1 else ""
            labels = ruler(name, traced.layers, each)
            for layer in range(traced.layers):
                lead = GAP if group and not layer else 0
                found.append(GridColumn((group, layer), labels[layer], each + lead, tight=True, lead=lead))
        return tuple(found)

    def cell(self, row: int, column: GridColumn) -> GridCell:
        """A block as high as the share that one cell restores; the peak has its own sign."""
        assert isinstance(column.key, tuple)
        group, layer = column.key
        traced, width = self.shown[group], column.room
        if traced.grid.values[layer][row] is None:
            return GridCell("", "dim", badge="·" * width)
        share = traced.share(Cursor(layer, row))
        drawn = mark(share, traced.grid.exact[layer][row]) * width
        if (peak := traced.grid.peak) is not None and (peak.layer, peak.token) == (layer, row):
            drawn = drawn[:-1] + PEAK
        return GridCell("", shade=sequential(share), badge=drawn)

    def fits_side_by_side(self, width: int) -> bool:
        """Whether all that is shown fits beside the labels into a grid ``width`` cells wide."""
        labels = max(cell_len(self.corner), *(cell_len(self.row_label(row)) for row in range(self.n_rows)))
        return self._needs(1) + labels + 3 <= width

    def place(self, cursor: Cursor, group: int) -> Place:
        """Where a cursor is in the picture; the embedding's is at the first layer."""
        layer = min(max(0, cursor.layer), self.shown[group].layers - 1)
        return Place(cursor.token, sum(traced.layers for traced in self.shown[:group]) + layer)

    def cursor(self, place: Place) -> tuple[int, Cursor]:
        """The group and the cursor of a place in the picture."""
        group, layer = divmod(place.column, self.shown[0].layers)
        return group, Cursor(layer, place.row)

    def _needs(self, each: int) -> int:
        return sum(traced.layers * each for traced in self.shown) + GAP * (len(self.shown) - 1)


def ruler(name: str, layers: int, each: int) -> tuple[str, ...]:
    """A kind's name and then the numbers of some layers, cut into pieces of ``each`` cells, one for each layer."""
    line = name
    for layer in range(0, layers, 5 if each > 1 else 10):
        start = layer * each
        if start >= len(line) + bool(line) and start + len(str(layer)) <= layers * each:
            line = line.ljust(start) + str(layer)
    line = line.ljust(layers * each)[: layers * each]
    return tuple(line[start : start + each] for start in range(0, len(line), each))


def mark(share: float, exact: bool) -> str:
    """A share as one character; ``−`` where restoring takes away from what is read, ``?`` where there is no gap."""
    if math.isnan(share):
        return "?"
    if share < LOWERS:
        return "−"
    return bar(share) if exact else DOTS[min(len(DOTS) - 1, max(0, int(share * len(DOTS))))]


def title(traced: Traced, alone: bool) -> str:
    """What the picture is of: ``Causal trace · states · lifts p(Sydney)``."""
    parts = ["Causal trace", *([NAMES[traced.grid.kind]] if alone else [])]
    return " · ".join([*parts, f"lifts {reading(traced.result)}"])


def reading(result: TraceResult) -> str:
    """What is read, as a formula."""
    answer = result.answer.strip() or result.answer
    return answer if result.read == "difference" else f"p({answer})"


def number(result: TraceResult, value: float) -> str:
    """A value that is read: a probability, or logits."""
    return numbers.signed(value) if result.read == "difference" else numbers.probability(value)


def ramp_legend(result: TraceResult, dark: bool) -> Content:
    """The scale in its colours and characters, from the corrupted value to the clean one."""
    parts: list[tuple[str, str]] = [(f"{number(result, result.corrupted)} ", "")]
    for step in range(8):
        shade = sequential((step + 0.5) / 8)
        assert shade is not None
        foreground, background = block(shade, dark)
        parts.append((bar((step + 0.5) / 8), f"{foreground} on {background}"))
    parts += [(f" {number(result, result.clean)}", ""), (f"   {DOTS} estimate   {PEAK} peak   * subject", "")]
    return Content.assemble(*parts)


def read_out(traced: Traced, cursor: Cursor) -> str:
    """The cell under the cursor in one line."""
    text = traced.result.encoded.texts[cursor.token]
    return f'layer {cursor.layer} · "{text}" · {_cell_words(traced, cursor)}'


def value_at(traced: Traced, cursor: Cursor) -> str:
    """One cell's value alone: ``p(Sydney) .52``."""
    value = traced.grid.values[cursor.layer][cursor.token]
    return "" if value is None else f"{reading(traced.result)} {number(traced.result, value)}"


def detail(shown: tuple[Traced, ...], cursor: Cursor) -> list[str]:
    """The same cell for every kind that is known, which layers are restored there, and each kind's peak."""
    return [f"{NAMES[traced.grid.kind]:<9} {_cell_row(traced, cursor)}".rstrip() for traced in shown]


def restored(traced: Traced, layer: int) -> range:
    """The layers that are restored together around one: of 10, l − 5 to l + 4. States are restored alone."""
    width = 1 if traced.grid.kind == "states" else traced.result.window
    return range(max(0, layer - width // 2), min(traced.layers, layer + (width + 1) // 2))


def exact_cells(result: TraceResult) -> str:
    """How much of a trace that was stopped can be believed."""
    cells = [exact for grid in result.grids for row in grid.exact for exact in row]
    return f"partial: {sum(cells)} of {len(cells)} cells are exact"


def _cell_words(traced: Traced, cursor: Cursor) -> str:
    value = traced.grid.values[cursor.layer][cursor.token]
    if value is None:
        return "not known yet"
    share = traced.share(cursor)
    part = "no gap to restore" if math.isnan(share) else f"{_percent(share)} of the gap"
    return f"{reading(traced.result)} {number(traced.result, value)} · {part} · {_how(traced, cursor)}"


def _cell_row(traced: Traced, cursor: Cursor) -> str:
    value = traced.grid.values[cursor.layer][cursor.token]
    shown = "?" if value is None else number(traced.result, value)
    layers = restored(traced, cursor.layer)
    which = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]}–{layers[-1]}"
    parts = f"{shown:>4} {_percent(traced.share(cursor)):>5}  {_how(traced, cursor):<8}  {which:<12}"
    if (peak := traced.grid.peak) is None:
        return parts
    text = traced.result.encoded.texts[peak.token].strip()
    return f"{parts}  peak {number(traced.result, peak.value)} layer {peak.layer}, {text}"


def _percent(share: float) -> str:
    return "?" if math.isnan(share) else f"{round(100 * share)}%".replace("-", "−")


def _how(traced: Traced, cursor: Cursor) -> str:
    if traced.grid.values[cursor.layer][cursor.token] is None:
        return "unknown"
    return "exact" if traced.grid.exact[cursor.layer][cursor.token] else "estimate"
