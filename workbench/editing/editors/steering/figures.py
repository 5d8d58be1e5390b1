"""What there is to draw of steering by contrast: the property before and after, what that costs, and the replies."""

from __future__ import annotations

from workbench.editing.editors.steering.steered import Steered
from workbench.editing.suite.behaviour import Behaviour, Reply, effect_text
from workbench.figures import Cell, Column, Figure, Table, said
from workbench.models.tokentext import display
from workbench.wording import signed

SHOWN = 4
"""Replies that are drawn: those that changed most."""


def steered_figures(result: Steered) -> tuple[Figure, ...]:
    """What was steered, the effect and its cost, and the replies that changed most."""
    where = ", ".join(f"layer {d.layer} ({d.told_apart:.0%} of the pairs told apart)" for d in result.directions)
    return (
        effect_table(f"{result.contrast} · towards {result.towards}, {result.strength:g} ×", result.behaviour),
        *said(f"direction by {result.by} of {result.pairs} pairs, after {where}".replace("%", " %")),
        replies_table(result.behaviour),
    )


def effect_table(title: str, found: Behaviour) -> Table:
    """The property and the measures of fluency, before and after."""
    growth, replies = found.perplexity_growth, found.replies_growth
    rows = [
        (found.measure, f"{found.before:.2f}", f"{found.after:.2f}", effect_text(found.effect)),
        ("held-out perplexity", f"{found.perplexity_before:.2f}", f"{found.perplexity:.2f}", _percent(growth)),
        (
            "perplexity of replies",
            _number(found.replies_perplexity_before),
            _number(found.replies_perplexity),
            "–" if replies is None else _percent(replies),
        ),
        (
            "repeated 3-grams",
            f"{found.repeated_before:.2f}",
            f"{found.repeated:.2f}",
            signed(found.repeated - found.repeated_before, 2),
        ),
    ]
    numbers = (Column(heading=heading, right=True) for heading in ("before", "after", "change"))
    return Table(
        title=title,
        columns=(Column(wraps=True), *numbers),
        rows=tuple(tuple(Cell(text=text) for text in row) for row in rows),
    )


def replies_table(found: Behaviour) -> Table:
    """The replies whose property changed most."""
    changed = sorted(found.replies, key=lambda reply: -abs(reply.value - reply.value_before))[:SHOWN]
    return Table(
        title="Replies to held-out prompts",
        columns=tuple(Column(heading=heading, wraps=True) for heading in ("prompt", "before", "after")),
        rows=tuple(_row(reply) for reply in changed),
    )


def _row(reply: Reply) -> tuple[Cell, ...]:
    return tuple(Cell(text=display(" ".join(text.split()))) for text in (reply.prompt, reply.before, reply.after))


def _percent(part: float) -> str:
    return f"{signed(100 * part, 1)} %"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
