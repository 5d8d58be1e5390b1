"""Print a table and draw a chart of editors over records.

    workbench edit --facts FILE --editors a,b,c --limit 100 --json > comparison.json
    python docs/make_comparison.py comparison.json [more.json …] [--prepend separator] [--chart docs/pictures/x.svg]

Reads the steps that the command prints, one JSON object after the other, of one file or several. The table is Markdown;
of single edits the chart has a bar for each score with its interval, of sequences and batches a curve for each editor.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from workbench.editing.editors import EDITORS, editor
from workbench.editing.figures import facts_standing
from workbench.editing.records import FactsEditRequest, FactsEditResult
from workbench.editing.sequence import turning_point
from workbench.editing.standings import BEST, WORST, Standing, compared
from workbench.figures import Cell
from workbench.session import Step

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b3a000")
"""Okabe and Ito's, which differ for the colour-blind as well; curves have signs besides."""

SIGNS = "●■▲◆▼○□△"
MEASURES = (("rewrite", "score", "efficacy"), ("paraphrase", "score", "generalization"),
            ("neighborhood", "score", "specificity"), ("paraphrase", "free", "free generation"))  # fmt: skip


def main() -> None:
    """Print the table; write the chart where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--prepend", default="separator", help="whose prompts: as-is or separator")
    parser.add_argument("--chart", type=Path)
    arguments = parser.parse_args()
    found = [step for file in arguments.files for step in steps(file.read_text(encoding="utf-8"))]
    print(table(found, arguments.prepend))
    if arguments.chart:
        arguments.chart.write_text(chart(found, arguments.prepend), encoding="utf-8")


def steps(text: str) -> Iterator[Step]:
    """The steps of edits of records in a text of JSON objects."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        at += len(text[at:]) - len(text[at:].lstrip())
        step = Step.model_validate(value)
        if isinstance(step.request, FactsEditRequest):
            yield step


def label(step: Step) -> str:
    """What an editor was asked: its title, and how its edits were made."""
    request = step.request
    assert isinstance(request, FactsEditRequest)
    title = editor(request.editor).title if request.editor in EDITORS else request.editor
    default = type(request.settings)()
    settings = [(name, value) for name, value in request.settings if value != getattr(default, name)]
    if settings:
        said = (name.replace("_", "-") if value is True else f"{name} {value}" for name, value in settings)
        title += f" ({', '.join(said)})"
    batch = "" if request.batch is None else f", batches of {request.batch}"
    return title + (", in sequence" if request.sequence else batch)


def standings(found: Sequence[Step]) -> list[Standing]:
    """A row for each step."""
    rows = []
    for step in found:
        result = step.result if isinstance(step.result, FactsEditResult) else None
        rows.append(facts_standing(label(step), result, step.error.message if step.error else step.status))
    return rows


def table(found: Sequence[Step], prepend: Any) -> str:
    """Markdown: editors down, scores with their intervals across, best and worst marked; then what was not run."""
    rows = standings(found)
    columns = compared(rows, prepend)
    lines = [f"| editor | {' | '.join(column.heading for column in columns)} |"]
    lines += [f"|---|{'---:|' * len(columns)}", _row("unedited", [column.unedited for column in columns])]
    lines += [_row(row.title, [column.cells[place] for column in columns]) for place, row in enumerate(rows)]
    records = max((score.facts for row in rows for score in row.scores), default=0)
    lines.append(
        f"\n{records} records, prompts {prepend}; {BEST} best, {WORST} worst; 95 % intervals by bootstrap over records."
    )
    lines += [f"\n{row.title}: {row.why}." for row in rows if row.why and not row.scores]
    return "\n".join(lines)


def _row(title: str, cells: Sequence[Cell]) -> str:
    texts = (f"**{cell.text}**" if cell.meaning == "good" else cell.text for cell in cells)
    return f"| {title} | {' | '.join(texts)} |"


# --- The chart ---

WIDE, BAR, LEFT, TOP, HIGH = 900, 14, 60, 40, 300


def chart(found: Sequence[Step], prepend: Any) -> str:
    """SVG: curves where edits lie on top of each other, else bars."""
    kept = [step for step in found if isinstance(step.result, FactsEditResult)]
    curves = [step for step in kept if isinstance(step.result, FactsEditResult) and len(step.result.points) > 1]
    drawn, high = _curves(curves, prepend) if curves else _bars(kept, prepend)
    style = "font-family:sans-serif;font-size:12px;fill:#222"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" style="{style}">'
        f'<rect width="{WIDE}" height="{high}" fill="white"/>{"".join(drawn)}</svg>\n'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = "#222", width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _bars(found: Sequence[Step], prepend: Any) -> tuple[list[str], float]:
    """For each score a bar an editor, its interval over it, and a dashed line where the unedited model is."""
    drawn, y, left, room = [], float(TOP), 220, WIDE - 220 - 60
    for role, field, heading in MEASURES:
        drawn.append(_text(left, y, f"{heading}, %"))
        y += 8
        top = y
        before = None
        for place, step in enumerate(found):
            assert isinstance(step.result, FactsEditResult)
            score = next((s for s in step.result.scores if (s.role, s.prepend) == (role, prepend)), None)
            value = getattr(score, field) if score else None
            drawn.append(_text(left - 8, y + BAR - 3, label(step), "end"))
            if score is not None and value is not None:
                before = getattr(score, f"{field}_before")
                colour = COLOURS[place % len(COLOURS)]
                drawn.append(
                    f'<rect x="{left}" y="{y:.1f}" width="{room * value:.1f}" height="{BAR}" fill="{colour}"/>'
                )
                low, high = score.intervals.get(field, (value, value))
                middle = y + BAR / 2
                drawn.append(_line(left + room * low, middle, left + room * high, middle, "#222", 2))
                drawn.append(_text(left + room * max(high, value) + 6, y + BAR - 3, f"{100 * value:.1f}"))
            y += BAR + 4
        if before is not None:
            x = left + room * before
            drawn.append(
                f'<line x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{y:.1f}" stroke="#222" stroke-dasharray="4 3"/>'
            )
        y += 24
    drawn.append(_text(left, y, "dashed: the unedited model; lines over bars: 95 % intervals"))
    return drawn, y + 20


def _curves(found: Sequence[Step], prepend: Any) -> tuple[list[str], float]:
    """A panel for each score and one for perplexity, over the number of edits."""
    panels: list[tuple[str, Any]] = [(heading, _of_score(role, field, prepend)) for role, field, heading in MEASURES]
    most = max(point.edits for step in found for point in step.result.points)  # type: ignore[union-attr]
    drawn: list[str] = []
    wide = (WIDE - 3 * LEFT) / 2
    panels.append(
        ("held-out perplexity, growth", lambda point, result: point.perplexity / result.perplexity_before - 1)
    )
    if any(point.capacity for step in found for point in step.result.points):  # type: ignore[union-attr]
        panels.append(
            ("capacity used, fullest layer", lambda point, _: point.capacity.share if point.capacity else None)
        )
    for number, (heading, value_of) in enumerate(panels):
        left, top = LEFT + (number % 2) * (wide + LEFT), TOP + (number // 2) * (HIGH / 1.5 + 50)
        high = HIGH / 1.5
        lines = [
            [(p.edits, v) for p in step.result.points if (v := value_of(p, step.result)) is not None]  # type: ignore[union-attr]
            for step in found
        ]
        growth = number == len(MEASURES)
        top_value = max([0.05, *(v for line in lines for _, v in line)]) if growth else 1.0
        drawn += [_text(left, top - 8, f"{heading}, %"), _line(left, top, left, top + high)]
        drawn += [
            _line(left, top + high, left + wide, top + high),
            _text(left - 6, top + 4, f"{100 * top_value:.0f}", "end"),
        ]
        drawn += [_text(left - 6, top + high, "0", "end"), _text(left + wide, top + high + 14, f"{most} edits", "end")]
        for place, line in enumerate(lines):
            colour, sign = COLOURS[place % len(COLOURS)], SIGNS[place % len(SIGNS)]
            dots = [(left + wide * n / most, top + high * (1 - max(0, v) / top_value)) for n, v in line]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
            drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            drawn += [_text(x, y + 4, sign, "middle", colour) for x, y in dots]
    y = TOP + 3 * (HIGH / 1.5 + 50)
    for place, step in enumerate(found):
        text = f"{SIGNS[place % len(SIGNS)]} {label(step)}, {_turn(step)}"
        drawn.append(_text(LEFT, y, text, "start", COLOURS[place % len(COLOURS)]))
        y += 18
    return drawn, y + 10


def _turn(step: Step) -> str:
    """Where the curve turns."""
    assert isinstance(step.result, FactsEditResult)
    points = step.result.points
    turned = turning_point(points, step.result.perplexity_before)
    return f"turns at {turned}" if turned else f"not turned by {points[-1].edits}"


def _of_score(role: str, field: str, prepend: Any) -> Any:
    def value(point: Any, result: FactsEditResult) -> float | None:
        del result
        return next((getattr(s, field) for s in point.scores if (s.role, s.prepend) == (role, prepend)), None)

    return value


if __name__ == "__main__":
    main()
