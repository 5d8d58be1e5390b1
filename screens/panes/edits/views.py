"""What the edits pane says, computed without any widget: rows of the queue, scores, facts before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from screens.answers import Edits, edits_in_words
from screens.panes.edits.ledger import EditRow, MadeEdit, Measured, RowState
from screens.waits import named
from screens.widgets import numbers
from workbench.case import Prepend
from workbench.datasets.suites import SCORES, Role, SuiteFact
from workbench.editing.editors import EDITORS, editor
from workbench.editing.operations import Action, QueueRequest
from workbench.editing.queue import QueueState
from workbench.editing.said import Said
from workbench.editing.suite.regression import SuiteResult
from workbench.editing.suite.scores import SCORED, FactOutcome, RoleScore
from workbench.figures import Lines
from workbench.protocol import Request

DIM = "$foreground 60%"
SIGNS: dict[RowState, str] = {"planned": "◌", "computing": "…", "on": "●", "off": "○", "failed": "✗"}
STYLES: dict[RowState, str] = {
    "planned": DIM,
    "computing": "$text-primary",
    "on": "bold $text-success",
    "off": DIM,
    "failed": "$text-error",
}
SHORT: dict[Role, str] = {
    "rewrite": "eff.",
    "paraphrase": "gen.",
    "neighborhood": "spec.",
    "ripple": "port.",
    "unrelated": "unrel.",
    "attribute": "attr.",
}
DOING: dict[Action, str] = {
    "show": "looking at the queue",
    "on": "switching {} on",
    "off": "switching {} off",
    "remove": "removing {}",
    "move": "moving {}",
    "undo": "undoing the last change of the queue",
    "redo": "redoing a change of the queue",
    "bypass": "taking all edits off",
    "compare": "putting the edits on again",
    "save": "saving the edits",
    "save-model": "saving the model",
    "save-control-vector": "saving a control vector",
    "apply": "applying a patch",
    "restore": "restoring edits",
}
PREPENDED: dict[Prepend, str] = {
    "as-is": "nothing prepended",
    "separator": "BOS or separator prepended",
    "newline": "newline prepended",
}


def title(queue: QueueState, jobs: int) -> str:
    """The frame's title: how many edits there are and are on."""
    there = len(queue.entries)
    on = sum(entry.on for entry in queue.entries)
    parts = ["Edits"]
    if there:
        parts.append("all off to compare" if queue.bypassed else f"{on} of {there} on")
    if jobs:
        parts.append(f"{jobs} to come")
    return " · ".join(parts)


def doing(request: Request, queue: QueueState) -> str:
    """What a request will do, where it waits."""
    if not isinstance(request, QueueRequest):
        return named(request)
    titles = (
        f"{_editor_title(each.info.method)} {each.info.title}" for each in queue.entries if each.info.id == request.edit
    )
    return DOING[request.action].format(next(titles, "the edit"))


def row_content(row: EditRow, edits: Edits, width: int) -> Content:
    """One edit in two lines: its state and what it does, and how its suite came out or how far it is.

    ``edits`` are those whose switches are on, whether or not they are off for a comparison.
    """
    sign, word = ("◐", "held") if row.held else (SIGNS[row.state], row.state)
    lines = [Content.assemble((f"{sign} {word:<9} ", STYLES[row.state]), (headline(row), "bold"))]
    indent = "  "
    if row.measured is not None:
        lines.append(Content(indent + scores_in_words(row.measured, row.prepend, edits, width - len(indent))))
    if row.said:
        lines.append(Content.styled(f"{indent}{row.said}", STYLES["failed"] if row.state == "failed" else DIM))
    return Content("\n").join(lines)


def headline(row: EditRow) -> str:
    """Which edit it is, by whom, and what it does."""
    return f"{row.number} {_editor_title(row.method)} {row.title}"


def _editor_title(name: str) -> str:
    """What the editor of a row is called, by its name where there is none such (any more)."""
    return editor(name).title if name in EDITORS else name


def scores_in_words(measured: Measured, prepend: Prepend, edits: Edits, width: int) -> str:
    """``efficacy 1/1 (0) · specificity 28/30 (29)``: what passes, and what passed without edits where that differs.

    Where the first three do not fit they are abbreviated, as in the papers' tables; what still does not is left out.
    """
    suite = measured.suite
    prepends = list(dict.fromkeys(score.prepend for score in suite.scores))
    if not prepends:
        return "no fact is answered yet"
    there = prepend if prepend in prepends else prepends[0]
    when = ""
    if measured.so_far:
        when = " · so far"
    elif measured.edits != edits:
        when = f" · measured {edits_in_words(measured.edits)}"
    scores = [score for role in SCORES if (score := suite.score(role, there))]
    scored = [score for score in scores if score.role in SCORED]
    names = SCORES if cell_len(_joined(scored, SCORES) + when) <= width else SHORT
    while len(scores) > 1 and cell_len(_joined(scores, names) + when) > width:  # the most telling stand first
        scores.pop()
    return _joined(scores, names) + when


def _joined(scores: Iterable[RoleScore], names: Mapping[Role, str]) -> str:
    return " · ".join(f"{names[score.role]} {_passing(score)}" for score in scores)


def _passing(score: RoleScore) -> str:
    """``28/30 (29)``."""
    passing, before = round(score.score * score.facts), round(score.score_before * score.facts)
    return f"{passing}/{score.facts}" + (f" ({before})" if before != passing else "")


# --- The details of one edit ---


@dataclass(frozen=True)
class FactRow:
    """A fact of a suite with one thing prepended, and what became of it."""

    fact: SuiteFact
    outcome: FactOutcome


def fact_rows(suite: SuiteResult) -> list[FactRow]:
    """All facts: first those that fail and passed without edits, then the others that fail."""
    failing = suite.failing()
    passing = [outcome for outcome in suite.outcomes if outcome.after.passes]
    return [FactRow(suite.suite.facts[outcome.fact], outcome) for outcome in (*failing, *passing)]


def fact_content(row: FactRow) -> Content:
    """Two lines: the prompt, and how likely what is wanted was and is, and what was and is said instead."""
    before, after = row.outcome.before, row.outcome.after
    verdict = {
        (True, True): "passes",
        (True, False): "passed → FAILS",
        (False, True): "failed → passes",
        (False, False): "fails as before",
    }[before.passes, after.passes]
    sign, style = ("✓", "$text-success") if after.passes else ("✗", "$text-error")
    says = " → ".join(f"“{a.top.strip()}” {numbers.probability(a.top_probability)}" for a in (before, after))
    wanted = f"{row.fact.target.strip()} {numbers.probability(before.target)} → {numbers.probability(after.target)}"
    first = " · in the first position, not known there" if row.outcome.first_position else ""
    return Content.assemble(
        (f"{sign} ", style),
        (f"{row.fact.role:<12} ", DIM),
        (row.fact.prompt, "bold"),
        (f"  [{row.outcome.prepend}]\n", DIM),
        (f"  {verdict}", style),
        f" · {wanted} · says {says}",
        (first, DIM),
    )


def summary(made: MadeEdit | None, measured: Measured | None, width: int) -> list[Content]:
    """What stands above the facts: what the prompt is continued by, the scores, how the edit came about."""
    found: list[Content] = []
    if made is not None:
        result = made.result
        target, foil = (made.request.case.target, made.request.case.foil) if made.request.case else (None, None)
        for before, after in zip(result.before, result.after, strict=True):
            told = [_said(one, (target or "").strip(), (foil or "").strip()) for one in (before, after)]
            found.append(Content.assemble((f"{PREPENDED[before.prepend]}: ", DIM), " → ".join(told)))
    for prepend in dict.fromkeys(score.prepend for score in measured.suite.scores) if measured else ():
        assert measured is not None
        scores = scores_in_words(measured, prepend, measured.edits, width - len(PREPENDED[prepend]) - 2)
        found.append(Content.assemble((f"{PREPENDED[prepend]}: ", DIM), scores))
    if made is not None:
        lines = (each for each in editor(made.result.editor).figures(made.result.details) if isinstance(each, Lines))
        found += [Content.styled(one.text, DIM) for figure in lines for one in figure.lines]
    if measured is not None and measured.suite.perplexity and measured.suite.perplexity_before:
        was, now = measured.suite.perplexity_before, measured.suite.perplexity
        found.append(Content.styled(f"held-out perplexity {was:.2f} → {now:.2f}", DIM))
    return found


def _said(said: Said, target: str, foil: str) -> str:
    """``Canberra .34, Sydney .36``, and the first choice where that is neither."""
    parts = [f"{target.strip()} {numbers.probability(said.target)}"]
    if said.foil is not None:
        parts.append(f"{foil} {numbers.probability(said.foil)}")
    if said.top.strip() not in (target.strip(), foil):
        parts.append(f"first “{said.top.strip()}” {numbers.probability(said.top_probability)}")
    return ", ".join(parts)


def held_in_words(queue: QueueState) -> str:
    """That all edits are off for a comparison."""
    return (
        "All edits are off for a comparison: the model is as it was loaded; b puts them on." if queue.bypassed else ""
    )


def place_of(rows: Sequence[EditRow], id: str | None, number: int) -> int:  # noqa: A002 - what it is called everywhere
    """Where the row of an edit is now; where it is gone, the row that stands in its place."""
    for place, row in enumerate(rows):
        if id is not None and row.id == id:
            return place
    return min(number, len(rows) - 1)
