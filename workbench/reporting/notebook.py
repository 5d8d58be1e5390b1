"""Results as a notebook shows them."""

from __future__ import annotations

from workbench.protocol import Result
from workbench.registry import method
from workbench.reporting.formats import STYLE, as_html
from workbench.reporting.markup import Markup, tag


def html_of(result: Result) -> str:
    """The figures of a result, and under them the warnings of its trust strip."""
    warnings = (tag("p", f"! {c.name}: {c.text}", class_="warning") for c in result.checks if c.level == "warn")
    style = tag("style", Markup("@scope{"), STYLE, Markup("}"))  # of this result and not of the whole notebook
    return tag("div", style, *map(as_html, method(result.kind).figures(result)), *warnings)
