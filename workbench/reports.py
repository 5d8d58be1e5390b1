"""Results as Rich renderables, for the command line. A further method adds one function and one line below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from workbench.checking import CheckReport
from workbench.methods.attribution import AttributionResult
from workbench.methods.base import Result
from workbench.methods.causal_trace import TraceGrid, TraceResult
from workbench.methods.continuation import ContinueResult
from workbench.methods.logit_lens import LensColumn, LensResult
from workbench.methods.trace_facts import ROLES, FactsTraceResult
from workbench.models.info import ModelInfo
from workbench.models.tokentext import display
from workbench.session import Step

BARS = "▁▂▃▄▅▆▇█"
GREYS = ("grey35", "grey42", "grey50", "grey58", "grey66", "grey74", "grey85", "grey93")


def print_step(step: Step, model: ModelInfo) -> None:
    """Print a finished step: its result, and under it the trust strip."""
    if step.result is not None:
        console = Console()
        console.print(DRAWINGS[type(step.result)](step.result))
        console.print(trust_line(step, model), style="dim")


def trust_line(step: Step, model: ModelInfo) -> Text:
    """How far the result is to be believed, on one line."""
    parts = [model.name, model.device, model.dtype, f"kernel {model.attention_kernel}", f"edits {len(step.edits)}"]
    line = Text(" · ".join(parts))
    for check in step.result.checks if step.result else ():
        line.append(f" · {check.name} {check.text}", style="bold yellow" if check.level == "warn" else "")
    line.append(f" · {step.seconds:.1f} s")
    return line


def _table(title: str, *headings: str, right: Sequence[str] = ()) -> Table:
    """A table without lines; ``right`` are the headings whose columns hold numbers, which are never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    table.title = Text(title) if title else None
    for heading in headings:
        if heading in right:
            table.add_column(Text(heading), justify="right", no_wrap=True)
        else:  # wrapping lets such a column give way first, and what is one word is cut and not wrapped
            table.add_column(Text(heading), max_width=14, overflow="ellipsis")
    return table


def _notes(notes: Sequence[str]) -> list[Text]:
    return [Text(f"· {note}", style="dim") for note in notes]


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def draw_lens(result: LensResult) -> RenderableType:
    """A table for each token that was computed, the last layer on top."""
    columns = enumerate(result.columns)
    tables = [_lens_table(result, position, column) for position, column in columns if column is not None]
    return Group(*tables, *_notes(result.encoded.notes))


def _lens_table(result: LensResult, position: int, column: LensColumn) -> Table:
    encoded = result.encoded
    pairs = ((encoded.target, column.target), (encoded.foil, column.foil))
    tracks = [(choice.text, track) for choice, track in pairs if choice and track]
    room = Console().width - 25 * len(tracks)
    shown = min(len(column.top_tokens[0]), max(1, room // 30))
    numbers = [heading for text, _ in tracks for heading in (f"p{text}", "rank")]
    numbers += (["T−F"] if column.logit_difference else []) + ["H bit", "KL nat"]
    tops = [heading for number in range(1, shown + 1) for heading in (f"top-{number}", f"p{number}")]
    title = f"Logit lens at “{encoded.texts[position].strip()}” (token {position})"
    right = ["layer", *(heading for heading in tops if heading.startswith("p")), *numbers]
    table = _table(title, "layer", *tops, *numbers, right=right)
    for row in reversed(range(len(column.entropy))):
        cells: list[str | Text] = ["emb" if row == 0 else str(row - 1)]
        for token, p in list(zip(column.top_tokens[row], column.top_probabilities[row], strict=True))[:shown]:
            cells += [Text(token.strip() or token), f"{p:.2f}"]
        for _, track in tracks:
            cells += [f"{track.probability[row]:.2f}", str(track.rank[row])]
        if column.logit_difference:
            cells.append(_signed(column.logit_difference[row], 1))
        table.add_row(*cells, f"{column.entropy[row]:.1f}", f"{column.kl[row]:.1f}")
    return table


def draw_continuation(result: ContinueResult) -> RenderableType:
    """The generated tokens with their probabilities, and the text they make."""
    table = _table("", "token", "p", "instead", "p", right=["p"])
    for token in result.generated:
        first, second = f"{token.probability:.3f}", f"{token.runner_up_probability:.3f}"
        table.add_row(Text(token.text), first, Text(token.runner_up), second)
    ended = _notes(["the model ended its text here"] if result.ended else [])
    text = "\n".join(display(line) for line in result.text.split("\n"))
    return Group(table, *ended, Text(text))


def draw_attribution(result: AttributionResult) -> RenderableType:
    """Each token with its score and a bar to the left for the foil, to the right for the target."""
    unit = "logits" if result.foil_text else "nats"
    against = f" against “{result.foil_text.strip()}”" if result.foil_text else ""
    title = f"What pulls towards “{result.target_text.strip()}”{against} · {result.method.replace('-', ' ')}"
    table = _table(title, "token", unit, "−", "+", right=[unit, "−"])
    largest = max((abs(score) for score in result.scores), default=0.0) or 1.0
    start, stop = result.attributed
    for text, score in list(zip(result.encoded.texts, result.scores, strict=True))[start:stop]:
        bar = "█" * round(12 * abs(score) / largest)
        left = Text(bar if score < 0 else "", style="dark_orange")
        right = Text(bar if score > 0 else "", style="dodger_blue1")
        table.add_row(Text(text), _signed(score, 2), left, right)
    summary = (
        f"{result.value:.2f} {unit} as it stands, {result.baseline_value:.2f} at the baseline ({result.baseline}), "
        f"{_count(result.evaluations, 'evaluation')}"
    )
    return Group(table, Text(summary, style="dim"), *_notes(result.encoded.notes))


def draw_trace(result: TraceResult) -> RenderableType:
    """A heatmap for each kind: tokens down, layers across, the share of the gap as shade and block."""
    what = "logit difference" if result.read == "difference" else f"p(“{result.answer.strip()}”)"
    parts: list[RenderableType] = []
    for grid in result.grids:
        parts.append(Text(f"Causal trace · {grid.kind} · {what}", style="bold"))
        rows = [
            ("*" if _in_subject(result, token) else " ", text, [_share(result, row[token]) for row in grid.values])
            for token, text in enumerate(result.encoded.texts)
        ]
        parts += _heatmap([(f"{text.strip() or text}{star}", shares) for star, text, shares in rows])
        parts.append(Text(_peak_sentence(result, grid), style="dim"))
    parts.append(
        Text(f"clean {result.clean:.3g}, corrupted {result.corrupted:.3g}, {_count(result.samples, 'run')}")
    )
    return Group(*parts, *_notes(result.encoded.notes))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _in_subject(result: TraceResult, token: int) -> bool:
    subject = result.encoded.subject
    return subject is not None and subject[0] <= token < subject[1]


def _share(result: TraceResult, value: float | None) -> float | None:
    return None if value is None else result.share(value)


def _peak_sentence(result: TraceResult, grid: TraceGrid) -> str:
    if grid.peak is None:
        return "no peak"
    token = result.encoded.texts[grid.peak.token].strip()
    share = result.share(grid.peak.value)
    percent = "" if share is None else f", {share:.0%} of the gap"
    return f"peak at layer {grid.peak.layer}, “{token}”: {grid.peak.value:.3f}{percent}"


def _heatmap(rows: Sequence[tuple[str, Sequence[float | None]]]) -> list[Text]:
    """Labelled rows of shares, 0 … 1; what lies outside saturates, what is not known is a question mark."""
    n_layers = max((len(shares) for _, shares in rows), default=0)
    wide = 2 if 18 + 2 * n_layers <= Console().width else 1
    lines = []
    for label, shares in rows:
        line = Text(f"{label[:16]:>16} ")
        for share in shares:
            level = 0 if share is None else min(len(BARS) - 1, max(0, int(share * len(BARS))))
            line.append(("?" if share is None else BARS[level]) * wide, style=GREYS[level])
        lines.append(line)
    ticks = "".join(f"{layer:<{5 * wide}}" for layer in range(0, n_layers, 5))
    lines.append(Text(f"{'layer':>16} {ticks}", style="dim"))
    return lines


def draw_facts_trace(result: FactsTraceResult) -> RenderableType:
    """For each kind a heatmap of roles by layers, scaled to its largest effect."""
    parts: list[RenderableType] = []
    for kind in dict.fromkeys(effect.kind for effect in result.effects):
        effects = {effect.role: effect for effect in result.effects if effect.kind == kind}
        largest = max((max(effect.mean) for effect in effects.values()), default=0.0) or 1.0
        parts.append(Text(f"Average indirect effect · {kind} · full block = {largest:.3f}", style="bold"))
        rows = [(role, [value / largest for value in effects[role].mean]) for role in ROLES if role in effects]
        parts += _heatmap(rows)
        # The last token's late states are the answer itself: that they restore it says nothing.
        telling = [effect for role, effect in effects.items() if kind != "states" or role != "last"]
        best = max(telling or list(effects.values()), key=lambda effect: max(effect.mean))
        layer = best.mean.index(max(best.mean))
        parts.append(Text(f"largest at layer {layer}, {best.role}: {max(best.mean):.3f}", style="dim"))
    clean, corrupted = (f"{value:.3f}" if value is not None else "–" for value in (result.clean, result.corrupted))
    used = f"{_count(result.used, 'fact')} used, {result.unknown} not known, {result.unusable} not traceable"
    return Group(*parts, Text(f"{used}; mean clean {clean}, corrupted {corrupted}"))


DRAWINGS: dict[type[Result], Callable[[Any], RenderableType]] = {
    LensResult: draw_lens,
    ContinueResult: draw_continuation,
    AttributionResult: draw_attribution,
    TraceResult: draw_trace,
    FactsTraceResult: draw_facts_trace,
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
