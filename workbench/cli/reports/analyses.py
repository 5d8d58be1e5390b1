"""Drawings of what only looks: lens, continuation, attribution, trace."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table

from workbench.cli.console import Console, Text
from workbench.cli.reports.drawing import count, heatmap, notes, signed, table
from workbench.methods.attribution.attribution import AttributionResult
from workbench.methods.generation.continuation import ContinueResult
from workbench.methods.lens.logit_lens import LensColumn, LensResult
from workbench.methods.tracing.causal_trace import TraceGrid, TraceResult
from workbench.methods.tracing.facts import ROLES, FactsTraceResult
from workbench.models.tokentext import display


def draw_lens(result: LensResult) -> RenderableType:
    """A table for each token that was computed, the last layer on top."""
    columns = enumerate(result.columns)
    tables = [_lens_table(result, position, column) for position, column in columns if column is not None]
    return Group(*tables, *notes(result.encoded.notes))


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
    drawn = table(title, "layer", *tops, *numbers, right=right)
    for row in reversed(range(len(column.entropy))):
        cells: list[str | Text] = ["emb" if row == 0 else str(row - 1)]
        for token, p in list(zip(column.top_tokens[row], column.top_probabilities[row], strict=True))[:shown]:
            cells += [Text(token.strip() or token), f"{p:.2f}"]
        for _, track in tracks:
            cells += [f"{track.probability[row]:.2f}", str(track.rank[row])]
        if column.logit_difference:
            cells.append(signed(column.logit_difference[row], 1))
        drawn.add_row(*cells, f"{column.entropy[row]:.1f}", f"{column.kl[row]:.1f}")
    return drawn


def draw_continuation(result: ContinueResult) -> RenderableType:
    """The generated tokens with their probabilities, and the text they make."""
    drawn = table("", "token", "p", "instead", "p", right=["p"])
    for token in result.generated:
        first, second = f"{token.probability:.3f}", f"{token.runner_up_probability:.3f}"
        drawn.add_row(Text(token.text), first, Text(token.runner_up), second)
    ended = notes(["the model ended its text here"] if result.ended else [])
    text = "\n".join(display(line) for line in result.text.split("\n"))
    return Group(drawn, *ended, Text(text))


def draw_attribution(result: AttributionResult) -> RenderableType:
    """Each token with its score and a bar to the left for the foil, to the right for the target."""
    unit = "logits" if result.foil_text else "nats"
    against = f" against “{result.foil_text.strip()}”" if result.foil_text else ""
    title = f"What pulls towards “{result.target_text.strip()}”{against} · {result.method.replace('-', ' ')}"
    drawn = table(title, "token", unit, "−", "+", right=[unit, "−"])
    largest = max((abs(score) for score in result.scores if math.isfinite(score)), default=0.0) or 1.0
    start, stop = result.attributed
    for text, score in list(zip(result.encoded.texts, result.scores, strict=True))[start:stop]:
        bar = "█" * round(12 * abs(score) / largest) if math.isfinite(score) else ""
        left = Text(bar if score < 0 else "", style="dark_orange")
        right = Text(bar if score > 0 else "", style="dodger_blue1")
        drawn.add_row(Text(text), signed(score, 2), left, right)
    summary = (
        f"{result.value:.2f} {unit} as it stands, {result.baseline_value:.2f} at the baseline ({result.baseline}), "
        f"{count(result.evaluations, 'evaluation')}"
    )
    return Group(drawn, Text(summary, style="dim"), *notes(result.encoded.notes))


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
        parts += heatmap([(f"{text.strip() or text}{star}", shares) for star, text, shares in rows])
        parts.append(Text(_peak_sentence(result, grid), style="dim"))
    parts.append(Text(f"clean {result.clean:.3g}, corrupted {result.corrupted:.3g}, {count(result.samples, 'run')}"))
    return Group(*parts, *notes(result.encoded.notes))


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


def draw_facts_trace(result: FactsTraceResult) -> RenderableType:
    """For each kind a heatmap of roles by layers, scaled to its largest effect."""
    parts: list[RenderableType] = []
    for kind in dict.fromkeys(effect.kind for effect in result.effects):
        effects = {effect.role: effect for effect in result.effects if effect.kind == kind}
        largest = max((max(effect.mean) for effect in effects.values()), default=0.0) or 1.0
        parts.append(Text(f"Average indirect effect · {kind} · full block = {largest:.3f}", style="bold"))
        rows = [(role, [value / largest for value in effects[role].mean]) for role in ROLES if role in effects]
        parts += heatmap(rows)
        # The last token's late states are the answer itself: that they restore it says nothing.
        telling = [effect for role, effect in effects.items() if kind != "states" or role != "last"]
        best = max(telling or list(effects.values()), key=lambda effect: max(effect.mean))
        layer = best.mean.index(max(best.mean))
        parts.append(Text(f"largest at layer {layer}, {best.role}: {max(best.mean):.3f}", style="dim"))
    clean, corrupted = (f"{value:.3f}" if value is not None else "–" for value in (result.clean, result.corrupted))
    used = f"{count(result.used, 'fact')} used, {result.unknown} not known, {result.unusable} not traceable"
    return Group(*parts, Text(f"{used}; mean clean {clean}, corrupted {corrupted}"))
