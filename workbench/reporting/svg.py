"""A figure as a vector picture: SVG with text that can be selected, no script, nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import singledispatch

from rich.cells import cell_len, set_cell_size

from workbench.figures import Bars, Curves, Figure, Heatmap, Lines, Table, TokenScores
from workbench.reporting.colours import FOIL, INK, MEANINGS, QUIET, SERIES, TARGET, fill
from workbench.reporting.markup import Markup, joined, tag
from workbench.reporting.numbers import NumberTable, table_of

CHARACTER, LINE, FONT = 7.3, 20, 12
"""Pixels: the width of a character of the font, the height of a line, the font's size."""

MARGIN = 8
MOST = 22
"""Characters of a label, or of a cell's text; the rest is cut, and in the table of numbers."""

WIDEST_CELL, NARROWEST_CELL = 96.0, 12.0
WRITTEN_COLUMNS = 40
"""So many columns of a heatmap say their texts; those of a wider one are colours, and say them when pointed at."""

BAR = 260
CHART = (560, 220)
"""Pixels of a bar at its longest, and of a chart."""


def svg_of(figure: Figure) -> str:
    """The figure as the text of an SVG file."""
    body, width, height = _drawn(figure)
    title = tag("text", _cut(figure.title, 110), x=MARGIN, y=15, font_weight="bold", fill=INK) if figure.title else ""
    top = LINE if figure.title else 0
    width = max(width, CHARACTER * min(110, cell_len(figure.title)) + 2 * MARGIN)
    return tag(
        "svg",
        tag("title", figure.title or figure.kind),
        title,
        tag("g", body, transform=f"translate(0 {top})"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height + top:.0f}",
        width=round(width),
        height=round(height + top),
        role="img",
        font_family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
        font_size=FONT,
    )


@singledispatch
def _drawn(figure: Figure) -> tuple[Markup, float, float]:
    """What is drawn, its width and its height."""
    raise TypeError(f"no picture is made of {type(figure).__name__}")


def _text(
    text: str, x: float, y: float, colour: str = INK, anchor: str | None = None, weight: str | None = None
) -> Markup:
    return tag("text", text, x=x, y=y, fill=colour, text_anchor=anchor, font_weight=weight, xml__space="preserve")


def _cut(text: str, most: int = MOST) -> str:
    return text if cell_len(text) <= most else set_cell_size(text, most - 1).rstrip() + "…"


# Heatmaps


@_drawn.register
def _(figure: Heatmap) -> tuple[Markup, float, float]:
    labels = [_cut(label) for label in figure.rows.labels]
    left = MARGIN + CHARACTER * max(map(cell_len, (*labels, figure.rows.name)), default=0) + 6
    columns = figure.columns.labels
    texts = figure.texts or tuple(tuple(map(figure.scale.text, row)) for row in figure.values)
    longest = max((cell_len(text) for row in texts for text in row), default=1)
    written = len(columns) <= WRITTEN_COLUMNS
    needed = CHARACTER * min(MOST, max(longest, *(min(8, cell_len(c)) for c in columns), 3)) + 8 if columns else 0
    wide = min(WIDEST_CELL, needed) if written else NARROWEST_CELL
    cells = joined(*_cells(figure, texts if written else None, left, wide))
    rows = joined(
        *(
            _text(label, left - 6, row * LINE + 14, INK, "end", "bold" if figure.rows.is_subject(row) else None)
            for row, label in enumerate(labels)
        )
    )
    below = len(labels) * LINE
    ruler = joined(*_ruler(figure, left, wide, below))
    legend = _legend(figure, left, below + LINE + 20)
    return (
        joined(cells, rows, ruler, legend),
        max(left + wide * len(columns) + MARGIN, left + 420),
        below + 2 * LINE + 12,
    )


def _cells(figure: Heatmap, texts: tuple[tuple[str, ...], ...] | None, left: float, wide: float) -> Iterator[Markup]:
    numbers = table_of(figure)
    room = int((wide - 4) / CHARACTER)
    for row, line in enumerate(figure.values):
        for column, value in enumerate(line):
            back, ink = fill(figure.scale, value)
            x, y = left + column * wide, row * LINE
            peak = (row, column) in figure.peaks
            said = (
                f"{figure.rows.name} {figure.rows.labels[row]}, {figure.columns.name} {figure.columns.labels[column]}"
            )
            yield tag(
                "rect",
                tag("title", f"{said}: {numbers.rows[row][column + 1]} {figure.scale.unit}".rstrip()),
                x=x, y=y, width=wide - 1, height=LINE - 1, fill=back,
                stroke=INK if peak else None, stroke_width=2 if peak else None,
                stroke_dasharray="2 2" if figure.is_estimate(row, column) and peak else None,
            )  # fmt: skip
            if texts is not None:
                colour = QUIET if figure.is_estimate(row, column) and ink == INK else ink
                yield _text(_cut(texts[row][column], max(1, room)), x + (wide - 1) / 2, y + 14, colour, "middle")


def _ruler(figure: Heatmap, left: float, wide: float, below: float) -> Iterator[Markup]:
    """Labels of columns, as many as there is room for."""
    axis = figure.columns
    yield _text(axis.name, left - 6, below + 14, QUIET, "end")
    free = 0.0
    for column, label in enumerate(axis.labels):
        shown = _cut(label.strip() or label, max(3, int(wide / CHARACTER) - 1) if wide > NARROWEST_CELL else 6)
        if (x := column * wide) >= free:
            yield _text(shown, left + x, below + 14, INK, None, "bold" if axis.is_subject(column) else None)
            free = x + CHARACTER * (cell_len(shown) + 0.6)


def _legend(figure: Heatmap, left: float, y: float) -> Markup:
    """The ramp with its ends."""
    scale, steps = figure.scale, 12
    low, high = f"{scale.text(scale.low)} ", f" {scale.text(scale.high)} {scale.unit}"
    x = left + CHARACTER * cell_len(low)
    squares = (
        tag("rect", x=x + 12 * step, y=y - 11, width=12, height=13, fill=fill(scale, value)[0])
        for step in range(steps)
        if (value := scale.low + (scale.high - scale.low) * step / (steps - 1)) is not None
    )
    marks = "".join(
        said
        for said, there in (
            ("   grey text: estimated", any(any(line) for line in figure.estimated)),
            ("   framed: stands out", bool(figure.peaks)),
            ("   bold: subject", any(a < b for a, b in (figure.rows.subject, figure.columns.subject))),
        )
        if there
    )
    return joined(_text(low, left, y, QUIET), *squares, _text(high + marks, x + 12 * steps, y, QUIET))


# Bars


@_drawn.register
def _(figure: TokenScores) -> tuple[Markup, float, float]:
    rows = [
        (
            f"{figure.tokens[n]}{' *' if figure.is_subject(n) else ''}",
            figure.scale.text(figure.scores[n]),
            figure.scale.share(figure.scores[n]),
            INK,
        )
        for n in range(*figure.attributed)
    ]
    signed = figure.scale.ramp == "signed"
    towards = (
        f"{figure.scale.unit}   → {figure.target or 'target'}   ← {figure.foil or 'foil'}"
        if signed
        else figure.scale.unit
    )
    subject = "   * subject" if figure.subject[0] < figure.subject[1] else ""
    return _labelled_bars(rows, signed, towards + subject)


@_drawn.register
def _(figure: Bars) -> tuple[Markup, float, float]:
    write = figure.scale.text
    rows = [
        (
            bar.label,
            write(bar.value) + (f" ({' … '.join(map(write, bar.interval))})" if bar.interval else ""),
            figure.scale.share(bar.value),
            MEANINGS[bar.meaning],
        )
        for bar in figure.bars
    ]
    return _labelled_bars(rows, figure.scale.ramp == "signed", figure.scale.unit)


def _labelled_bars(rows: list[tuple[str, str, float, str]], signed: bool, unit: str) -> tuple[Markup, float, float]:
    """A label, a bar from zero, a number."""
    labels = [_cut(label, 40) for label, *_ in rows]
    left = MARGIN + CHARACTER * max(map(cell_len, labels), default=0) + 8
    zero = left + (BAR / 2 if signed else 0)
    length = BAR / 2 if signed else BAR
    drawn = []
    for row, ((_, number, share, colour), label) in enumerate(zip(rows, labels, strict=True)):
        y = row * LINE
        size = 0.0 if math.isnan(share) else length * min(1.0, abs(share))
        drawn += [
            _text(label, left - 8, y + 14, colour, "end"),
            tag(
                "rect", tag("title", f"{label}: {number}"), x=zero - size if share < 0 else zero, y=y + 3, width=size,
                height=LINE - 6, fill=FOIL if share < 0 else TARGET,
            ),
            _text(number, left + BAR + 8, y + 14),
        ]  # fmt: skip
    axis = tag("line", x1=zero, x2=zero, y1=0, y2=LINE * len(rows), stroke=QUIET)
    numbers = max((cell_len(number) for _, number, *_ in rows), default=0)
    width = max(left + BAR + 8 + CHARACTER * numbers, left + CHARACTER * cell_len(unit)) + MARGIN
    return joined(*drawn, axis, _text(unit, left, LINE * len(rows) + 14, QUIET)), width, LINE * (len(rows) + 1)


# Curves


@_drawn.register
def _(figure: Curves) -> tuple[Markup, float, float]:
    width, height = CHART
    left, places = 70.0, figure.places
    low, high = (places[0], places[-1]) if places else (0.0, 1.0)
    drawn: list[Markup] = [tag("path", d=f"M{left} 0V{height}H{left + width}", fill="none", stroke=QUIET)]
    for right in (False, True):
        values = [
            y
            for curve in figure.curves
            if curve.right is right
            for _, y in curve.points
            if y is not None and math.isfinite(y)
        ]
        if not values:
            continue
        least, most = min(values), max(values)
        for value, y in ((most, 10.0), (least, float(height))):
            x, anchor = (left + width + 4, None) if right else (left - 4, "end")
            drawn.append(_text(f"{value:.4g}".replace("-", "−"), x, y, QUIET, anchor))
        for n, curve in enumerate(figure.curves):
            if curve.right is right:
                points = [
                    (
                        left + width * (x - low) / ((high - low) or 1),
                        height - height * (y - least) / ((most - least) or 1),
                    )
                    for x, y in curve.points
                    if y is not None and math.isfinite(y)
                ]
                drawn.append(_line(points, n))
    drawn += [
        _text(f"{low:g}", left, height + 16, QUIET),
        _text(f"{figure.x}", left + width / 2, height + 16, QUIET, "middle"),
        _text(f"{high:g}", left + width, height + 16, QUIET, "end"),
    ]
    for n, curve in enumerate(figure.curves):
        y = height + 2 * LINE + n * LINE
        unit = f" ({figure.right}, right axis)" if curve.right else f" ({figure.y})"
        drawn += [_line([(left, y - 4.0), (left + 30.0, y - 4.0)], n), _text(curve.label + unit, left + 38, y)]
    return joined(*drawn), left + width + 80, height + LINE * (len(figure.curves) + 2)


def _line(points: list[tuple[float, float]], number: int) -> Markup:
    """A curve in the colour and the dashes of its number; one point is a dot."""
    colour = SERIES[number % len(SERIES)]
    if len(points) == 1:
        return tag("circle", cx=points[0][0], cy=points[0][1], r=3, fill=colour)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = (None, "6 3", "2 3", "8 3 2 3")[number % 4]
    return tag("polyline", points=path, fill="none", stroke=colour, stroke_width=2, stroke_dasharray=dashes)


# Texts


@_drawn.register
def _(figure: Table) -> tuple[Markup, float, float]:
    colours = [[MEANINGS[cell.meaning] for cell in row] for row in figure.rows]
    return _texts(table_of(figure), colours)


@_drawn.register
def _(figure: Lines) -> tuple[Markup, float, float]:
    drawn = [_text(line.shown, MARGIN, n * LINE + 14, MEANINGS[line.meaning]) for n, line in enumerate(figure.lines)]
    width = CHARACTER * max((cell_len(line.shown) for line in figure.lines), default=0) + 2 * MARGIN
    return joined(*drawn), width, LINE * len(drawn)


def _texts(table: NumberTable, colours: list[list[str]]) -> tuple[Markup, float, float]:
    """Columns of text, as wide as they need to be."""
    drawn, x = [], float(MARGIN)
    for column, heading in enumerate(table.headings):
        texts = [row[column] for row in table.rows]
        wide = CHARACTER * max(map(cell_len, (heading, *texts)))
        at, anchor = (x + wide, "end") if table.right[column] else (x, None)
        drawn.append(_text(heading, at, 14, INK, anchor, "bold"))
        drawn += [
            _text(text, at, (n + 1) * LINE + 14, colours[n][column], anchor) for n, text in enumerate(texts) if text
        ]
        x += wide + 2 * CHARACTER
    return joined(*drawn), x - 2 * CHARACTER + MARGIN, LINE * (len(table.rows) + 1)
