"""Results as Rich renderables, for the command line: results on stdout, progress on stderr."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from workbench.checking import CheckReport
from workbench.methods.base import Result
from workbench.methods.continuation import ContinueResult
from workbench.methods.logit_lens import LensColumn, LensResult
from workbench.models.info import ModelInfo
from workbench.session import Step


def print_step(step: Step, model: ModelInfo) -> None:
    """Print a finished step: its result, and under it the trust strip."""
    if step.result is not None:
        console = Console()
        console.print(_drawing(step.result))
        console.print(trust_line(step, model), style="dim")


def trust_line(step: Step, model: ModelInfo) -> Text:
    """How far the result is to be believed, on one line."""
    parts = [model.name, model.device, model.dtype, f"kernel {model.attention_kernel}", f"edits {len(step.edits)}"]
    line = Text(" · ".join(parts))
    for check in step.result.checks if step.result else ():
        line.append(f" · {check.name} {check.text}", style="bold yellow" if check.level == "warn" else "")
    line.append(f" · {step.seconds:.1f} s")
    return line


def _drawing(result: Result) -> RenderableType:
    return DRAWINGS[type(result)](result)


def draw_lens(result: LensResult) -> RenderableType:
    """A table for each token that was computed, the last layer on top."""
    tables = [
        _lens_table(result, position, column)
        for position, column in enumerate(result.columns)
        if column is not None
    ]
    notes = [Text(f"· {note}", style="dim") for note in result.encoded.notes]
    return Group(*tables, *notes)


def _lens_table(result: LensResult, position: int, column: LensColumn) -> Table:
    encoded = result.encoded
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    table.title = Text(f"Logit lens at “{encoded.texts[position]}” (token {position})")
    number_shown = min(len(column.top_tokens[0]), 3 if Console().width >= 110 else 2)
    tracks = [
        (choice.text, track)
        for choice, track in ((encoded.target, column.target), (encoded.foil, column.foil))
        if choice and track
    ]
    table.add_column("layer", justify="right", no_wrap=True)
    for number in range(1, number_shown + 1):
        table.add_column(f"top-{number}", no_wrap=True, max_width=14)
        table.add_column("p", justify="right", no_wrap=True)
    for text, _ in tracks:
        table.add_column(Text(f"p{text}"), justify="right", no_wrap=True)
        table.add_column("rank", justify="right", no_wrap=True)
    for heading in (["T−F"] if column.logit_difference else []) + ["H bit", "KL nat"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in reversed(range(len(column.entropy))):
        cells: list[str | Text] = ["emb" if row == 0 else str(row - 1)]
        for token, p in list(zip(column.top_tokens[row], column.top_probabilities[row], strict=True))[
            :number_shown
        ]:
            cells += [Text(token.strip() or token), f"{p:.2f}"]
        for _, track in tracks:
            cells += [f"{track.probability[row]:.2f}", str(track.rank[row])]
        if column.logit_difference:
            cells.append(f"{column.logit_difference[row]:+.1f}".replace("-", "−"))
        table.add_row(*cells, f"{column.entropy[row]:.1f}", f"{column.kl[row]:.1f}")
    return table


def draw_continuation(result: ContinueResult) -> RenderableType:
    """The generated tokens with their probabilities, and the text they make."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("token", "p", "instead", "p"):
        table.add_column(heading, justify="right" if heading == "p" else "left")
    for token in result.generated:
        table.add_row(
            Text(token.text),
            f"{token.probability:.3f}",
            Text(token.runner_up),
            f"{token.runner_up_probability:.3f}",
        )
    ended = Text("the model ended its text here", style="dim") if result.ended else Text("")
    return Group(table, ended, Text(result.text))


DRAWINGS: dict[type[Result], Callable[..., RenderableType]] = {
    LensResult: draw_lens,
    ContinueResult: draw_continuation,
}


def print_check(report: CheckReport) -> None:
    """Print how every step of a session compares with what was recorded."""
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("step", "method", "outcome", "largest difference", ""):
        table.add_column(heading)
    for step in report.steps:
        style = {"same": "green", "skipped": "dim"}.get(step.outcome, "bold red")
        beyond = f"{step.n_drifts} values beyond {report.tolerance:g}" if step.n_drifts else step.message
        table.add_row(str(step.id), step.kind, Text(step.outcome, style=style), f"{step.largest:.1e}", beyond)
        for drift in step.drifts:
            table.add_row("", "", "", "", Text(f"{drift.place}: {drift.recorded} → {drift.now}", style="dim"))
    console.print(table)
    console.print("nothing drifted" if report.passed else "the session does not replay as it was recorded")
