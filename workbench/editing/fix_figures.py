"""What there is to draw of fixes side by side: the recommendation, what speaks against each, and their scores."""

from __future__ import annotations

from workbench.editing.fix import FixResult
from workbench.editing.fix_candidates import FixCandidate
from workbench.editing.fix_cases import FixCasesResult
from workbench.editing.standings import standings_figures
from workbench.figures import Cell, Column, Figure, Table, line, said
from workbench.wording import count


def fix_figures(result: FixResult) -> tuple[Figure, ...]:
    """The recommendation and why, what speaks against it, and a row for each candidate with its scores."""
    return _side_by_side(result, result.suite.name if result.suite else "")


def cases_figures(result: FixCasesResult) -> tuple[Figure, ...]:
    """The same of several cases."""
    return _side_by_side(result, count(result.cases, "case"))


def _side_by_side(result: FixResult | FixCasesResult, title: str) -> tuple[Figure, ...]:
    found: list[Figure] = []
    if result.reason:
        best = None if result.recommended is None else result.candidates[result.recommended]
        lines = [line(result.reason, "good" if best and not best.against else "warning")]
        if best is not None:
            lines.append(line(f"undo: {best.undo}; ship: {best.ship}", "note"))
        found += said(*lines)
    if result.candidates:
        rows = tuple(_candidate_row(each, place == result.recommended) for place, each in enumerate(result.candidates))
        columns = ("", "fix", "changed", Column(heading="speaks against it", wraps=True))
        found.append(Table(title="Candidates", columns=columns, rows=rows))
        found += standings_figures(title, result.candidates)
    return tuple(found)


def _candidate_row(candidate: FixCandidate, chosen: bool) -> tuple[Cell, ...]:
    changed = {True: "yes", False: "no", None: "–"}[candidate.changed]
    if candidate.right is not None:
        changed = f"{candidate.right[0]} of {candidate.right[1]}"
    against = candidate.why or "; ".join(candidate.against) or "nothing"
    return (
        Cell(text="→" if chosen else ""),
        Cell(text=candidate.title, meaning="strong" if chosen else "plain"),
        Cell(text=changed, meaning="good" if candidate.changed else "plain"),
        Cell(text=against, meaning="plain" if against == "nothing" else "warning"),
    )
