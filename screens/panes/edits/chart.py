"""How many edits a model bears: the suite's score and the held-out perplexity over the number of edits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from screens.dialog import Framed
from workbench.editing.sequence import TURNED, SequencePoint, turning_point

NONE = (
    "No suite was run yet. Make an edit, or press c on one: every suite with its held-out perplexity is a point here."
)
SCORE, PERPLEXITY = "●", "x"
"""The signs of the two curves, which differ without colour."""


class EditChart(Framed[None]):
    """Draws points; says in words what they are, and warns where the curve turns."""

    DEFAULT_CSS = """
    EditChart {
        & > #frame { height: 95%; max-height: 40; }
        & Static { max-height: 6; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,v,q", "close", "Close", tooltip="Back to the edits", id="edit_chart.close"),
    ]

    def __init__(self, points: Sequence[SequencePoint]) -> None:
        super().__init__()
        self._points = points

    def compose_inside(self) -> ComposeResult:
        """The chart and the words under it."""
        if len(self._points) > 1:
            from textual_plotext import PlotextPlot  # 0.07 s at the first chart, and none before

            chart = PlotextPlot()
            draw(chart.plt, self._points)
            yield chart
        yield Static(in_words(self._points))

    def on_mount(self) -> None:
        """Say what is drawn."""
        self.entitle("Score and perplexity over the number of edits")


def draw(plt: Any, points: Sequence[SequencePoint]) -> None:
    """Put both curves into a plot of plotext: the score in % by the left axis, perplexity by the right one."""
    scored = [(point.edits, 100 * score) for point in points if (score := score_of(point)) is not None]
    plt.plot([edits for edits, _ in scored], [score for _, score in scored], marker=SCORE, label="score %")
    edits, perplexities = [point.edits for point in points], [point.perplexity for point in points]
    plt.plot(edits, perplexities, marker=PERPLEXITY, yside="right", label="held-out perplexity")
    plt.ylim(0, 100)
    least, most = min(perplexities), max(perplexities)  # at least as far up as where it counts as having turned
    plt.ylim(0.95 * least, max(1.05 * most, (1 + TURNED) * perplexities[0]), yside="right")
    plt.xticks(edits)
    plt.xlabel("edits that are on")


def in_words(points: Sequence[SequencePoint]) -> Content:
    """The same points as text, and whether they have turned."""
    if len(points) < 2:
        return Content(NONE)
    unedited, *edited = points
    listed = " · ".join(
        f"{point.edits}: {'—' if (score := score_of(point)) is None else f'{score:.0%}'}, {point.perplexity:.1f}"
        for point in points
    )
    turned = turning_point(edited, unedited.perplexity)
    if turned is None:
        verdict = Content(f"It has not turned by {edited[-1].edits}.")
    else:
        said = f"! It turns at {turned}: the score lies {TURNED:.0%} under its best, or perplexity grew by as much."
        verdict = Content.styled(said, "bold $text-warning")
    return Content.assemble(
        (f"edits: score, perplexity · {listed}\n", ""),
        ("Of each number of edits the suite that was run last with so many on.\n", "$foreground 60%"),
        verdict,
    )


def score_of(point: SequencePoint) -> float | None:
    """The harmonic score, 0 … 1; None where the suite has not all its parts."""
    return next((score for score in point.harmonic.values() if score is not None), None)
