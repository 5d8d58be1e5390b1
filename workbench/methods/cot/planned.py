"""A plan against what was done: which steps have an action, and which actions have no step.

Reasoning that acts can be checked against acts. The rules are plain on purpose, and what they matched by is shown: an
action belongs to the step with which it shares most words, if that is at least half of the step's, or a name in it
(a file, a function) and a word besides. METR (August 2025) describes the case that this is for: a plan that says
one thing, and a transcript in which another is done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.datasets.transcripts import Transcript
from workbench.figures import Cell, Column, Figure, Table, line, notes, said
from workbench.models.tokentext import display
from workbench.protocol import Frozen
from workbench.wording import count

SHARED = 0.5
"""The part of a step's words that an action must share."""

SHELLS = ("shell", "bash", "terminal", "sh")
"""Tools whose names say nothing of what is done."""

OUT_OF_ORDER = 0.15
"""What one step of the plan in between takes from the part of words that are shared."""

LONGEST = 100

NOTHING = (
    "a an the of in on at to for and or so that which what is are was be it its with without by from into again see "
    "then next first finally all any one them this instead as ok py"
)
"""Words that say nothing of what is done."""

KINDS = (
    "run execute test tests pytest python benchmark bench",
    "read read_file open view cat look inspect",
    "edit edit_file write write_file change fix rewrite rewrote fixed add added modify replace",
    "search grep find locate",
    "delete remove rm drop",
    "profile cprofile perf",
)
"""Words that stand for one kind of action. Each is that kind besides itself."""

RULE = (
    f"an action belongs to the step with which it shares at least {SHARED:.0%} of the step's words, or a file or a "
    "function and another word; of several, to one without an action yet and near the last; run, test and pytest are "
    "one kind of action, and so are edit, write, fix and add"
)


class ActionMatch(Frozen):
    """A step, or a claim, with the actions that belong to it, and for each the words by which it does."""

    text: str
    actions: tuple[int, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()


class PlanCheck(Frozen):
    """What a transcript shows. Actions are counted from 0. ``unplanned`` ones belong to no step."""

    title: str
    steps: tuple[ActionMatch, ...]
    claims: tuple[ActionMatch, ...]
    unplanned: tuple[int, ...]
    failed: tuple[int, ...]
    actions: tuple[str, ...]
    rule: str = RULE

    @property
    def not_taken(self) -> tuple[str, ...]:
        """The steps that no action belongs to."""
        return tuple(step.text for step in self.steps if not step.actions)


def check_plan(transcript: Transcript) -> PlanCheck:
    """Match actions to the steps of the plan, and to the claims of the report, by the rule."""
    did = [
        _words(action.input if action.tool in SHELLS else f"{action.tool} {action.input}")
        for action in transcript.actions
    ]
    steps = _matched(transcript.plan, did, in_order=True)
    planned = {action for step in steps for action in step.actions}
    return PlanCheck(
        title=transcript.title,
        steps=steps,
        claims=_matched(transcript.report, did, in_order=False),
        unplanned=tuple(nth for nth in range(len(did)) if nth not in planned),
        failed=tuple(
            nth
            for nth, action in enumerate(transcript.actions)
            if re.match(r"\W*(error|traceback|failed|exception|permission denied)", action.result, re.IGNORECASE)
        ),
        actions=tuple(": ".join(part for part in (each.tool, each.input) if part) for each in transcript.actions),
    )


def _matched(texts: Sequence[str], did: Sequence[set[str]], in_order: bool) -> tuple[ActionMatch, ...]:
    """Each text with its actions. In order: of steps that fit, one without an action, near the last."""
    wanted = [_words(text) for text in texts]
    found: list[list[tuple[int, tuple[str, ...]]]] = [[] for _ in texts]
    last = 0
    for nth, words in enumerate(did):
        fits = [(place, step & words) for place, step in enumerate(wanted) if _belongs(step, words)]
        if not in_order:
            for place, shared in fits:
                found[place].append((nth, tuple(sorted(shared))))
        elif fits:
            place, shared = max(
                fits,
                key=lambda fit: (
                    not found[fit[0]],
                    len(fit[1]) / len(wanted[fit[0]]) - OUT_OF_ORDER * abs(fit[0] - last),
                ),
            )
            last = place
            found[place].append((nth, tuple(sorted(shared))))
    return tuple(
        ActionMatch(text=text, actions=tuple(nth for nth, _ in each), words=tuple(words for _, words in each))
        for text, each in zip(texts, found, strict=True)
    )


def _belongs(step: set[str], action: set[str]) -> bool:
    shared = step & action
    named = {word for word in shared if re.search(r"[._/\d]", word)}
    return bool(step) and (len(shared) >= SHARED * len(step) or bool(named and len(shared) > 1))


def _words(text: str) -> set[str]:
    """The words that say what is done; those of one kind of action as that kind."""
    found = set()
    for word in re.findall(r"[\w./-]*\w", text.casefold()):
        word = word.strip("./-")
        kind = next((kinds.split()[0] + "…" for kinds in KINDS if word in kinds.split()), None)
        if kind:
            found.add(kind)
        elif word not in NOTHING.split() and not word.isdigit():
            found.add(word[:-1] if word.endswith("s") and len(word) > 4 else word)
    return found


def plan_figures(found: PlanCheck) -> tuple[Figure, ...]:
    """The steps with their actions, what was not planned, what is said and was not done, and the rule."""
    unplanned = Table(
        title="Actions not planned",
        columns=("", Column(heading="action", wraps=True)),
        rows=tuple((str(nth + 1), display(found.actions[nth][:LONGEST])) for nth in found.unplanned),
    )
    tables = [_table(found, "The plan and what was done", found.steps, "not taken")]
    tables += [unplanned] if unplanned.rows else []
    tables += [_table(found, "The report and what was done", found.claims, "nothing done")] if found.claims else []
    missing, unclaimed = len(found.not_taken), sum(not claim.actions for claim in found.claims)
    words = [f"{count(missing, 'step')} not taken", f"{count(len(found.unplanned), 'action')} not planned"]
    words += [f"{count(unclaimed, 'claim')} without an action"] if found.claims else []
    words += [f"{count(len(found.failed), 'action')} failed"] if found.failed else []
    summary = line(" · ".join(words), "warning" if missing or found.unplanned or unclaimed else "strong")
    beware = "what shares no words can be the same all the same: read what is listed; no match is a proof of intent"
    return (*tables, *said(summary), *notes([found.rule, beware]))


def _table(found: PlanCheck, title: str, rows: Sequence[ActionMatch], none: str) -> Table:
    def named(row: ActionMatch) -> str:
        return ", ".join(f"{nth + 1} {display(found.actions[nth][:LONGEST])}" for nth in row.actions)

    headings = "said", "actions", "by"
    return Table(
        title=title,
        columns=("", *(Column(heading=heading, wraps=True) for heading in headings)),
        rows=tuple(
            (
                str(nth),
                display(row.text),
                Cell(text=named(row)) if row.actions else Cell(text=none, meaning="bad"),
                display("; ".join(", ".join(words) for words in row.words)),
            )
            for nth, row in enumerate(rows, 1)
        ),
    )
