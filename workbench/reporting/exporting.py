"""A step, or a table or picture of it, as the content of a file."""

from __future__ import annotations

import json
from typing import Literal

from workbench.errors import InputError
from workbench.figures import Figure
from workbench.reporting.as_command import as_command
from workbench.reporting.as_python import as_python
from workbench.reporting.formats import FORMATS, FigureFormat, written
from workbench.reporting.steps import figures_of
from workbench.session import Session, Step

StepFormat = FigureFormat | Literal["command", "python"]
ENDINGS: dict[str, str] = {**{name: name for name in FORMATS}, "command": "sh", "python": "py"}
"""What the name of a file ends in."""


def exported(session: Session, step: Step, as_: StepFormat, number: int | None = None) -> str:
    """One figure of a step, counted from 1, or all of them; or its command or program. Raises `InputError`.

    SVG is one picture by itself.
    """
    if as_ == "command":
        return as_command(session, step) + "\n"
    if as_ == "python":
        return as_python(session, step)
    figures = figures_of(step)
    if not figures:
        raise InputError(f"step {step.id} found nothing that could be drawn")
    if number is None:
        return together(figures, as_)
    if not 1 <= number <= len(figures):
        raise InputError(f"there is no figure {number}; step {step.id} has {len(figures)}, {_listed(figures)}")
    return written(figures[number - 1], as_)


def together(figures: tuple[Figure, ...], as_: FigureFormat) -> str:
    """Several figures in one file, where the format has room for them. Raises `InputError` where it has not."""
    if len(figures) == 1:
        return written(figures[0], as_)
    if as_ == "json":
        return json.dumps([figure.model_dump(mode="json") for figure in figures], indent=1) + "\n"
    if as_ == "svg":
        raise InputError(f"an SVG file holds one picture; choose one by --figure: {_listed(figures)}")
    return "\n".join(written(figure, as_) for figure in figures)


def _listed(figures: tuple[Figure, ...]) -> str:
    return "; ".join(f"{n} {figure.title or figure.kind}" for n, figure in enumerate(figures, 1))[:600]
