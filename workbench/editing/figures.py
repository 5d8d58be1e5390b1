"""What there is to draw of edits: one that is made, the queue, a bisection, edits of many records."""

from __future__ import annotations

from workbench.case import Prepend
from workbench.datasets.suites import MUST_CHANGE, SCORES
from workbench.editing.bisection import BisectResult
from workbench.editing.compare import CompareResult
from workbench.editing.edit import EditResult, SweptLayer
from workbench.editing.editors import editor
from workbench.editing.operations import QueueResult
from workbench.editing.records import FactsEditResult, FailingFact
from workbench.editing.said import Said
from workbench.editing.standings import Standing, standings_figures
from workbench.editing.suite.figures import (
    FIRST_POSITION,
    MOST_FAILING,
    harmonic_lines,
    rest,
    score_table,
    suite_figures,
)
from workbench.editing.suite.scores import SCORED
from workbench.figures import Column, Curve, Curves, Figure, Table, line, notes, said
from workbench.models.tokentext import display
from workbench.wording import count, points


def edit_figures(result: EditResult) -> tuple[Figure, ...]:
    """What the model said to the prompt and says now, how the edit was made, its gates, and its suite."""
    suspicious = "suspicious: a check below warns; trust no more than its suite says"
    return (
        *([_before_and_after(result)] if result.after else []),
        *said(
            *(line(_swept(one), "muted") for one in result.sweep),
            *([] if result.sound else [line(suspicious, "warning")]),
        ),
        *editor(result.editor).figures(result.details),
        *notes(result.encoded.notes if result.encoded else ()),
        *(suite_figures(result.suite) if result.suite else ()),
    )


def _before_and_after(result: EditResult) -> Table:
    target, foil = (result.encoded.target, result.encoded.foil) if result.encoded else (None, None)
    answers = [f"p “{answer.text.strip()}”" for answer in (target, foil) if answer]
    rows = []
    for before, after in zip(result.before, result.after, strict=True):
        pairs = [*([(after.target, before.target)] if target else []), *([(after.foil, before.foil)] if foil else [])]
        cells = ["–" if value is None else f"{value:.3f}" for pair in pairs for value in pair]
        rows.append((after.prepend, _top(after), _top(before), *cells))
    numbers = (Column(heading=heading, right=True) for answer in answers for heading in (answer, "was"))
    title = f"Edit {result.edit.id} · {result.edit.title}" if result.edit else ""
    return Table(title=title, columns=("prepended", "says", "said", *numbers), rows=tuple(rows))


def _swept(one: SweptLayer) -> str:
    suspicious = "" if one.sound else ", suspicious"
    gates = "; ".join(f"{gate.name} {gate.text}" for gate in one.gates)
    return f"layer {one.layer}: score {points(one.score)}, p {one.target_probability:.2f}, {gates}{suspicious}"


def _top(answer: Said) -> str:
    return f"{answer.top.strip() or answer.top} {answer.top_probability:.2f}"


def queue_figures(result: QueueResult) -> tuple[Figure, ...]:
    """Every edit of the queue, on or off."""
    queue = result.queue
    lines = [
        f"{'●' if entry.on else '○'} {number} {entry.info.id} {entry.info.method} {entry.info.title}"
        for number, entry in enumerate(queue.entries, 1)
    ]
    off = " (all off for a comparison)" if queue.bypassed else ""
    summary = f"{count(len(lines), 'edit')}, {sum(entry.on for entry in queue.entries)} on{off}"
    return said(*([result.done] if result.done else []), *lines, line(summary, "muted"))


def bisect_figures(result: BisectResult) -> tuple[Figure, ...]:
    """The edit that broke the fact, and the answers on either side of it."""
    fact = f"{display(result.fact.prompt)} → {display(result.fact.target.strip())}"
    passing, failing = result.passing, result.failing
    return said(
        line(f"{fact} is broken by edit {result.broken_by.id}, {result.broken_by.title}", "strong"),
        f"with the {result.before} edits before it: “{passing.top}” {passing.top_probability:.2f}",
        f"with it too: “{failing.top}” {failing.top_probability:.2f}; {result.tried} trials",
    )


def compare_figures(result: CompareResult) -> tuple[Figure, ...]:
    """Editors down, scores across, and the ids by which their edits can be put into the queue."""
    ids = (line(f"{rival.edit.id} {rival.title}", "muted") for rival in result.rivals if rival.edit)
    return (*standings_figures(f"Editors compared · {result.suite.name}", result.rivals), *said(*ids))


def facts_standing(title: str, result: FactsEditResult | None, why: str = "") -> Standing:
    """What an editor came to over records, as a row beside others; or why there is nothing."""
    if result is None:
        return Standing(title=title, why=why)
    return Standing(
        title=title,
        scores=result.scores,
        overlapping=result.overlapping,
        perplexity=result.perplexity,
        perplexity_before=result.perplexity_before,
        perplexity_interval=result.perplexity_interval,
        seconds=result.seconds,
        bytes=result.bytes,
    )


def facts_edit_figures(result: FactsEditResult) -> tuple[Figure, ...]:
    """The table of scores, what a sequence of edits comes to, and what failed."""
    parts: list[Figure] = [score_table("Edits of records", result.scores, result.overlapping, "records")]
    parts += said(*harmonic_lines(result.harmonic, result.harmonic_before))
    if result.points:
        parts += [
            _sequence(result),
            *(curves for prepend in result.points[0].harmonic for curves in _scores(result, prepend)),
        ]
    elif result.perplexity is not None and result.records:
        seconds = sum(record.seconds for record in result.records) / len(result.records)
        growth = result.perplexity / result.perplexity_before - 1
        perplexity = f"held-out perplexity {result.perplexity_before:.2f} → {result.perplexity:.2f} ({growth:+.2%})"
        parts += said(f"{perplexity}, {seconds:.1f} s an edit")
        parts += _records(result)
    failing = [fact for fact in result.failing if fact.role in MUST_CHANGE]
    unusable = (line(f"record {name}: {reason}", "warning") for name, reason in result.unusable.items())
    return (*parts, *said(*(_failing(fact) for fact in failing[:MOST_FAILING]), *rest(len(failing)), *unusable))


MOST_RECORDS = 100
"""Records that are listed; the rest is counted, and all are in the JSON."""


def _records(result: FactsEditResult) -> tuple[Figure, ...]:
    """A row for each record that was edited by itself, with its own scores in %."""
    first = next((score.prepend for record in result.records for score in record.scores), None)
    rows = []
    for record in result.records[:MOST_RECORDS]:
        scores = {score.role: f"{100 * score.score:.0f}" for score in record.scores if score.prepend == first}
        own = (scores.get(role, "–") for role in SCORED)
        rows.append((record.id, record.title, *own, f"{record.perplexity:.2f}", f"{record.seconds:.1f}"))
    numbers = (Column(heading=name, right=True) for name in ("effic", "gener", "specif", "perpl", "s"))
    columns = ("record", Column(heading="edit", wraps=True), *numbers)
    left = len(result.records) - len(rows)
    more = [line(f"… and {count(left, 'record')} more", "muted")] if left else []
    return (Table(title=f"Records · {first}", columns=columns, rows=tuple(rows)), *said(*more))


def _sequence(result: FactsEditResult) -> Curves:
    """Scores and perplexity after so many edits, 0 among them."""
    curves = []
    for prepend in result.points[0].harmonic:
        found = [(0, result.harmonic_before.get(prepend)), *((p.edits, p.harmonic[prepend]) for p in result.points)]
        scored = tuple((edits, None if score is None else 100 * score) for edits, score in found)
        curves.append(Curve(label=prepend, points=scored, decimals=1))
    perplexities = ((0, result.perplexity_before), *((point.edits, point.perplexity) for point in result.points))
    curves.append(Curve(label="perplexity", points=perplexities, right=True))
    return Curves(
        title="After so many edits", x="edits", y="harmonic score %", right="held-out perplexity", curves=tuple(curves)
    )


def _scores(result: FactsEditResult, prepend: Prepend) -> tuple[Curves, ...]:
    """Efficacy, generalization and specificity after so many edits, and what is in use of the editor's room.

    At 0 is the unedited model, on all records.
    """
    curves = []
    for role in SCORED:
        found = [
            (point.edits, score)
            for point in result.points
            for score in point.scores
            if (score.role, score.prepend) == (role, prepend)
        ]
        if found:
            start = (0, 100 * found[-1][1].score_before)
            scored = (start, *((edits, 100 * score.score) for edits, score in found))
            curves.append(Curve(label=SCORES[role], points=scored, decimals=1))
    room = [(point.edits, 100 * point.capacity.share) for point in result.points if point.capacity]
    if room:
        curves.append(Curve(label="capacity used", points=((0, 0), *room), decimals=1))
    if not curves:
        return ()
    return (Curves(title=f"Scores after so many edits, {prepend}", x="edits", y="%", curves=tuple(curves)),)


def _failing(fact: FailingFact) -> str:
    text = f"✗ {fact.record} {fact.role}, {fact.prepend}: {display(fact.prompt)} → {display(fact.wanted.strip())}; "
    return f"{text}says “{fact.says}”{FIRST_POSITION if fact.first_position else ''}"
