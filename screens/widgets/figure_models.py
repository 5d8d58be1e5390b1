"""What the grids of figures draw, computed from figures without any widget: heatmaps, tables, bars, scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rich.cells import cell_len

from screens.widgets.colours import Shade, sequential, signed
from screens.widgets.grid_model import GridCell, GridColumn, GridModel, Tone, fit
from screens.widgets.score_model import ScoreRow, Scores
from workbench.blocks import bar, dots, horizontal_bar, sign
from workbench.figures import Axis, Bars, Figure, Heatmap, Meaning, Scale, Table, TokenScores

TONES: dict[Meaning, Tone] = {
    "plain": "plain",
    "strong": "strong",
    "muted": "dim",
    "heading": "strong",
    "note": "dim",
    "good": "strong",
    "warning": "warn",
    "bad": "error",
    "target": "target",
    "foil": "foil",
    "subject": "strong",
}
STYLES: dict[Tone, str] = {
    "plain": "$foreground",
    "dim": "$foreground 65%",
    "strong": "bold $foreground",
    "target": "bold $text-primary",
    "foil": "bold $text-warning",
    "warn": "bold $text-warning",
    "error": "$text-error",
}

LABEL, TEXT = 24, 12
"""Cells that a row's label may take, and that a text keeps where there is no room."""

PEAK, UNKNOWN, SUBJECT = "◆", "·", "*"


def grid_model(figure: Figure) -> GridModel:
    """What a `CellGrid` draws of a heatmap, a table or bars."""
    models: dict[type[Figure], Callable[[Any], GridModel]] = {Heatmap: HeatmapModel, Table: TableModel, Bars: BarsModel}
    return models[type(figure)](figure)


def shade(scale: Scale, value: float | None) -> Shade | None:
    """The shade of a value on its scale, None where it is not known."""
    return (signed if scale.ramp == "signed" else sequential)(scale.share(value))


def mark(scale: Scale, value: float | None, estimated: bool = False) -> str:
    """A value as one character."""
    if value is None:
        return UNKNOWN
    share = scale.share(value)
    return sign(share) if scale.ramp == "signed" else dots(share) if estimated else bar(share)


def labels(axis: Axis) -> list[str]:
    """An axis' labels, those of the subject starred."""
    return [
        f"{fit(text.strip() or text, LABEL - 1).rstrip()}{SUBJECT if axis.is_subject(place) else ''}"
        for place, text in enumerate(axis.labels)
    ]


@dataclass(frozen=True)
class HeatmapModel:
    """Texts or numbers on their shades where there is room for them, and else blocks side by side."""

    figure: Heatmap

    @property
    def n_rows(self) -> int:
        """The rows."""
        return len(self.figure.rows.labels)

    @property
    def corner(self) -> str:
        """What stands in its line: the columns' labels."""
        return self.figure.columns.name

    @property
    def labels_right(self) -> bool:
        """Layers are numbers."""
        return self.figure.rows.index == "layer"

    def row_label(self, row: int) -> str:
        """A token or a layer."""
        return self._row_labels[row]

    def columns(self, width: int) -> tuple[GridColumn, ...]:
        """Texts are written whatever the width, and scroll; numbers where all fit; else there are blocks."""
        n, names = len(self.figure.columns.labels), labels(self.figure.columns)
        longest = max((cell_len(text) for row in self._texts for text in row), default=1)
        for most in (TEXT, 6):  # cells of a label
            wide = max(min(TEXT, longest), min(most, max(map(cell_len, names), default=0))) + 3
            if n * wide <= width or (self.figure.texts and most == 6):
                return tuple(GridColumn((column, True), names[column], wide) for column in range(n))
        each = 2 if 2 * n <= width else 1
        return tuple(GridColumn((c, False), label, each, tight=True) for c, label in enumerate(ruler(names, each)))

    def cell(self, row: int, column: GridColumn) -> GridCell:
        """A text with a block or sign at its end, or that alone."""
        assert isinstance(column.key, tuple)
        at, written = column.key
        value, scale = self.figure.values[row][at], self.figure.scale
        drawn = mark(scale, value, self.figure.is_estimate(row, at)) * (1 if written else column.room)
        if (row, at) in self.figure.peaks:
            drawn = drawn[:-1] + PEAK
        found = shade(scale, value)
        tone: Tone = "dim" if value is None else "plain"
        if written:
            return GridCell(self._texts[row][at], tone, found, drawn)
        return GridCell(drawn, tone, found)

    @cached_property
    def _texts(self) -> Sequence[Sequence[str]]:
        figure = self.figure
        return figure.texts or [list(map(figure.scale.text, row)) for row in figure.values]

    @cached_property
    def _row_labels(self) -> list[str]:
        return labels(self.figure.rows)


@dataclass(frozen=True)
class TableModel:
    """The first column stays put as the labels of the rows. Texts give way to numbers where there is no room."""

    table: Table

    @property
    def n_rows(self) -> int:
        """The rows."""
        return len(self.table.rows)

    @property
    def corner(self) -> str:
        """The first heading."""
        return self.table.columns[0].heading if self._first else ""

    @property
    def labels_right(self) -> bool:
        """Whether the labels are numbers."""
        return self.table.columns[0].right

    def row_label(self, row: int) -> str:
        """The first cell."""
        return fit(self.table.rows[row][0].text, LABEL).rstrip() if self._first else ""

    def columns(self, width: int) -> tuple[GridColumn, ...]:
        """As wide as their texts, but the longest are cut until all fit; what is cut is read at the cursor."""
        table, places = self.table, range(self._first, len(self.table.columns))
        widths = {
            place: max(cell_len(text) for text in (table.columns[place].heading, *self._texts(place)))
            + table.columns[place].right
            for place in places
        }
        texts = [place for place in places if not table.columns[place].right]
        while texts and (over := sum(widths.values()) + len(widths) - width) > 0:
            widest, *others = sorted(texts, key=widths.__getitem__, reverse=True)
            if widths[widest] <= TEXT:
                break
            next_widest = widths[others[0]] if others else TEXT
            widths[widest] = max(TEXT, min(widths[widest] - 1, max(next_widest, widths[widest] - over)))
        return tuple(
            GridColumn(place, table.columns[place].heading, widths[place] + 1, right=table.columns[place].right)
            for place in places
        )

    def cell(self, row: int, column: GridColumn) -> GridCell:
        """A text and its meaning."""
        assert isinstance(column.key, int)
        found = self.table.rows[row][column.key]
        return GridCell(found.text, TONES[found.meaning])

    @property
    def _first(self) -> int:
        """The first column that is none of labels."""
        return 1 if len(self.table.columns) > 1 else 0

    def _texts(self, place: int) -> list[str]:
        return [row[place].text for row in self.table.rows]


@dataclass(frozen=True)
class BarsModel:
    """A number, its interval and a bar in each row."""

    bars: Bars

    corner = ""
    labels_right = False

    @property
    def n_rows(self) -> int:
        """The bars."""
        return len(self.bars.bars)

    def row_label(self, row: int) -> str:
        """What the number is of."""
        return fit(self.bars.bars[row].label, LABEL).rstrip()

    def columns(self, width: int) -> tuple[GridColumn, ...]:
        """The bar takes what the numbers leave."""
        rows = range(self.n_rows)
        number = 1 + max((cell_len(self._number(row)) for row in rows), default=1)
        number = max(number, 1 + cell_len(self.bars.scale.unit))
        interval = max((cell_len(self._interval(row)) for row in rows), default=0)
        found = [GridColumn("number", self.bars.scale.unit, number + 1, right=True)]
        if interval:
            found.append(GridColumn("interval", "95 %", interval + 2, right=True))
        room = max(10, min(60, width - sum(column.width for column in found)))
        return (*found, GridColumn("bar", "", room))

    def cell(self, row: int, column: GridColumn) -> GridCell:
        """A number, the interval, or the bar with its sign."""
        each, scale = self.bars.bars[row], self.bars.scale
        if column.key == "number":
            return GridCell(self._number(row), TONES[each.meaning])
        if column.key == "interval":
            return GridCell(self._interval(row), "dim")
        share = scale.share(each.value)
        before = "" if scale.ramp == "sequential" else "−" if share < 0 else "+"
        drawn = horizontal_bar(abs(share), column.room - 1)
        return GridCell(before + drawn if drawn else "", "foil" if share < 0 else "target")

    def _number(self, row: int) -> str:
        return self.bars.scale.text(self.bars.bars[row].value)

    def _interval(self, row: int) -> str:
        interval = self.bars.bars[row].interval
        return "" if interval is None else "…".join(map(self.bars.scale.text, interval))


def scores(figure: TokenScores) -> Scores:
    """Tokens coloured by their scores, with the numbers under them."""
    values = [
        score if figure.attributed[0] <= token < figure.attributed[1] else None
        for token, score in enumerate(figure.scores)
    ]
    texts = tuple("" if value is None else figure.scale.text(value) for value in values)
    row = ScoreRow(label="", texts=texts, shades=tuple(shade(figure.scale, value) for value in values))
    return Scores(tokens=figure.tokens, rows=(row,), underlined=figure.subject)


def ruler(names: Sequence[str], each: int) -> tuple[str, ...]:
    """As many labels as there is room for, each from its column on, cut into pieces of ``each`` cells."""
    sparse = (5 if each > 1 else 10) if all(name.lstrip("-").isdigit() for name in names) else 1
    line, length = "", len(names) * each
    for place, name in enumerate(names):
        name = fit(name, max(each, 6)).rstrip()
        start = place * each
        if not place % sparse and start >= cell_len(line) + bool(line) and start + cell_len(name) <= length:
            line = fit(line, start) + name
    line = fit(line, length)
    return tuple(line[start : start + each] for start in range(0, length, each))
