"""A finished step as the command line prints it: the figures of its result, and under them how far to believe it."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.cli.console import Console, Text
from workbench.cli.figures import draw_all
from workbench.figures import Figure
from workbench.models.info import ModelInfo
from workbench.registry import method
from workbench.session import Step
from workbench.visible import one_line


def print_step(step: Step, model: ModelInfo) -> None:
    """Print a finished step: its result, and under it the trust strip."""
    if step.result is not None:
        console = Console()
        console.print(draw_all(method(step.request.kind).figures(step.result)))
        console.print(trust_line(step, model), style="dim")


def print_figures(figures: Iterable[Figure]) -> None:
    """Print what several steps came to together."""
    Console().print(draw_all(figures))


def trust_line(step: Step, model: ModelInfo) -> Text:
    """How far the result is to be believed, on one line."""
    parts = [model.name, model.device, model.dtype, f"kernel {model.attention_kernel}"]
    parts += map(one_line, model.origin)
    parts.append(f"edits {len(step.edits)}")
    line = Text(" · ".join(parts))
    for check in step.result.checks if step.result else ():
        line.append(f" · {check.name} {check.text}", style="bold yellow" if check.level == "warn" else "")
    line.append(f" · {step.seconds:.1f} s")
    return line
