"""What stands under a figure: the scale in its colours and characters, and what is at the cursor."""

from __future__ import annotations

import math

from textual.content import Content

from screens.widgets.colours import Shade, block, fill, sequential, signed
from screens.widgets.figure_models import PEAK, SUBJECT
from screens.widgets.grid_model import Place
from workbench.blocks import bar, sign
from workbench.figures import Figure, Heatmap, Scale, Table, TokenScores


def legend(figure: Figure, dark: bool) -> Content:
    """The scale in its colours and characters, and what signs mean."""
    if isinstance(figure, TokenScores):
        ends = (f"{figure.foil} ", f" {figure.target}") if figure.target else ("", "")
        return Content.assemble(*_ramp(figure.scale, dark, ends, blocks=False))
    if not isinstance(figure, Heatmap):
        return Content("")
    signs = []
    if any(figure.is_estimate(r, c) for r, row in enumerate(figure.values) for c in range(len(row))):
        signs.append("░▒▓ estimate")
    if figure.peaks:
        signs.append(f"{PEAK} peak")
    if figure.rows.subject[1] or figure.columns.subject[1]:
        signs.append(f"{SUBJECT} subject")
    return Content.assemble(
        *_ramp(figure.scale, dark, ("", ""), not figure.texts), ("".join(f"   {s}" for s in signs), "")
    )


def _ramp(scale: Scale, dark: bool, ends: tuple[str, str], blocks: bool) -> list[tuple[str, str]]:
    parts = [(f"{ends[0]}{scale.text(scale.low)} ", "")]
    steps = 7 if scale.ramp == "signed" else 8
    for step in range(steps):
        share = (step - 3) / 3 if scale.ramp == "signed" else (step + 0.5) / steps
        if scale.ramp == "signed":
            colours = fill(signed(share) or Shade("signed", 0), dark)
            parts.append((sign(share), f"{colours.foreground} on {colours.background}"))
        else:
            found = sequential(share) or Shade("sequential", 0)
            foreground, background = block(found, dark) if blocks else fill(found, dark)[1::-1]
            parts.append((bar(share), f"{foreground} on {background}"))
    return [*parts, (f" {scale.text(scale.high)}{ends[1]} {scale.unit}".rstrip(), "")]


def read_out(figure: Figure, place: Place) -> str:
    """What is at a place of a figure, in full; nothing where the picture says it already."""
    if isinstance(figure, Heatmap):
        return _heatmap_cell(figure, place)
    if isinstance(figure, Table) and place.row < len(figure.rows):
        row, first = figure.rows[place.row], 1 if len(figure.columns) > 1 else 0
        at = place.column + first
        named = f"{figure.columns[at].heading}: " if figure.columns[at].heading else ""
        return f"{f'{row[0].text} · ' if first and row[0].text else ''}{named}{row[at].text}"
    if isinstance(figure, TokenScores):
        score = figure.scale.text(figure.scores[place.column])
        start, stop = figure.attributed
        inside = start <= place.column < stop
        return f'"{figure.tokens[place.column]}" {f"{score} {figure.scale.unit}".rstrip() if inside else "not varied"}'
    return ""


def _heatmap_cell(figure: Heatmap, place: Place) -> str:
    if not (figure.rows.labels and figure.columns.labels):
        return ""
    axes = ((figure.rows, place.row), (figure.columns, place.column))
    where = " · ".join(f"{axis.name} {axis.labels[at].strip() or axis.labels[at]}".strip() for axis, at in axes)
    value = figure.values[place.row][place.column]
    parts = [where, *([figure.texts[place.row][place.column]] if figure.texts else [])]
    parts.append("not known" if value is None else f"{figure.scale.text(value)} {figure.scale.unit}".rstrip())
    share = figure.scale.share(value)
    if figure.scale.ramp == "sequential" and not math.isnan(share) and (figure.scale.low, figure.scale.high) != (0, 1):
        parts.append(f"{round(100 * share)}% of the scale".replace("-", "−"))
    parts += ["estimate"] * figure.is_estimate(place.row, place.column)
    return " · ".join([*parts, *["peak"] * ((place.row, place.column) in figure.peaks)])
