"""Figures drawn with Rich, for the command line: as wide as the console, and readable without colour."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import ConsoleOptions, Group, RenderableType
from rich.table import Table as RichTable

from workbench import figures
from workbench.blocks import BARS, bar, dots, horizontal_bar, sign
from workbench.cli.console import Text
from workbench.figures import (
    Axis,
    Bars,
    Cell,
    Column,
    Curve,
    Curves,
    Figure,
    Heatmap,
    Lines,
    Meaning,
    TokenScores,
)

STYLES: dict[Meaning, str] = {
    "plain": "",
    "strong": "bold",
    "muted": "dim",
    "heading": "bold",
    "note": "dim",
    "good": "green",
    "warning": "yellow",
    "bad": "bold red",
    "target": "dodger_blue1",
    "foil": "dark_orange",
    "subject": "underline",
}
WEIGHTS = ("dim", "dim", "", "", "", "", "bold", "bold")
"""For the levels of a block, which say it by themselves: no grey is seen on light and dark terminals alike."""

PEAK, SUBJECT, UNKNOWN = "◆", "*", "?"

LABEL, TEXT, SCORE = 16, 14, 12
"""Cells that a heatmap's label, a short text and the bar of a score may take."""

SENTENCE = 20
"""Cells that a column of sentences has at least, as long as a spare one can be left out."""

MOST_POINTS = 20
"""Places of x up to which several curves are a table of numbers; else each is a line of blocks."""


def draw(figure: Figure) -> RenderableType:
    """A figure as something to print."""
    return _Drawn(figure)


def draw_all(found: Iterable[Figure]) -> RenderableType:
    """Figures, one under the other."""
    return Group(*map(draw, found))


@dataclass(frozen=True)
class _Drawn:
    """A figure that is laid out when it is known how wide the console is."""

    figure: Figure

    def __rich_console__(self, console: object, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from _DRAWN_BY[type(self.figure)](self.figure, options.max_width)


def _lines(figure: Lines, _width: int) -> Iterator[Text]:
    yield from _title(figure.title)
    for line in figure.lines:
        yield Text(line.shown, style=STYLES[line.meaning])


def _title(title: str) -> Iterator[Text]:
    if title:
        yield Text(title, style="bold")


# Tables


def _table(figure: figures.Table, width: int) -> Iterator[RenderableType]:
    """Without lines. Spare columns are left out, the highest first, until the others fit."""
    kept = list(range(len(figure.columns)))
    while _needs(figure, kept) > width and (spare := max(figure.columns[index].spare for index in kept)):
        kept = [index for index in kept if figure.columns[index].spare != spare]
    yield from _title(figure.title)
    drawn = _grid([figure.columns[index] for index in kept])
    for row in figure.rows:
        drawn.add_row(*(_text(row[index]) for index in kept))
    yield drawn


def _needs(figure: figures.Table, kept: Sequence[int]) -> int:
    """Cells that columns take at least, sentences wrapped so that they can still be read."""
    wide = 2 * (len(kept) - 1)
    for index in kept:
        column = figure.columns[index]
        texts = (column.heading, *(row[index].text for row in figure.rows))
        if column.wraps:
            longest = max(cell_len(word) for text in texts for word in text.split() or [""])
            wide += max(longest, min(SENTENCE, max(map(cell_len, texts))))
        else:
            wide += max(cell_len(text) if column.right else min(TEXT, cell_len(text)) for text in texts)
    return wide


def _grid(columns: Iterable[Column]) -> RichTable:
    drawn = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        heading = Text(column.heading)
        if column.right:
            drawn.add_column(heading, justify="right", no_wrap=True)
        elif column.wraps:
            drawn.add_column(heading)
        else:  # wrapping lets such a column give way first, and what is one word is cut and not wrapped
            drawn.add_column(heading, max_width=TEXT, overflow="ellipsis")
    return drawn


def _text(cell: Cell) -> Text:
    return Text(cell.text, style=STYLES[cell.meaning])


# Numbers with bars


def _token_scores(figure: TokenScores, _width: int) -> Iterator[RenderableType]:
    """Each token with its number and a bar: to the left for the foil, to the right for the target."""
    yield from _title(figure.title)
    signed = figure.scale.ramp == "signed"
    left = [Column(heading="−", right=True)] if signed else []
    drawn = _grid([Column(heading="token"), Column(heading=figure.scale.unit, right=True), *left, Column(heading="+")])
    for token in range(*figure.attributed):
        text, score = figure.tokens[token], figure.scores[token]
        share = figure.scale.share(score)
        length = "" if math.isnan(share) else "█" * round(SCORE * min(1.0, abs(share)))
        bars = [Text(length if share < 0 else "", style=STYLES["foil"])] if signed else []
        bars.append(Text(length if share > 0 else "", style=STYLES["target"]))
        star = SUBJECT if figure.is_subject(token) else ""
        drawn.add_row(Text(text + star), Text(figure.scale.text(score)), *bars)
    yield drawn


def _bars(figure: Bars, width: int) -> Iterator[RenderableType]:
    """A label, a number with its interval, a bar; where numbers have signs, so has each bar."""
    yield from _title(figure.title)
    scale = figure.scale
    drawn = _grid([Column(wraps=True), Column(heading=scale.unit, right=True), Column(), Column(wraps=True)])
    for each in figure.bars:
        share = scale.share(each.value)
        length = horizontal_bar(abs(share), max(8, min(40, width // 3)))
        mark = ("−" if share < 0 else "+") if scale.ramp == "signed" and length else ""
        interval = "" if each.interval is None else " … ".join(map(scale.text, each.interval))
        drawn.add_row(
            Text(each.label, style=STYLES[each.meaning]), Text(scale.text(each.value)), Text(interval, style="dim"),
            Text(mark + length, style=STYLES["foil" if share < 0 else "target"], no_wrap=True),
        )  # fmt: skip
    yield drawn


# Curves


def _curves(figure: Curves, width: int) -> Iterator[RenderableType]:
    """A row of numbers for each x; where there are many, or there is one curve, a line of blocks for each."""
    yield from _title(figure.title)
    places = figure.places
    if len(figure.curves) == 1 or len(places) > MOST_POINTS:
        for curve in figure.curves:
            yield _line_of_blocks(figure, curve, width)
        return
    drawn = _grid(Column(heading=heading, right=True) for heading in (figure.x, *(c.label for c in figure.curves)))
    points = [dict(curve.points) for curve in figure.curves]
    for x in places:
        numbers = (number(found.get(x), curve.decimals) for curve, found in zip(figure.curves, points, strict=True))
        drawn.add_row(f"{x:g}", *numbers)
    yield drawn


def _line_of_blocks(figure: Curves, curve: Curve, width: int) -> Text:
    """A curve from its lowest to its highest point; then its numbers, or the first and last and those two."""
    known = [y for _, y in curve.points if y is not None]
    if not known:
        return Text(f"{curve.label}: nothing is known")
    low, high, room = min(known), max(known), max(8, width // 2)
    places = range(len(curve.points))
    shown = places if len(places) <= room else [round(n * (len(places) - 1) / (room - 1)) for n in range(room)]
    heights = (curve.points[place][1] for place in shown)
    blocks = "".join("·" if y is None else bar((y - low) / ((high - low) or 1)) for y in heights)
    numbers = [number(y, curve.decimals) for _, y in curve.points]
    if len(numbers) > MOST_POINTS:
        least, most = number(low, curve.decimals), number(high, curve.decimals)
        numbers = [numbers[0], "→", numbers[-1], f"(from {least} to {most})"]
    unit = figure.right if curve.right else figure.y
    over = f"{unit}, {figure.x} {curve.points[0][0]:g} … {curve.points[-1][0]:g}"
    line = Text(f"{curve.label} ")
    line.append(blocks, STYLES["target"])
    line.append(f" {' '.join(numbers)} {over}")
    return line


def number(value: float | None, decimals: int) -> str:
    """A number of a curve, "–" where it is not known."""
    return "–" if value is None else f"{value:.{decimals}f}".replace("-", "−")


# Heatmaps


def _heatmap(figure: Heatmap, width: int) -> Iterator[RenderableType]:
    """Labelled rows of blocks, or of signs where values have one; beside their numbers where there is room for them.

    What is not known is a question mark. Columns that do not fit stand below the others.
    """
    yield from _title(figure.title)
    label = min(LABEL, max(map(cell_len, (figure.columns.name, *_labels(figure.rows))), default=0))
    n = len(figure.columns.labels)
    texts = figure.texts or tuple(tuple(map(figure.scale.text, row)) for row in figure.values)
    longest = max((cell_len(text) for row in texts for text in row), default=0)
    written = 3 + max(min(8, longest), min(8, max(map(cell_len, _labels(figure.columns)), default=0)))
    room = max(1, width - label - 1)
    each = next((each for each in (written, 2) if n * each <= room), 1)
    for start in range(0, n, max(1, room // each)):
        columns = range(start, min(n, start + max(1, room // each)))
        yield from _rows(figure, columns, label, each, texts if each == written else None)
    yield _legend(figure)


def _rows(
    figure: Heatmap, columns: range, label: int, each: int, texts: Sequence[Sequence[str]] | None
) -> Iterator[Text]:
    for row, name in enumerate(_labels(figure.rows)):
        line = Text(f"{_fitted(name, label):>{label}} ", no_wrap=True)
        for column in columns:
            share = figure.scale.share(figure.values[row][column])
            mark = _mark(figure, row, column, share)
            peak = (row, column) in figure.peaks
            if texts is None:
                drawn = mark * each
                drawn = drawn[:-1] + PEAK if peak else drawn
            else:
                drawn = (PEAK if peak else mark) + f" {set_cell_size(texts[row][column], each - 3)} "
            line.append(drawn, style=_shade(figure, share))
        yield line
    yield Text(f"{_fitted(figure.columns.name, label):>{label}} {_ruler(figure.columns, columns, each)}", style="dim")


def _mark(figure: Heatmap, row: int, column: int, share: float) -> str:
    if math.isnan(share):
        return UNKNOWN
    if figure.scale.ramp == "signed":
        return sign(share)
    return dots(share) if figure.is_estimate(row, column) else bar(share)


def _shade(figure: Heatmap, share: float) -> str:
    if math.isnan(share):
        return WEIGHTS[0]
    if figure.scale.ramp == "signed":
        return STYLES["muted" if sign(share) == "·" else "target" if share > 0 else "foil"]
    return WEIGHTS[BARS.index(bar(share))]


def _legend(figure: Heatmap) -> Text:
    """The ends of the scale as characters, and what the signs mean."""
    scale = figure.scale
    least, most = ("▼", "▲") if scale.ramp == "signed" else (BARS[0], BARS[-1])
    legend = f"{least} {scale.text(scale.low)} … {most} {scale.text(scale.high)} {scale.unit}".rstrip()
    if any(any(figure.is_estimate(r, c) for c in range(len(line))) for r, line in enumerate(figure.values)):
        legend += "   ░▒▓ estimate"
    legend += f"   {PEAK} peak" if figure.peaks else ""
    starred = any(start < stop for start, stop in (figure.rows.subject, figure.columns.subject))
    return Text(legend + (f"   {SUBJECT} subject" if starred else ""), style="dim")


def _labels(axis: Axis) -> list[str]:
    return [f"{label.strip() or label}{SUBJECT if axis.is_subject(n) else ''}" for n, label in enumerate(axis.labels)]


def _fitted(text: str, width: int) -> str:
    """Cut at the end, but for a subject's star."""
    if cell_len(text) <= width:
        return text
    star = SUBJECT if text.endswith(SUBJECT) else ""
    return set_cell_size(text, width - 1 - len(star)) + "…" + star


def _ruler(axis: Axis, columns: range, each: int) -> str:
    """As many labels as there is room for, each beginning above or below its column."""
    labels, line = _labels(axis), ""
    sparse = 5 if all(label.lstrip("-").isdigit() for label in labels) and each <= 2 else 1
    for place, column in enumerate(columns):
        here = len(line) + (1 if line else 0) <= place * each and not column % sparse
        if here:
            line = line.ljust(place * each) + _fitted(labels[column], max(each - 1, 5))
    return line


_DRAWN_BY: dict[type[Figure], Callable[[Any, int], Iterator[RenderableType]]] = {
    Heatmap: _heatmap,
    figures.Table: _table,
    TokenScores: _token_scores,
    Bars: _bars,
    Curves: _curves,
    Lines: _lines,
}
