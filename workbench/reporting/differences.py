"""What is different between two figures of one kind, as figures: the second minus the first, and what it sums up to.

Cells of heatmaps are compared at the same layer and token, from the end where something was prepended; rows of tables
and bars by what they are called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch

from workbench.figures import (
    Axis,
    Bars,
    Cell,
    Column,
    Curve,
    Curves,
    Figure,
    Heatmap,
    Line,
    Lines,
    Meaning,
    Scale,
    Table,
    TokenScores,
    line,
    said,
)
from workbench.wording import count, signed

SAME = "no difference"
LEAST = 5e-7
"""A smaller difference of two numbers is none: results are recorded with seven digits."""

MOST_ROWS = 12
"""Of a table that are listed; the rest is counted."""


@singledispatch
def difference(first: Figure, second: Figure) -> tuple[Figure, ...]:
    """The differences of two figures of one kind; none where there is nothing to compare."""
    raise TypeError(f"{type(first).__name__} and {type(second).__name__} are not compared")


def _titled(figure: Figure, rest: str) -> str:
    return f"{figure.title} · {rest}" if figure.title else rest


# Heatmaps


@difference.register
def _(first: Heatmap, second: Heatmap) -> tuple[Figure, ...]:
    """At the places that both have."""
    rows, columns = _shared(first.rows, second.rows), _shared(first.columns, second.columns)
    if not rows or not columns:
        return said(line(_titled(first, "they have no place in common"), "muted"))
    values = tuple(
        tuple(_minus(second.values[there[0]][at[0]], first.values[here][at[1]]) for at in columns)
        for there, here in ((row[:1], row[1]) for row in rows)
    )
    known = [value for row in values for value in row if value is not None]
    if known and max(map(abs, known)) < LEAST:
        return said(line(_titled(first, f"{count(len(known), 'cell')} compared: {SAME}"), "good"))
    decimals = max(first.scale.decimals, 2)
    scale = Scale.signed((value for row in values for value in row), first.scale.unit, decimals)
    drawn = Heatmap(
        title=_titled(first, "second − first"),
        rows=_only(second.rows, [row[0] for row in rows]),
        columns=_only(second.columns, [column[0] for column in columns]),
        values=values,
        scale=scale,
        texts=_changed_texts(first, second, rows, columns),
    )
    return (drawn, Lines(lines=tuple(_heatmap_sums(first, second, drawn, rows, columns))))


Matched = Sequence[tuple[int, int]]
"""Places in the second and in the first."""


def _shared(first: Axis, second: Axis) -> Matched:
    """The places of both, by their layer or token, or by their number where they are neither."""
    moved = _prepended(first, second)
    known = {first.index_of(place): place for place in range(len(first.labels))}
    places = ((place, known.get(second.index_of(place) - moved)) for place in range(len(second.labels)))
    return [(there, here) for there, here in places if here is not None]


def _prepended(first: Axis, second: Axis) -> int:
    """How many more tokens the second begins with, where the rest of them are those of the first, or fewer."""
    more = len(second.labels) - len(first.labels)
    if first.index != "token" or more == 0 or not (first.labels and second.labels):
        return 0
    shorter = min(len(first.labels), len(second.labels))
    alike = [a.strip() == b.strip() for a, b in zip(first.labels[-shorter:], second.labels[-shorter:], strict=True)]
    return more if all(alike) else 0


def _only(axis: Axis, places: Sequence[int]) -> Axis:
    """Neighboring places of an axis."""
    first, stop = places[0], places[-1] + 1
    start, end = (min(max(edge, first), stop) - first for edge in axis.subject)
    return axis.model_copy(
        update={"labels": axis.labels[first:stop], "first": axis.index_of(first), "subject": (start, max(start, end))}
    )


def _changed_texts(first: Heatmap, second: Heatmap, rows: Matched, columns: Matched) -> tuple[tuple[str, ...], ...]:
    """What a cell says now, with what it said before where that is another text."""
    if not (first.texts and second.texts):
        return ()

    def changed(now: str, before: str) -> str:
        return now if now == before else f"{before}→{now}"

    return tuple(tuple(changed(second.texts[r2][c2], first.texts[r1][c1]) for c2, c1 in columns) for r2, r1 in rows)


def _heatmap_sums(first: Heatmap, second: Heatmap, drawn: Heatmap, rows: Matched, columns: Matched) -> Iterator[Line]:
    cells = [
        (abs(value), row, column)
        for row, values in enumerate(drawn.values)
        for column, value in enumerate(values)
        if value is not None
    ]
    if not cells:
        yield line("no cell is known in both", "muted")
        return
    _, row, column = max(cells, key=lambda cell: cell[0])
    where = f"{drawn.rows.name} {drawn.rows.labels[row]}, {drawn.columns.name} {drawn.columns.labels[column].strip()}"
    value = drawn.values[row][column] or 0.0
    mean = sum(cell[0] for cell in cells) / len(cells)
    yield line(
        f"{count(len(cells), 'cell')} compared: the largest difference is {drawn.scale.text(value)} {drawn.scale.unit} "
        f"at {where}, the mean of all, without sign, {mean:.{drawn.scale.decimals}f}",
        "strong",
    )
    if first.scale.ramp == "signed":
        turned = sum(
            (first.values[r1][c1] or 0.0) * (second.values[r2][c2] or 0.0) < 0 for r2, r1 in rows for c2, c1 in columns
        )
        yield line(f"{count(turned, 'cell')} changed sides", "warning" if turned else "plain")
    other = sum(a != b for a, b in _texts(first, second, rows, columns))
    if other:
        yield line(f"{count(other, 'cell')} say another text", "plain")


def _texts(first: Heatmap, second: Heatmap, rows: Matched, columns: Matched) -> Iterator[tuple[str, str]]:
    if first.texts and second.texts:
        yield from ((first.texts[r1][c1], second.texts[r2][c2]) for r2, r1 in rows for c2, c1 in columns)


def _minus(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


# Numbers with names


@difference.register
def _(first: TokenScores, second: TokenScores) -> tuple[Figure, ...]:
    """Token by token, by its place."""
    places = [n for n in range(*first.attributed) if n in range(*second.attributed)]
    named = [
        (first.tokens[n] if first.tokens[n] == second.tokens[n] else f"{first.tokens[n]} → {second.tokens[n]}",
         first.scores[n], second.scores[n])
        for n in places
    ]  # fmt: skip
    return _compared(first, first.scale, named)


@difference.register
def _(first: Bars, second: Bars) -> tuple[Figure, ...]:
    """By label."""
    before = {bar.label: bar.value for bar in first.bars}
    return _compared(
        first, first.scale, [(b.label, before[b.label], b.value) for b in second.bars if b.label in before]
    )


def _compared(
    figure: Figure, scale: Scale, named: Sequence[tuple[str, float | None, float | None]]
) -> tuple[Figure, ...]:
    """A table of both numbers and their difference, and what is largest."""
    if not named:
        return said(line(_titled(figure, "they have nothing in common"), "muted"))
    rows: list[tuple[Cell, ...]] = []
    for name, before, now in named:
        change = _minus(now, before)
        meaning: Meaning = "plain" if change is None or abs(change) < LEAST else "target" if change > 0 else "foil"
        text = "–" if change is None else signed(change, scale.decimals)
        cells = (name, scale.text(before), scale.text(now))
        rows.append((*(Cell(text=cell) for cell in cells), Cell(text=text, meaning=meaning)))
    columns = ("", *(Column(heading=heading, right=True) for heading in ("first", "second", "difference")))
    table = Table(title=f"{figure.title} {scale.unit}".strip(), columns=columns, rows=tuple(rows))
    known = [(abs(change), name, change) for name, b, n in named if (change := _minus(n, b)) is not None]
    if not known or max(known)[0] < LEAST:
        return (table, *said(line(SAME, "good")))
    _, name, change = max(known)
    turned = sum((before or 0.0) * (now or 0.0) < 0 for _, before, now in named)
    sides = f"; {count(turned, 'number')} changed sides" if turned else ""
    return (
        table,
        *said(line(f"the largest difference is {signed(change, scale.decimals)}, of {name.strip()}{sides}", "strong")),
    )


@difference.register
def _(first: Curves, second: Curves) -> tuple[Figure, ...]:
    """Both, over one another."""
    if (first.x, first.y, first.right) != (second.x, second.y, second.right):
        return said(line(_titled(first, "they have other axes"), "muted"))
    curves = tuple(
        Curve(label=f"{which}: {c.label}", points=c.points, right=c.right, decimals=c.decimals)
        for which, figure in (("first", first), ("second", second))
        for c in figure.curves
    )
    return (Curves(title=_titled(first, "both"), x=first.x, y=first.y, right=first.right, curves=curves),)


# Texts


@difference.register
def _(first: Table, second: Table) -> tuple[Figure, ...]:
    """The rows whose first text both have, where anything else in them differs."""
    headings = [column.heading for column in second.columns]
    if headings != [column.heading for column in first.columns]:
        return said(line(_titled(first, "they have other columns"), "muted"))
    before, found, shared = _by_name(first), [], 0
    for key, row in _by_name(second).items():
        if (old := before.get(key)) is not None:
            shared += 1
            if parts := list(_changed_cells(second.columns, old, row)):
                found.append((row[0].text, "; ".join(parts)))
    same = _titled(first, f"{count(shared, 'row')} compared, {len(found)} different")
    if not found:
        return said(line(same, "good" if shared else "muted"))
    columns = (second.columns[0].heading, Column(heading="first → second", wraps=True))
    rest = [line(f"… and {count(len(found) - MOST_ROWS, 'row')} more", "muted")] if len(found) > MOST_ROWS else []
    return (Table(title=same, columns=columns, rows=tuple(found[:MOST_ROWS])), *said(*rest))


def _changed_cells(columns: Sequence[Column], before: Sequence[Cell], now: Sequence[Cell]) -> Iterator[str]:
    """What differs in a row, but for columns that may be left out."""
    group = ""
    for column, old, new in list(zip(columns, before, now, strict=True))[1:]:
        group = column.heading if column.heading != "was" else group
        if old.text != new.text and not column.spare:
            name = f"{group} was" if column.heading == "was" else column.heading
            yield f"{name} {old.text} → {new.text}".strip()


def _by_name(table: Table) -> dict[tuple[str, int], tuple[Cell, ...]]:
    """Rows by their first text, and the how-many-eth of it they are."""
    found: dict[tuple[str, int], tuple[Cell, ...]] = {}
    for row in table.rows:
        number = 0
        while (row[0].text, number) in found:
            number += 1
        found[row[0].text, number] = row
    return found


@difference.register
def _(first: Lines, second: Lines) -> tuple[Figure, ...]:
    """Sentences that only one of them has."""
    before, now = ([each.text for each in figure.lines] for figure in (first, second))
    gone = [line(f"first: {text}", "foil") for text in before if text not in now]
    new = [line(f"second: {text}", "target") for text in now if text not in before]
    return said(*gone, *new)
