"""The part of a report that has every step: what was asked, what was found, and how far to believe it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from workbench.figures import Column, Figure, Table, line, said
from workbench.protocol import Check
from workbench.registry import method
from workbench.reporting.as_command import as_command, asked
from workbench.reporting.report import Code, Section
from workbench.session import Session, Step

LONGEST_SETTING = 200
"""Characters of a setting's value; a suite of hundreds of facts is in the session."""

LEVELS = {"ok": "ok", "info": "note", "warn": "! warning"}


def step_section(session: Session, step: Step) -> Section:
    """One step."""
    title = method(step.request.kind).title
    named = f" · {step.title}" if step.title else ""
    return Section(
        heading=f"Step {step.id} · {title}{named}",
        anchor=f"step-{step.id}",
        depth=3,
        blocks=(
            *said(*_how_it_went(step)),
            *(said(step.note) if step.note else ()),
            *settings_table("Asked with", _settings(step)),
            *figures_of(step),
            *checks_table(step),
            Code(text=as_command(session, step)),
        ),
    )


def figures_of(step: Step) -> tuple[Figure, ...]:
    """What there is to draw of a step; why there is nothing else."""
    if step.result is None:
        return ()
    return method(step.request.kind).figures(step.result)


def _how_it_went(step: Step) -> Iterable[str]:
    on = f"edits on: {', '.join(step.edits)}" if step.edits else "no edits on"
    yield f"{step.status} · {step.started:%Y-%m-%d %H:%M:%S} UTC · {step.seconds:.1f} s · {on}"
    if step.status == "partial":
        yield "It was stopped before its end: what is shown is what had been found by then."
    if step.error is not None:
        yield f"It failed: {step.error.message} ({step.error.kind})"
    if step.case is not None:
        yield f"Prompt: “{step.case.prompt}”"


def _settings(step: Step) -> dict[str, str]:
    """What was set otherwise than by default, but for the case."""
    return {name: shortened(value) for name, value in asked(step.request).items() if name != "case"}


def shortened(value: object) -> str:
    """A setting's value as one would type it, if it is short."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_SETTING else f"{text[:LONGEST_SETTING]}…"


def settings_table(title: str, settings: dict[str, str]) -> tuple[Figure, ...]:
    """Names and values; nothing where there are none."""
    rows = tuple((name.replace("_", " "), value) for name, value in settings.items())
    return (Table(title=title, columns=("setting", Column(heading="value", wraps=True)), rows=rows),) if rows else ()


def checks_table(step: Step) -> tuple[Figure, ...]:
    """The trust strip, whole."""
    checks = step.result.checks if step.result else ()
    return (_table("How far to believe it", [(None, check) for check in checks]),) if checks else ()


def warnings_table(session: Session) -> tuple[Figure, ...]:
    """Every warning of every trust strip."""
    found = [
        (step, check)
        for step in session.steps
        for check in (step.result.checks if step.result else ())
        if check.level == "warn"
    ]
    failed = [line(f"Step {s.id} failed: {s.error.message}", "warning") for s in session.steps if s.error is not None]
    stopped = [
        line(f"Step {s.id} was stopped before its end", "warning")
        for s in session.steps
        if s.status in ("partial", "cancelled")
    ]
    if not (found or failed or stopped):
        return said(line("No check warned, and no step failed or was stopped.", "good"))
    return (*((_table("Warnings", found),) if found else ()), *said(*failed, *stopped))


def _table(title: str, checks: Sequence[tuple[Step | None, Check]]) -> Table:
    with_steps = any(step is not None for step, _ in checks)
    rows = tuple(
        (
            *((str(step.id if step else ""),) if with_steps else ()),
            {"text": LEVELS[check.level], "meaning": "warning" if check.level == "warn" else "plain"},
            check.name,
            check.text,
        )
        for step, check in checks
    )
    steps = (Column(heading="step", right=True),) if with_steps else ()
    return Table(title=title, columns=(*steps, "", "check", Column(heading="what it says", wraps=True)), rows=rows)
