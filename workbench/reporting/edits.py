"""The edits of a session, whichever way they came into the queue: by an edit, a fix, a comparison, or from a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workbench.editing.compare import CompareResult
from workbench.editing.edit import EditResult
from workbench.editing.fix import FixResult
from workbench.editing.queue import EditInfo, QueueState
from workbench.editing.standings import Standing
from workbench.session import Session, Step


@dataclass(frozen=True)
class TriedEdit:
    """An edit that a fix or a comparison made, tested by ``suite`` and took back; ``against`` speaks against it."""

    step: Step
    info: EditInfo
    suite: str
    standing: Standing
    against: tuple[str, ...]


def queue_after(step: Step) -> QueueState | None:
    """The queue of edits as a step left it, where it says so."""
    queue = getattr(step.result, "queue", None)
    return queue if isinstance(queue, QueueState) else None


def edits_of(session: Session) -> tuple[EditInfo, ...]:
    """Every edit that an edit step made or that was in the queue, each once, in order."""
    found: dict[str, EditInfo] = {}
    for step in session.steps:
        if isinstance(step.result, EditResult) and step.result.edit:
            found.setdefault(step.result.edit.id, step.result.edit)
        if queue := queue_after(step):
            found.update({entry.info.id: entry.info for entry in queue.entries if entry.info.id not in found})
    return tuple(found.values())


def applied(session: Session) -> tuple[TriedEdit, ...]:
    """Those that were tried side by side and then put into the queue, each as it was tried last."""
    made = {step.result.edit.id for step in session.steps if isinstance(step.result, EditResult) and step.result.edit}
    queued = {info.id for info in edits_of(session)} - made
    tried = {each.info.id: each for step in session.steps for each in _tried(step)}
    return tuple(each for name, each in tried.items() if name in queued)


def _tried(step: Step) -> Iterator[TriedEdit]:
    result = step.result
    if isinstance(result, FixResult):
        for candidate in result.candidates:
            if candidate.edit is not None:
                suite = result.suite.name if result.suite else ""
                yield TriedEdit(step, candidate.edit, suite, candidate, candidate.against)
    elif isinstance(result, CompareResult):
        for rival in result.rivals:
            if rival.edit is not None:
                yield TriedEdit(step, rival.edit, result.suite.name, rival, rival.warned)
