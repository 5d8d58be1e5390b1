"""Drawings of edits: one edit with its gates and its suite, the queue, many records, a bisection."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.console import Group, RenderableType

from workbench.case import Start
from workbench.cli.console import Text
from workbench.cli.reports.drawing import count, notes, signed, table
from workbench.datasets.suites import MUST_CHANGE, SuiteFact
from workbench.editing.bisection import BisectResult
from workbench.editing.editors.rome.rome import RomeResult, Said, SweptLayer
from workbench.editing.operations import QueueResult
from workbench.editing.queue import QueueState
from workbench.editing.records import FactsEditResult
from workbench.editing.suite.regression import FactOutcome, RoleScore, SuiteResult
from workbench.models.tokentext import display

FIRST_POSITION = " (first position: not known there without edits either)"

MOST_FAILING = 20
"""Failing facts that are listed; the rest is counted, and all are in the JSON."""


def draw_rome(result: RomeResult) -> RenderableType:
    """What the model said to the prompt and says now, what the edit is, and its suite."""
    foil = result.encoded.foil
    answers = [f"p “{result.target.strip()}”", *([f"p “{foil.text.strip()}”"] if foil else [])]
    numbers = [heading for answer in answers for heading in (answer, "was")]
    said = table(f"Edit {result.edit.id} · {result.edit.title}", "start", "says", "said", *numbers, right=numbers)
    for before, after in zip(result.before, result.after, strict=True):
        pairs = [(after.target, before.target), *([(after.foil, before.foil)] if foil else [])]
        cells = [f"{value:.3f}" for pair in pairs for value in pair if value is not None]
        said.add_row(after.start, _top(after), _top(before), *cells)
    lines = [
        Text(f"layer {result.layer} ({result.layer_from}), {result.size:.1%} of the matrix; loss "),
        *(Text(_swept(one), style="dim") for one in result.sweep),
    ]
    if result.losses:
        lines[0].append(f"{result.losses[0]:.2f} → {result.losses[-1]:.2f} ")
    lines[0].append(f"in {len(result.losses)} steps")
    if not result.sound:
        lines.append(Text("suspicious: a check below warns; trust no more than its suite says", style="bold yellow"))
    suite = [draw_suite(result.suite)] if result.suite else []
    return Group(said, *lines, *notes(result.encoded.notes), *suite)


def _swept(one: SweptLayer) -> str:
    suspicious = "" if one.sound else ", suspicious"
    p = f"p {one.target_probability:.2f}"
    return f"layer {one.layer}: score {_percent(one.score)}, {p}, drift {one.drift:.1e} nats{suspicious}"


def draw_suite(result: SuiteResult) -> RenderableType:
    """Scores by role and start, each with its value without edits, and every failing fact with what is said now."""
    found = _score_table(f"Regression suite · {result.suite.name}", result.scores, "facts")
    lines = _harmonic_lines(result.harmonic, result.harmonic_before)
    failing = result.failing()
    shown = [_failing_line(result.suite.facts[outcome.fact], outcome) for outcome in failing[:MOST_FAILING]]
    return Group(found, *lines, *shown, *_rest(len(failing)))


def draw_queue(result: QueueResult) -> RenderableType:
    """Every edit of the queue, on or off."""
    said = [Text(result.done)] if result.done else []
    return Group(*said, *_entries(result.queue))


def draw_facts_edit(result: FactsEditResult) -> RenderableType:
    """The table of scores, or of a sequence's points; and what failed."""
    parts: list[RenderableType] = [_score_table("Edits of records", result.scores, "records")]
    parts += _harmonic_lines(result.harmonic, result.harmonic_before)
    if result.points:
        starts = list(result.points[0].harmonic)
        chart = table("After so many edits", "edits", *starts, "perplexity", right=["edits", *starts, "perplexity"])
        chart.add_row(
            "0", *(_percent(result.harmonic_before.get(start)) for start in starts), f"{result.perplexity_before:.2f}"
        )
        for point in result.points:
            scores = (_percent(point.harmonic.get(start)) for start in starts)
            chart.add_row(str(point.edits), *scores, f"{point.perplexity:.2f}")
        parts.append(chart)
    elif result.perplexity is not None and result.records:
        seconds = sum(record.seconds for record in result.records) / len(result.records)
        growth = result.perplexity / result.perplexity_before - 1 if result.perplexity_before else math.nan
        canary = f"canary perplexity {result.perplexity_before:.2f} → {result.perplexity:.2f} ({growth:+.2%})"
        parts.append(Text(f"{canary}, {seconds:.1f} s an edit"))
    to_change = [fact for fact in result.failing if fact.role in MUST_CHANGE]
    for fact in to_change[:MOST_FAILING]:
        line = Text(f"✗ {fact.record} {fact.role}, {fact.start}: {display(fact.prompt)} → ")
        line.append(f"{display(fact.wanted.strip())}; says “{fact.says}”")
        parts.append(line.append(FIRST_POSITION if fact.first_position else ""))
    parts += _rest(len(to_change))
    parts += [Text(f"· record {name}: {reason}", style="yellow") for name, reason in result.unusable.items()]
    return Group(*parts)


def draw_bisect(result: BisectResult) -> RenderableType:
    """The edit that broke the fact, and the answers on either side of it."""
    fact = f"{display(result.fact.prompt)} → {display(result.fact.target.strip())}"
    return Group(
        Text(f"{fact} is broken by edit {result.broken_by.id}, {result.broken_by.title}", style="bold"),
        Text(f"with the {result.before} edits before it: “{result.passing.top}” {result.passing.top_probability:.2f}"),
        Text(f"with it too: “{result.failing.top}” {result.failing.top_probability:.2f}; {result.tried} trials"),
    )


def _entries(queue: QueueState) -> list[Text]:
    off = " (all off for a comparison)" if queue.bypassed else ""
    lines = [
        Text(f"{'●' if entry.on else '○'} {number} {entry.info.id} {entry.info.method} {entry.info.title}")
        for number, entry in enumerate(queue.entries, 1)
    ]
    on = sum(entry.on for entry in queue.entries)
    return [*lines, Text(f"{count(len(lines), 'edit')}, {on} on{off}", style="dim")]


def _score_table(title: str, scores: Iterable[RoleScore], counted: str) -> RenderableType:
    numbers = [counted, "pass", "was", "exact", "was", "p gap", "was"]
    found = table(title, "role", "start", *numbers, right=numbers)
    for score in scores:
        shares = (score.score, score.score_before, score.exact, score.exact_before)
        gaps = (score.magnitude, score.magnitude_before)
        cells = [f"{share:.0%}" if counted == "facts" else f"{share:.1%}" for share in shares]
        cells += ["–" if gap is None else signed(gap, 2) for gap in gaps]
        found.add_row(score.role, score.start, str(score.facts), *cells)
    return found


def _harmonic_lines(now: dict[Start, float | None], before: dict[Start, float | None]) -> list[Text]:
    return [
        Text(f"harmonic score, {start}: {_percent(score)} (was {_percent(before.get(start))})", style="bold")
        for start, score in now.items()
        if score is not None
    ]


def _failing_line(fact: SuiteFact, outcome: FactOutcome) -> Text:
    line = Text(f"✗ {fact.role}, {outcome.start}: ", style="yellow" if outcome.before.passes else "dim")
    line.append(f"{display(fact.prompt)} → {display(fact.target.strip())}; says “{outcome.after.top}” ")
    line.append(f"{outcome.after.top_probability:.2f}")
    if outcome.first_position:
        line.append(FIRST_POSITION)
    elif not outcome.before.passes:
        line.append(" (without edits too)")
    return line


def _rest(failing: int) -> list[Text]:
    return [Text(f"… and {failing - MOST_FAILING} more", style="dim")] if failing > MOST_FAILING else []


def _top(said: Said) -> Text:
    return Text(f"{said.top.strip() or said.top} {said.top_probability:.2f}")


def _percent(score: float | None) -> str:
    return "–" if score is None else f"{100 * score:.1f}"
