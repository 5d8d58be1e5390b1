"""A report as a file of its own: HTML in one piece, Markdown, or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, get_args

from workbench.figures import Figure, Table
from workbench.reporting.formats import STYLE, as_html, as_markdown, in_markdown
from workbench.reporting.markup import Markup, escaped, joined, tag
from workbench.reporting.report import Blank, Block, Code, Report, Section
from workbench.visible import visible

PageFormat = Literal["html", "md", "json"]
PAGE_FORMATS: tuple[PageFormat, ...] = get_args(PageFormat)

FOLDED = 20
"""Rows from which on a table is folded, so that a report can be read from top to bottom."""

LONG_CODE = 1_000
"""Characters of a command from which on it is folded, too."""

LONG_COMMAND = "The command, which is long"

EMPTY = "\\_" * 12
"""What is seen of a field in Markdown that nobody has filled in."""

# Nothing is fetched and nothing runs, whatever the texts from elsewhere say.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;color:#1d2330;background:#fff;max-width:70rem;margin:2rem auto;"
    "padding:0 1rem}h1{font-size:1.6rem}h2{font-size:1.25rem;border-bottom:1px solid #c9ced8;margin-top:2.2rem}"
    "h3{font-size:1.05rem;margin-top:1.8rem}p{margin:.3rem 0}figure{margin:1rem 0;overflow-x:auto}"
    ".wide{overflow-x:auto;margin:.8rem 0}table{border-collapse:collapse;font-size:.85rem}"
    "caption{text-align:left;font-weight:bold;padding:.2rem 0;white-space:nowrap}th,td{text-align:left;"
    "padding:.15rem .6rem;border-bottom:1px solid #e3e6ec;vertical-align:top;white-space:pre-wrap}"
    "pre{background:#f3f4f7;padding:.6rem;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem}summary{cursor:pointer;color:#5b6475}"
    "dl{margin:.8rem 0}dt{font-weight:bold}dd{border-bottom:1px solid #5b6475;min-height:1.6rem;margin:0 0 .8rem}"
    "nav li{display:inline;margin-right:1rem}nav ul{padding:0}@media print{details{display:block}}"
)  # fmt: skip


def page(report: Report, as_: PageFormat) -> str:
    """The report as the content of a file."""
    if as_ == "json":
        return report.model_dump_json(indent=1) + "\n"
    return html_page(report) if as_ == "html" else markdown_page(report)


def html_page(report: Report) -> str:
    """One file that needs no other, runs nothing and fetches nothing."""
    head = tag(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("title", report.title),
        tag("style", Markup(_STYLE), STYLE),
    )
    links = (tag("li", tag("a", s.heading, href=f"#{s.anchor}")) for s in report.sections if s.depth == 2)
    sections = (_html_section(section) for section in report.sections)
    body = tag("body", tag("h1", report.title), tag("nav", tag("ul", *links)), *sections)
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _html_section(section: Section) -> Markup:
    heading = tag(f"h{section.depth}", section.heading, id=section.anchor)
    return joined("\n", tag("section", heading, *map(_html_block, section.blocks)))


def _html_block(block: Block) -> Markup:
    if isinstance(block, Code):
        code = tag("pre", tag("code", block.text))
        return tag("details", tag("summary", LONG_COMMAND), code) if len(block.text) > LONG_CODE else code
    if isinstance(block, Blank):
        return tag("dl", tag("dt", block.label), tag("dd", block.value, contenteditable="true"))
    return joined(
        "\n", tag("details", tag("summary", _folded(block)), as_html(block)) if _is_long(block) else as_html(block)
    )


def _is_long(figure: Figure) -> bool:
    return isinstance(figure, Table) and len(figure.rows) > FOLDED


def _folded(figure: Figure) -> str:
    return figure.title or "A long table"


def markdown_page(report: Report) -> str:
    """Markdown with tables of numbers in place of pictures. Long ones are folded where a viewer can do that."""
    parts = [f"# {in_markdown(report.title)}"]
    for section in report.sections:
        parts += [f"{'#' * section.depth} {in_markdown(section.heading)}", *map(_markdown_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown_block(block: Block) -> str:
    if isinstance(block, Code):
        text = visible(block.text)
        fence = "`" * (1 + max((len(run) for run in _runs_of_ticks(text)), default=2))
        return f"{fence}sh\n{text}\n{fence}"
    if isinstance(block, Blank):
        return f"**{in_markdown(block.label)}:** {in_markdown(block.value) or EMPTY}"
    if _is_long(block):
        return f"<details><summary>{escaped(_folded(block))}</summary>\n\n{as_markdown(block)}\n\n</details>"
    return as_markdown(block)


def _runs_of_ticks(text: str) -> Iterator[str]:
    """Runs of three and more, which would end a block of code."""
    return (found[0] for found in re.finditer("`{3,}", text))
