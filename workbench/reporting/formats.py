"""A figure in any format that leaves the terminal: CSV, JSON, SVG, text, HTML or Markdown."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from typing import Literal, get_args

from rich.cells import cell_len

from workbench.figures import Figure, Lines, Table
from workbench.reporting.colours import MEANINGS
from workbench.reporting.markup import Markup, joined, tag
from workbench.reporting.numbers import records_of, table_of
from workbench.reporting.svg import svg_of
from workbench.visible import visible

FigureFormat = Literal["csv", "json", "svg", "txt", "html", "md"]
FORMATS: tuple[FigureFormat, ...] = get_args(FigureFormat)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet takes text that begins so for a formula, and computes it."""

_MARKDOWN = re.compile(r"[\\`*_\[\]|~$#@]|:(?=\S)|(?<=www)\.|^(?:[-+=>]|\d+(?=[.)](?:\s|$)))", re.IGNORECASE)
"""What begins something in Markdown wherever it stands, or at the beginning of a line; links and names that become
links without any sign, too."""


def written(figure: Figure, as_: FigureFormat) -> str:
    """The figure as the content of a file, which ends with a line's end."""
    return _WRITERS[as_](figure).rstrip("\n") + "\n"


def as_csv(figure: Figure) -> str:
    """A line for each number, as it was computed. Text that a spreadsheet would compute has an apostrophe before it."""
    found = records_of(figure)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_inert, found.headings))
    writer.writerows([_inert(value) if isinstance(value, str) else value for value in row] for row in found.rows)
    return out.getvalue()


def as_json(figure: Figure) -> str:
    """The figure itself, which `workbench.figures` reads again."""
    return figure.model_dump_json(indent=1)


def as_text(figure: Figure) -> str:
    """Columns of plain text."""
    if isinstance(figure, Lines):
        return "\n".join([*([figure.title] if figure.title else []), *(line.shown for line in figure.lines)])
    table = table_of(figure)
    columns = list(zip(table.headings, *table.rows, strict=True))
    wide = [max(map(cell_len, column)) for column in columns]

    def padded(text: str, column: int) -> str:
        space = " " * (wide[column] - cell_len(text))
        return space + text if table.right[column] else text + space

    lines = ["  ".join(padded(text, n) for n, text in enumerate(row)).rstrip() for row in (table.headings, *table.rows)]
    return "\n".join([*([figure.title] if figure.title else []), *lines])


def as_markdown(figure: Figure) -> str:
    """A table, or a list of sentences, in which nothing is markup."""
    title = [f"**{in_markdown(figure.title)}**", ""] if figure.title else []
    if isinstance(figure, Lines):
        return "\n".join([*title, *(f"- {in_markdown(line.shown)}" for line in figure.lines)])
    table = table_of(figure)
    rule = ["---:" if right else "---" for right in table.right]
    rows = [map(in_markdown, table.headings), rule, *(map(in_markdown, row) for row in table.rows)]
    return "\n".join([*title, *(f"| {' | '.join(row)} |" for row in rows)])


def as_html(figure: Figure) -> Markup:
    """Sentences and tables as they are; a picture as a vector, and its numbers folded away under it."""
    if isinstance(figure, Lines):
        title = tag("h4", figure.title) if figure.title else ""
        lines = (tag("p", line.shown, class_=line.meaning) for line in figure.lines)
        return tag("div", title, *lines, class_="lines")
    if isinstance(figure, Table):
        return _html_table(figure)
    numbers = tag("details", tag("summary", "Numbers"), tag("div", _number_table(figure), class_="wide"))
    return tag("figure", Markup(svg_of(figure)), numbers)


def in_markdown(text: str) -> str:
    """A text for one line of Markdown, in which no sign means anything."""
    line = " ".join(visible(text).split("\n"))
    return html.escape(_MARKDOWN.sub(_literally, line), quote=False)


def _literally(found: re.Match[str]) -> str:
    """A number at the beginning keeps its digits: it is the sign after it that would make a list."""
    return found[0] + "\\" if found[0].isdigit() else "\\" + found[0]


def _html_table(figure: Table) -> Markup:
    caption = tag("caption", figure.title) if figure.title else ""
    sides = ["right" if column.right else None for column in figure.columns]
    head = (tag("th", column.heading, class_=side) for column, side in zip(figure.columns, sides, strict=True))
    body = (
        tag(
            "tr",
            *(tag("td", cell.text, class_=_classes(cell.meaning, side)) for cell, side in zip(row, sides, strict=True)),
        )
        for row in figure.rows
    )
    table = tag("table", caption, tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", table, class_="wide")


def _number_table(figure: Figure) -> Markup:
    table = table_of(figure)
    sides = ["right" if right else None for right in table.right]

    def row(cells: tuple[str, ...], name: str) -> Markup:
        return tag("tr", *(tag(name, text, class_=side) for text, side in zip(cells, sides, strict=True)))

    return tag(
        "table", tag("thead", row(table.headings, "th")), tag("tbody", *(row(cells, "td") for cells in table.rows))
    )


def _classes(meaning: str, side: str | None) -> str | None:
    return " ".join(each for each in (meaning if meaning != "plain" else "", side) if each) or None


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


STYLE = joined(
    *(Markup(f".{meaning}{{color:{colour}}}") for meaning, colour in MEANINGS.items()),
    Markup(".strong,.heading,.bad{font-weight:bold}.subject{text-decoration:underline}.right{text-align:right}"),
)
"""Of what stands in the HTML of figures."""

_WRITERS: dict[FigureFormat, Callable[[Figure], str]] = {
    "csv": as_csv,
    "json": as_json,
    "svg": svg_of,
    "txt": as_text,
    "html": as_html,
    "md": as_markdown,
}
