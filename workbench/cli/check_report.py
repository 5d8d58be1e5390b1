"""How a session compares with what was recorded, printed."""

from __future__ import annotations

from rich.table import Table

from workbench.checking import CheckReport
from workbench.cli.console import Console, Text


def print_check(report: CheckReport) -> None:
    """Print how every step of a session compares with what was recorded."""
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("step", "method", "outcome", "largest difference", ""):
        table.add_column(heading)
    for step in report.steps:
        style = {"same": "green", "skipped": "dim"}.get(step.outcome, "bold red")
        beyond = f"{step.n_drifts} values beyond {report.tolerance:g}" if step.n_drifts else step.message
        table.add_row(str(step.id), step.kind, Text(step.outcome, style=style), f"{step.largest:.1e}", Text(beyond))
        for drift in step.drifts:
            table.add_row("", "", "", "", Text(f"{drift.place}: {drift.recorded} → {drift.now}", style="dim"))
    console.print(table)
    for change in report.changed:
        console.print(Text(f"· {change}", style="yellow"))
    if all(step.outcome == "skipped" for step in report.steps):
        console.print("no step of the session has a result to compare with")
    else:
        console.print("nothing drifted" if report.passed else "the session does not replay as it was recorded")
