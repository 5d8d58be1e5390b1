"""What a session did about a failure: its edits, whichever way they came into the queue, and prompts of fixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workbench.case import Case
from workbench.editing.compare import CompareRequest, CompareResult
from workbench.editing.edit import EditResult
from workbench.editing.fix import FixResult
from workbench.editing.queue import EditInfo, QueueState
from workbench.editing.standings import Standing
from workbench.session import Session, Step


@dataclass(frozen=True)
class TriedEdit:
    """An edit that a fix or a comparison made, tested by ``suite`` and took back; ``against`` speaks against it.

    ``asked`` is what an edit is asked with that makes it again.
    """

    step: Step
    info: EditInfo
    asked: dict[str, Any]
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
    tried = {each.info.id: each for step in session.steps for each in tried_in(step)}
    return tuple(each for name, each in tried.items() if name in queued)


def prompts_used(session: Session) -> tuple[tuple[Step, str, Step], ...]:
    """The prompts of a fix that were asked with afterwards: the fix, what it was, and the first such step."""
    found = []
    for place, step in enumerate(session.steps):
        for candidate in step.result.candidates if isinstance(step.result, FixResult) else ():
            after = (each for each in session.steps[place + 1 :] if each.case == candidate.case)
            if candidate.case is not None and (used := next(after, None)) is not None:
                found.append((step, candidate.title, used))
    return tuple(found)


def tried_in(step: Step) -> Iterator[TriedEdit]:
    """The edits that a step tried side by side."""
    request, result = step.request, step.result
    if isinstance(result, FixResult):
        suite = result.suite.name if result.suite else ""
        for candidate in result.candidates:
            if candidate.edit is not None:
                asked = _asked(result.case, candidate.name, {})
                yield TriedEdit(step, candidate.edit, asked, suite, candidate, candidate.against)
    elif isinstance(request, CompareRequest) and isinstance(result, CompareResult):
        settings = {chosen.editor: chosen.settings for chosen in request.editors}
        for rival in result.rivals:
            if rival.edit is not None and (named := settings.get(rival.editor)) is not None:
                asked = _asked(request.case, rival.editor, named.model_dump(mode="json", exclude_defaults=True))
                yield TriedEdit(step, rival.edit, asked, result.suite.name, rival, rival.warned)


def _asked(case: Case, by: str, settings: dict[str, Any]) -> dict[str, Any]:
    given = case.model_dump(mode="json", exclude_defaults=True)
    return {"case": given, "editor": by, "settings": settings, "test": False}
