"""What there is to draw of a regression suite; and the table of scores, which many edits share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from workbench.case import Prepend
from workbench.datasets.suites import SCORES, SuiteFact
from workbench.editing.suite.regression import FactOutcome, RoleScore, SuiteResult
from workbench.figures import Column, Figure, Line, Table, line, said
from workbench.models.tokentext import display
from workbench.wording import points, signed

FIRST_POSITION = " (first position: not known there without edits either)"

MOST_FAILING = 20
"""Failing facts that are listed; the rest is counted, and all are in the JSON."""


def suite_figures(result: SuiteResult) -> tuple[Figure, ...]:
    """Scores by role and what is prepended, with those without edits, and every failing fact with what is said now."""
    failing = result.failing()
    said_of = said(
        *harmonic_lines(result.harmonic, result.harmonic_before),
        *(_failing_line(result.suite.facts[outcome.fact], outcome) for outcome in failing[:MOST_FAILING]),
        *rest(len(failing)),
    )
    return (score_table(f"Regression suite · {result.suite.name}", result.scores, "facts"), *said_of)


def score_table(title: str, scores: Iterable[RoleScore], counted: str) -> Table:
    """Shares that pass and that are exact, and the gap of probabilities; ``counted`` are facts or records."""
    numbers = (counted, "pass", "was", "exact", "was", "p gap", "was")
    rows = []
    for score in scores:
        shares = (score.score, score.score_before, score.exact, score.exact_before)
        gaps = (score.magnitude, score.magnitude_before)
        cells = [f"{share:.0%}" if counted == "facts" else f"{share:.1%}" for share in shares]
        cells += ["–" if gap is None else signed(gap, 2) for gap in gaps]
        rows.append((SCORES[score.role], score.prepend, str(score.facts), *cells))
    columns = ("score", "prepended", *(Column(heading=heading, right=True) for heading in numbers))
    return Table(title=title, columns=columns, rows=tuple(rows))


def harmonic_lines(now: Mapping[Prepend, float | None], before: Mapping[Prepend, float | None]) -> list[Line]:
    """The harmonic score by what is prepended, where there is one."""
    return [
        line(f"harmonic score, {prepend}: {points(score)} (was {points(before.get(prepend))})", "strong")
        for prepend, score in now.items()
        if score is not None
    ]


def rest(failing: int) -> list[Line]:
    """How many failing facts are not listed."""
    return [line(f"… and {failing - MOST_FAILING} more", "muted")] if failing > MOST_FAILING else []


def _failing_line(fact: SuiteFact, outcome: FactOutcome) -> Line:
    after, known = outcome.after, outcome.before.passes
    text = f"✗ {fact.role}, {outcome.prepend}: {display(fact.prompt)} → {display(fact.target.strip())}; "
    text += f"says “{after.top}” {after.top_probability:.2f}"
    if outcome.first_position:
        text += FIRST_POSITION
    elif not known:
        text += " (without edits too)"
    return Line(text=text, meaning="warning" if known else "muted")
