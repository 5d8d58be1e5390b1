"""The parts of a report about what was changed in the model, and what that spoiled."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors import editor
from workbench.editing.operations import QueueRequest, QueueResult
from workbench.editing.patches import kept_path
from workbench.editing.queue import EditInfo, QueueState
from workbench.editing.suite.figures import harmonic_lines, score_table
from workbench.editing.suite.regression import SuiteResult
from workbench.errors import InputError
from workbench.figures import Column, Figure, Line, Table, line, said
from workbench.models.tokentext import display
from workbench.paths import patch_path
from workbench.reading import MB, opened
from workbench.registry import method
from workbench.reporting.account import edited_suites, last_queue
from workbench.reporting.edits import TriedEdit, applied
from workbench.reporting.report import Section
from workbench.reporting.steps import settings_table, shortened
from workbench.session import Session, Step

LARGEST_PATCH = 512 * MB
"""Larger ones are not read for their hash."""

GENERAL_LIMITS = (
    "Results hold for the prompts that were asked, this model's weights and this precision, and for nothing else.",
    "A regression suite sees what is in it. What it does not ask about may have changed.",
)


def intervention_sections(session: Session) -> Iterator[Section]:
    """One part for each edit, and what was done with the queue."""
    for step in session.steps:
        if isinstance(step.request, EditRequest) and isinstance(step.result, EditResult) and step.result.edit:
            yield _edit(session, step, step.request, step.result, step.result.edit)
    yield from (_applied(session, tried) for tried in applied(session))
    if log := _log(session):
        yield Section(
            heading="What was done with edits", anchor="edit-log", depth=3, blocks=(*log, *_at_the_end(session))
        )


def _edit(session: Session, step: Step, request: EditRequest, result: EditResult, info: EditInfo) -> Section:
    about = {
        "what": info.title,
        "made by": f"{editor(request.editor).title} ({request.editor})",
        "made in": f"step {step.id}",
        "layers": ", ".join(map(str, info.layers)) or "none: it stands in the prompt",
        "state at the end": _state(last_queue(session), info.id),
        "patch": _patch(session, info.id),
        "sound": "yes" if result.sound else "no: a gate warns",
    }
    settings = request.settings.model_dump(mode="json")
    return Section(
        heading=f"Edit {info.id} · {info.title}",
        anchor=f"edit-{info.id}-{step.id}",
        depth=3,
        blocks=(
            *settings_table("", about),
            *settings_table("Settings", {name: shortened(value) for name, value in settings.items()}),
            *(_suite(result.suite) if result.suite else said(line("No regression suite was run with it.", "warning"))),
        ),
    )


def _applied(session: Session, tried: TriedEdit) -> Section:
    """Of an edit that was tried beside others: what it came to then."""
    info, standing = tried.info, tried.standing
    about = {
        "what": info.title,
        "made by": f"{standing.title} ({info.method}) with its default settings",
        "made in": f"step {tried.step.id}, beside others",
        "layers": ", ".join(map(str, info.layers)) or "none: it stands in the prompt",
        "state at the end": _state(last_queue(session), info.id),
        "patch": _patch(session, info.id),
        "speaks against it": "; ".join(tried.against) or "nothing that was tested",
    }
    title = f"Before and after by the suite {tried.suite} (“was”: without edits)"
    perplexity = _measured("perplexity of held-out text", standing.perplexity, standing.perplexity_before)
    return Section(
        heading=f"Edit {info.id} · {info.title}",
        anchor=f"edit-{info.id}-{tried.step.id}",
        depth=3,
        blocks=(
            *settings_table("", about),
            score_table(title, standing.scores, standing.overlapping, "facts"),
            *said(*perplexity),
        ),
    )


def _measured(name: str, now: float | None, before: float | None) -> tuple[str, ...]:
    return () if now is None or before is None else (f"{name}: {now:.3g} (was {before:.3g})",)


def _suite(suite: SuiteResult) -> tuple[Figure, ...]:
    """Scores with the edit and without it."""
    title = f"Before and after by the suite {suite.suite.name} (“was”: without edits)"
    measured = (
        *_measured("perplexity of held-out text", suite.perplexity, suite.perplexity_before),
        *_measured("n-gram entropy of generated text, bits", suite.entropy, suite.entropy_before),
    )
    lines: tuple[str | Line, ...] = (*harmonic_lines(suite.harmonic, suite.harmonic_before), *measured)
    return (score_table(title, suite.scores, suite.overlapping, "facts"), *said(*lines))


def _state(queue: QueueState | None, id: str) -> str:  # noqa: A002 - what it is called everywhere
    entry = next((entry for entry in queue.entries if entry.info.id == id), None) if queue else None
    if queue is None or entry is None:
        return "removed from the queue: the model is without it"
    if queue.bypassed:
        return "off for a comparison, with all others"
    return "on" if entry.on else "off: it is in the queue and can be switched on"


def _patch(session: Session, id: str) -> str:  # noqa: A002
    """The hash of the edit's file as it is kept on this computer."""
    fingerprint = session.model.fingerprint if session.model else ""
    if re.fullmatch("[0-9a-f]+", fingerprint):
        try:
            return f"SHA-256 {_hash(kept_path(fingerprint, id))}, as it is kept on the computer that wrote this report"
        except InputError:
            pass
    return "not kept on the computer that wrote this report; the command of its step makes it again"


def _hash(path: Path) -> str:
    """The SHA-256 of a file. Raises `workbench.reading.Unreadable`."""
    with opened(path, LARGEST_PATCH) as file:
        found = hashlib.sha256()
        while part := file.read(MB):
            found.update(part)
    return found.hexdigest()


def _log(session: Session) -> tuple[Figure, ...]:
    """The changes of the queue, and where patches were saved."""
    rows = tuple(
        (str(step.id), step.result.done, _saved(step.request))
        for step in session.steps
        if isinstance(step.result, QueueResult) and isinstance(step.request, QueueRequest) and step.result.done
    )
    wide = (Column(heading=heading, wraps=True) for heading in ("what was done", "the file now"))
    return (Table(columns=(Column(heading="step", right=True), *wide), rows=rows),) if rows else ()


def _saved(request: QueueRequest) -> str:
    if request.action != "save" or not request.path:
        return ""
    try:
        return f"SHA-256 {_hash(patch_path(request.path))}"
    except InputError:
        return "not there"


def _at_the_end(session: Session) -> tuple[Figure, ...]:
    queue = last_queue(session)
    if queue is None:
        return ()
    return said(
        "The last change of the queue could be undone." if queue.can_undo else "There was nothing to undo.",
        *(["An undone change could be made again."] if queue.can_redo else []),
        "With every edit off, the weights are bit for bit those that were loaded.",
    )


def regression_figures(session: Session) -> tuple[Figure, ...]:
    """Every answer that an edit spoiled, suite by suite."""
    suites, tried = edited_suites(session), applied(session)
    if not suites and not tried:
        return said(line("No regression suite was run with an edit on.", "muted"))
    beside = said(*map(_tried_line, tried)) if tried else ()
    return (*beside, *(figure for step, suite in suites for figure in said(*_spoiled(step, suite))))


def _tried_line(tried: TriedEdit) -> Line:
    """What the suite said of an edit that was tried beside others; which answers it spoiled was not kept."""
    spoken = "; ".join(tried.against) or "nothing speaks against it"
    text = f"Step {tried.step.id}, suite {tried.suite}, {tried.standing.title} tried beside others: {spoken}"
    return line(text, "warning" if tried.against else "good")


def _spoiled(step: Step, suite: SuiteResult) -> Iterator[Line | str]:
    failures = [outcome for outcome in suite.failing() if suite.is_failure(outcome)]
    asked = f"Step {step.id}, suite {suite.suite.name}: of {len(suite.outcomes)} answers {len(failures)} are spoiled"
    yield line(f"{asked} by the edits that are on", "warning" if failures else "good")
    for outcome in failures:
        fact, after = suite.suite.facts[outcome.fact], outcome.after
        text = f"{fact.role}, {outcome.prepend}: {display(fact.prompt)} → {display(fact.target.strip())}; "
        yield line(text + f"says “{after.top.strip() or after.top}” {after.top_probability:.2f}", "warning")


def limit_figures(session: Session) -> tuple[Figure, ...]:
    """What the methods that were used cannot show."""
    used = [method(kind) for kind in dict.fromkeys(step.request.kind for step in session.steps)]
    return said(*GENERAL_LIMITS, *(f"{each.title}: {each.limits}" for each in used if each.limits))
