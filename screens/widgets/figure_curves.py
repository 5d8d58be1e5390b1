"""Curves: as a chart of plotext, and point by point in words."""

from __future__ import annotations

from typing import Any

from textual.color import Color

from workbench.figures import Curves

SIGNS = ("●", "x", "▲", "■", "◆", "+")
"""What the points of the curves of a chart are drawn with, which differ without colour."""

_COLOURS = {
    True: ("#7DB8EC", "#E59A45", "#6DAE62", "#C58FE0", "#5CC8C0", "#E07A7A"),
    False: ("#0B4A8F", "#9A4A00", "#2E6B24", "#6E2F91", "#0F6B66", "#9C2B2B"),
}
"""And in which colours on a dark theme, or a light one: the first two are those of the signed ramp."""


def draw_curves(plt: Any, figure: Curves, dark: bool = True) -> None:
    """Put curves into a plot of plotext."""
    colours = _COLOURS[dark]
    for place, curve in enumerate(figure.curves):
        known = [(x, y) for x, y in curve.points if y is not None]
        if known:
            xs, ys = ([point[axis] for point in known] for axis in (0, 1))
            colour, side = Color.parse(colours[place % len(colours)]).rgb, "right" if curve.right else "left"
            plt.plot(xs, ys, marker="braille", color=colour, yside=side)
            sign_ = SIGNS[place % len(SIGNS)]
            plt.scatter(xs, ys, marker=sign_, label=curve.label, color=colour, yside=side)
    if len(places := figure.places) <= 12:
        plt.xticks(list(places), [f"{place:g}" for place in places])
    plt.xlabel(figure.x)
    plt.ylabel(figure.y)
    if figure.right:
        plt.ylabel(figure.right, yside="right")


def points(figure: Curves) -> list[str]:
    """The points of curves in words: a line for each curve, its ends and extremes where there are many."""
    return [_points(figure, place) for place in range(len(figure.curves))]


def _points(figure: Curves, place: int) -> str:
    curve = figure.curves[place]
    known = [(x, y) for x, y in curve.points if y is not None]
    if not known:
        return f"{curve.label}: nothing is known"
    shown = [f"{x:g}: {_written(y, curve.decimals)}" for x, y in known]
    if len(shown) > 12:
        low, high = (_written(end(y for _, y in known), curve.decimals) for end in (min, max))
        shown = [shown[0], "…", shown[-1], f"from {low} to {high}"]
    return f"{curve.label} {SIGNS[place % len(SIGNS)]}  {' · '.join(shown)}"


def _written(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}".replace("-", "−")
