"""The numbers of a figure: as a table to read, and as records to compute with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

from workbench.figures import Bars, Curves, Figure, Heatmap, Lines, Table, TokenScores

ESTIMATED = "≈"
"""Before a number that is not exact."""

PEAK = "◆"
"""After a number that stands out."""


@dataclass(frozen=True)
class NumberTable:
    """Texts in rows under headings; ``right`` says which columns are numbers. Every row has a cell for each heading."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[bool, ...]


@dataclass(frozen=True)
class Records:
    """Values in rows under headings, one row for each number of a figure, None where it is not known."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]


@singledispatch
def table_of(figure: Figure) -> NumberTable:
    """The figure as a table of texts: numbers as they are written on its scale."""
    raise TypeError(f"no table is made of {type(figure).__name__}")


@singledispatch
def records_of(figure: Figure) -> Records:
    """The figure as records: numbers as they were computed."""
    raise TypeError(f"no records are made of {type(figure).__name__}")


@table_of.register
def _(figure: Table) -> NumberTable:
    return NumberTable(
        tuple(column.heading for column in figure.columns),
        tuple(tuple(cell.text for cell in row) for row in figure.rows),
        tuple(column.right for column in figure.columns),
    )


@records_of.register
def _(figure: Table) -> Records:
    found = table_of(figure)
    return Records(found.headings, found.rows)


@table_of.register
def _(figure: Lines) -> NumberTable:
    return NumberTable((figure.title,), tuple((line.shown,) for line in figure.lines), (False,))


@records_of.register
def _(figure: Lines) -> Records:
    return Records((figure.title,), tuple((line.text,) for line in figure.lines))


@table_of.register
def _(figure: Heatmap) -> NumberTable:
    rows = tuple(
        (label, *(_in_cell(figure, row, column) for column in range(len(figure.columns.labels))))
        for row, label in enumerate(figure.rows.labels)
    )
    corner = f"{figure.rows.name} \\ {figure.columns.name}"
    return NumberTable((corner, *figure.columns.labels), rows, (False, *[True] * len(figure.columns.labels)))


def _in_cell(figure: Heatmap, row: int, column: int) -> str:
    sign = ESTIMATED if figure.is_estimate(row, column) else ""
    number = sign + figure.scale.text(figure.values[row][column])
    text = f"{figure.texts[row][column]} {number}" if figure.texts else number
    return f"{text} {PEAK}" if (row, column) in figure.peaks else text


@records_of.register
def _(figure: Heatmap) -> Records:
    rows, columns = figure.rows, figure.columns
    headings = ("row", rows.name or "row label", "column", columns.name or "column label", "value", "text", "estimated")
    return Records(headings, tuple(_cells(figure)))


def _cells(figure: Heatmap) -> Iterator[tuple[str | float | int | None, ...]]:
    """A row for each cell; layers and tokens by their number."""
    for row, of in enumerate(figure.rows.labels):
        for column, label in enumerate(figure.columns.labels):
            text = figure.texts[row][column] if figure.texts else ""
            estimated = "yes" if figure.is_estimate(row, column) else "no"
            places = figure.rows.index_of(row), of, figure.columns.index_of(column), label
            yield *places, figure.values[row][column], text, estimated


@table_of.register
def _(figure: TokenScores) -> NumberTable:
    rows = tuple((str(n), figure.tokens[n], figure.scale.text(figure.scores[n])) for n in range(*figure.attributed))
    return NumberTable(("#", "token", figure.scale.unit or "score"), rows, (True, False, True))


@records_of.register
def _(figure: TokenScores) -> Records:
    subject = ["yes" if figure.is_subject(n) else "no" for n in range(len(figure.tokens))]
    rows = tuple((n, figure.tokens[n], figure.scores[n], subject[n]) for n in range(*figure.attributed))
    return Records(("token", "text", figure.scale.unit or "score", "subject"), rows)


@table_of.register
def _(figure: Bars) -> NumberTable:
    write = figure.scale.text
    rows = tuple(
        (bar.label, write(bar.value), " … ".join(map(write, bar.interval)) if bar.interval else "")
        for bar in figure.bars
    )
    return NumberTable(("", figure.scale.unit or "value", "interval"), rows, (False, True, True))


@records_of.register
def _(figure: Bars) -> Records:
    rows = tuple((bar.label, bar.value, *(bar.interval or (None, None))) for bar in figure.bars)
    return Records(("label", figure.scale.unit or "value", "from", "to"), rows)


@table_of.register
def _(figure: Curves) -> NumberTable:
    def written(value: float | None, decimals: int) -> str:
        return "–" if value is None else f"{value:.{decimals}f}".replace("-", "−")

    found = [(dict(curve.points), curve.decimals) for curve in figure.curves]
    rows = tuple((f"{x:g}", *(written(points.get(x), decimals) for points, decimals in found)) for x in figure.places)
    headings = (figure.x, *(curve.label for curve in figure.curves))
    return NumberTable(headings, rows, tuple(True for _ in headings))


@records_of.register
def _(figure: Curves) -> Records:
    found = [dict(curve.points) for curve in figure.curves]
    rows = tuple((x, *(points.get(x) for points in found)) for x in figure.places)
    return Records((figure.x, *(curve.label for curve in figure.curves)), rows)
