"""What the erasure pane says, computed without any widget: the curves of its chart, its table, its numbers in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from textual.content import Content

from screens.panes.erasure.ledger import EditState, Erasure
from screens.widgets import numbers
from workbench.editing.editors import editor
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.erasure import layers_in_words
from workbench.editing.editors.erasure.layer import ErasedLayer
from workbench.editing.editors.erasure.probes import Accuracy

DIM = "$foreground 60%"
GUESSING = "─"
LEAST_HIGH = 5
"""Rows of a chart below which its curves lie on one another."""

STATES: dict[EditState, str] = {
    "none": "no edit",
    "planned": "◌ no edit yet",
    "on": "● on",
    "off": "○ off",
    "held": "◐ held",
    "removed": "removed",
}


@dataclass(frozen=True)
class ProbeCurve:
    """Accuracy (or share) on unseen texts, by layer; ``marker`` tells it from the others without colour."""

    marker: str
    name: str
    points: tuple[tuple[int, float], ...]


# --- The frame ---


def title(found: Erasure, state: EditState, place: int, of: int, wanted: float | None) -> str:
    """``Erasure 1/2 · ● on · Pronoun gender · LEACE L5–12``; what may be cut off at the end says the least."""
    result = found.result
    how, where = editor(result.how).title, layers_in_words(result.layers)
    if result.how == "steer":
        how += f" × {strength(found.strength)}"
        how += f" → {strength(wanted)}" if wanted is not None else ""
        where += f" to {result.towards}"
    number = f" {place}/{of}" if of > 1 else ""
    return " · ".join([f"Erasure{number}", STATES[state], result.concept, f"{how} {where}"])


def strength(value: float) -> str:
    """``1.5``, ``−2``."""
    return f"{value:g}".replace("-", "−")


# --- The chart ---


def curves(result: Erased) -> tuple[ProbeCurve, ...]:
    """Linear before and after, non-linear after; of steering the share that is taken for the class steered to.

    Where they meet a later one covers an earlier one, so what matters most comes last.
    """
    rows = result.probed
    if result.how == "steer":
        shares = [(row.layer, row.towards) for row in rows if row.towards is not None]
        return (
            ProbeCurve("●", "before", tuple((layer, share[0]) for layer, share in shares)),
            ProbeCurve("○", "after", tuple((layer, share[1]) for layer, share in shares)),
        )
    return (
        ProbeCurve("×", "non-linear", tuple((row.layer, row.nonlinear_after.texts) for row in rows)),
        ProbeCurve("●", "before", tuple((row.layer, row.before.texts) for row in rows)),
        ProbeCurve("○", "after", tuple((row.layer, row.after.texts) for row in rows)),
    )


def draw_chart(plt: Any, result: Erased, layer: int) -> None:
    """Put the curves into a plot of plotext, with the line of guessing, and one at the layer that is looked at."""
    plt.clear_figure()
    drawn = curves(result)
    least, most = result.probed[0].layer - 0.5, result.probed[-1].layer + 0.5
    lowest = min(value for curve in drawn for _, value in (*curve.points, (0, result.majority.texts)))
    plt.vline(layer)
    plt.plot([least, most], [result.majority.texts] * 2, marker=GUESSING)
    for curve in drawn:
        plt.scatter([at for at, _ in curve.points], [value for _, value in curve.points], marker=curve.marker)
    ticks = [tick for tick in (0.0, 0.25, 0.5, 0.75, 1.0) if tick > lowest - 0.1]
    plt.xlim(least, most)
    plt.ylim(min(lowest - 0.05, 0.75), 1.02)
    plt.yticks(ticks, [f"{tick:.2f}" for tick in ticks])
    plt.xticks(_spread([row.layer for row in result.probed], 10))
    plt.xaxes(True, False)
    plt.yaxes(True, False)


def _spread(layers: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly."""
    return list(layers[:: -(-len(layers) // most)])


def reading(result: Erased, row: ErasedLayer) -> Content:
    """The numbers of one layer, each after the marker it has in the chart: the chart's legend, too."""
    guessing = f"{GUESSING} guessing {both(result.majority)}"
    if row.towards is not None:
        before, after = (numbers.probability(share) for share in row.towards)
        said = [f"taken for {result.towards}: ● before {before}", f"○ after {after}", guessing]
    else:
        nonlinear = both(row.nonlinear_after)
        said = [f"● before {both(row.before)}", f"○ after {both(row.after)}", f"× non-linear {nonlinear}", guessing]
    what = "changed" if row.changed else "above" if row.layer > result.layers[-1] else "between"
    return Content.assemble(
        (f"layer {row.layer}", "bold"),
        (f" ({what}) · ", DIM),
        " · ".join(said),
    )


def both(found: Accuracy | None) -> str:
    """``.98/.76``: on unseen texts, and on unseen templates where there are any."""
    if found is None:
        return "–"
    texts = numbers.probability(found.texts)
    return texts if found.templates is None else f"{texts}/{numbers.probability(found.templates)}"


# --- The table ---

WIDTH = 10


def head(result: Erased) -> str:
    """The names of the columns, over `row_text`."""
    fresh = f"to {result.towards}" if result.how == "steer" else "fresh"
    names = ("before", "after", fresh[:WIDTH], "non-linear")
    return "  layer " + " ".join(f"{name:>{WIDTH}}" for name in names) + "  rank"


def row_text(row: ErasedLayer) -> str:
    """One layer's numbers in columns; ``◆`` is a layer that the edit changes."""
    fresh = both(row.fresh)
    if row.towards is not None:
        fresh = "→".join(numbers.probability(share) for share in row.towards)
    cells = (both(row.before), both(row.after), fresh, both(row.nonlinear_after))
    rank = f"{row.rank:>6}" if row.rank else ""
    return f"{'◆' if row.changed else ' '}{row.layer:>6} " + " ".join(f"{cell:>{WIDTH}}" for cell in cells) + rank
