"""What there is to draw of a regression suite; and the table of scores, which many edits share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from workbench.case import Prepend
from workbench.datasets.suites import SCORES, Role
from workbench.editing.suite.regression import SuiteResult
from workbench.editing.suite.scores import FactOutcome, RoleScore
from workbench.figures import Column, Figure, Line, Table, line, said
from workbench.models.tokentext import display
from workbench.wording import points, signed

FIRST_POSITION = " (first position: not known there without edits either)"
UNKNOWN = " (not known without edits either)"
SAME_WORDS = "· same words"
"""Of the facts above those that share a word with the subject."""

MOST_FAILING = 20
"""Failing facts that are listed; the rest is counted, and all are in the JSON."""


def suite_figures(result: SuiteResult) -> tuple[Figure, ...]:
    """Scores by role and what is prepended, with those without edits, and every failing fact with what is said now."""
    failing = result.failing()
    said_of = said(
        *harmonic_lines(result.harmonic, result.harmonic_before),
        *(_failing_line(result, outcome) for outcome in failing[:MOST_FAILING]),
        *rest(len(failing)),
    )
    title = f"Regression suite · {result.suite.name}"
    return (score_table(title, result.scores, result.overlapping, "facts"), *said_of)


def score_table(title: str, scores: Collection[RoleScore], overlapping: Iterable[RoleScore], counted: str) -> Table:
    """Shares that pass, whose first token is exact, and that are said freely, and the gap of probabilities.

    ``counted`` are facts or records. Under the neighbors stand those of them that share a word with the subject.
    """
    sure = any(score.intervals for score in scores)
    numbers: list[tuple[str, int]] = [(counted, 0), ("pass", 0), *([("95 %", 1)] if sure else []), ("was", 0)]
    numbers += [("exact", 2), ("was", 2), ("free", 0), ("was", 0), ("p gap", 3), ("was", 3)]
    parts = {(score.role, score.prepend): score for score in overlapping}
    rows = []
    for name, score in _with_parts(scores, parts):
        decimals = 0 if counted == "facts" else 1
        exact, free = (score.exact, score.exact_before), (score.free, score.free_before)
        shares = [_share(share, decimals) for share in (score.score, score.score_before, *exact, *free)]
        cells = [shares[0], *([_interval(score)] if sure else []), *shares[1:]]
        gaps = (score.magnitude, score.magnitude_before)
        cells += ["–" if gap is None else signed(gap, 2) for gap in gaps]
        rows.append((name, score.prepend, str(score.facts), *cells))
    columns = ("score", "prepended", *(Column(heading=name, right=True, spare=spare) for name, spare in numbers))
    return Table(title=title, columns=columns, rows=tuple(rows))


def _share(share: float | None, decimals: int) -> str:
    return "–" if share is None else f"{share:.{decimals}%}"


def _interval(score: RoleScore) -> str:
    low, high = score.intervals.get("score", (score.score, score.score))
    return f"{100 * low:.0f}–{100 * high:.0f}"


def _with_parts(
    scores: Iterable[RoleScore], parts: Mapping[tuple[Role, Prepend], RoleScore]
) -> Iterator[tuple[str, RoleScore]]:
    """Every score by its name; after it the part of its facts that share a word with the subject."""
    for score in scores:
        yield SCORES[score.role], score
        if part := parts.get((score.role, score.prepend)):
            yield SAME_WORDS, part


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


def _failing_line(result: SuiteResult, outcome: FactOutcome) -> Line:
    fact, after = result.suite.facts[outcome.fact], outcome.after
    text = f"✗ {fact.role}, {outcome.prepend}: {display(fact.prompt)} → {display(fact.target.strip())}; "
    text += f"says “{after.top}” {after.top_probability:.2f}"
    if result.is_failure(outcome):
        return Line(text=text, meaning="warning")
    return Line(text=text + (FIRST_POSITION if outcome.first_position else UNKNOWN), meaning="muted")
