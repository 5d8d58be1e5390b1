"""What is known about edits: those in the queue, those on their way, and every suite that was run in this session.

Filled from requests, progress and steps as a pane hears of them, live or recorded; no widget, no model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from screens.answers import Edits, active_edits
from screens.widgets.status import time_left
from workbench.case import Case, Prepend
from workbench.datasets.suites import Suite, suite_for
from workbench.editing.bisection import BisectRequest, BisectResult
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.queue import QueueState
from workbench.editing.sequence import SequencePoint
from workbench.editing.suite.regression import SuiteRequest, SuiteResult
from workbench.events import Progressed
from workbench.protocol import Check, Request
from workbench.session import Step
from workbench.wording import count

RowState = Literal["planned", "computing", "on", "off", "failed"]


@dataclass(frozen=True)
class MadeEdit:
    """An edit that was made in this session."""

    request: EditRequest
    result: EditResult


@dataclass(frozen=True)
class Measured:
    """A suite, and the edits that were on when it was run; ``so_far``: it still runs."""

    edits: Edits
    suite: SuiteResult
    so_far: bool = False


@dataclass(frozen=True)
class EditJob:
    """An edit that was asked for and is in no queue: ``said`` is how far it is, or why it failed."""

    request: EditRequest
    state: RowState = "planned"
    said: str = "waits for the model"
    partial: EditResult | None = None


@dataclass(frozen=True)
class EditRow:
    """One line of the queue. ``id`` is that of an edit in the queue; ``held``: on, but off for a comparison."""

    state: RowState
    number: int
    method: str
    title: str
    id: str | None = None
    held: bool = False
    prepend: Prepend = "as-is"
    measured: Measured | None = None
    said: str = ""


@dataclass
class EditLedger:
    """Hears what happens to edits, and says what there is to show."""

    made: dict[str, MadeEdit] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    jobs: list[EditJob] = field(default_factory=list)
    bisected: str = ""
    waiting: list[Request] = field(default_factory=list)
    """What was asked, has not begun and stands in no row."""
    _begun: Request | None = None
    _running: Measured | None = None

    def asked(self, request: Request) -> None:
        """A request waits: what failed before is history."""
        self.jobs = [job for job in self.jobs if job.state != "failed"]
        if isinstance(request, EditRequest):
            self.jobs.append(EditJob(request))
        else:
            self.waiting.append(request)
        if isinstance(request, BisectRequest):
            self.bisected = "Bisecting …"

    def started(self, request: Request) -> None:
        """A request waits no longer."""
        self._begun = request
        self._wait_no_longer(request)

    def under_way(self, progress: Progressed, edits: Edits) -> None:
        """A request runs, with these edits."""
        request, partial = progress.request, progress.partial
        if isinstance(request, EditRequest):
            self._replace(
                EditJob(request, "computing", _how_far(progress), partial if isinstance(partial, EditResult) else None)
            )
        elif isinstance(request, SuiteRequest) and isinstance(partial, SuiteResult):
            self._running = Measured(edits, partial, so_far=True)

    def ended(self, step: Step) -> None:
        """A request has ended, or a recorded one is looked at."""
        request, result = step.request, step.result
        if request != self._begun:  # it was cancelled before; one like what has begun may wait still
            self._wait_no_longer(request)
        self._begun = None
        if isinstance(request, EditRequest):
            self.jobs = [job for job in self.jobs if job.request != request and job.state != "failed"]
            if step.error is not None:
                self.jobs.append(EditJob(request, "failed", step.error.message))
        if isinstance(request, EditRequest) and isinstance(result, EditResult) and result.edit is not None:
            self.made[result.edit.id] = MadeEdit(request, result)
            if result.suite is not None:
                self.measured.append(Measured(active_edits(result.queue), result.suite))
        if isinstance(request, SuiteRequest):
            self._running = None
            if isinstance(result, SuiteResult):
                self.measured.append(Measured(step.edits, result))
        if isinstance(request, BisectRequest):
            self.bisected = f"✗ {step.error.message}" if step.error else "The bisection was cancelled."
            if isinstance(result, BisectResult):
                self.bisected = bisected_in_words(result)

    def rows(self, queue: QueueState) -> list[EditRow]:
        """The queue in order, and after it what is on its way."""
        rows = []
        for number, entry in enumerate(queue.entries, 1):
            made = self.made.get(entry.info.id)
            rows.append(
                EditRow(
                    state="on" if entry.on else "off",
                    number=number,
                    method=entry.info.method,
                    title=entry.info.title,
                    id=entry.info.id,
                    held=queue.bypassed and entry.on,
                    prepend=made.request.case.prepend if made and made.request.case else "as-is",
                    measured=self._latest(entry.info.id),
                    said="" if made is None or made.result.suite else _untested(made),
                )
            )
        return rows + [_row(job, number) for number, job in enumerate(self.jobs, len(rows) + 1)]

    def suite_of(self, id: str | None, case: Case | None) -> Suite | None:  # noqa: A002 - what it is called everywhere
        """The suite of an edit, or else the one that the shipped facts give for the case."""
        if made := self.made.get(id or ""):
            known = made.result.suite.suite if made.result.suite else made.request.suite
            return known or (suite_for(made.request.case) if made.request.case else None)
        return suite_for(case) if case is not None else None

    def checks(self, id: str | None) -> tuple[Check, ...]:  # noqa: A002
        """How far an edit is to be believed, and what its suite says."""
        made, measured = self.made.get(id or ""), self._latest(id or "")
        return (*(made.result.checks if made else ()), *(measured.suite.checks if measured else ()))

    def points(self, prepend: Prepend) -> list[SequencePoint]:
        """By the number of edits that were on: the harmonic score with ``prepend``, and the held-out perplexity.

        The suite run last with so many edits counts. The first point is that of the unedited model.
        """
        found: dict[int, SequencePoint] = {}
        for measured in self.measured:
            suite = measured.suite
            if suite.perplexity_before is not None:
                found[0] = _point(0, suite, suite.harmonic_before, suite.perplexity_before, prepend)
            if suite.perplexity is not None and measured.edits:
                found[len(measured.edits)] = _point(
                    len(measured.edits), suite, suite.harmonic, suite.perplexity, prepend
                )
        return [found[edits] for edits in sorted(found)]

    def _wait_no_longer(self, request: Request) -> None:
        if request in self.waiting:
            self.waiting.remove(request)

    def _latest(self, id: str) -> Measured | None:  # noqa: A002
        """How the edit's own suite came out last; of an edit without one, any suite that was run with it on."""
        own = self.suite_of(id, None)
        every = [*self.measured, *([self._running] if self._running else [])]
        return next(
            (one for one in reversed(every) if (one.suite.suite == own if own else id in one.edits)),
            None,
        )

    def _replace(self, job: EditJob) -> None:
        """The first job of the same request; one that was not asked for here comes new."""
        for place, known in enumerate(self.jobs):
            if known.request == job.request and known.state != "failed":
                self.jobs[place] = replace(job, partial=job.partial or known.partial)
                return
        self.jobs.append(job)


def bisected_in_words(result: BisectResult) -> str:
    """Which edit broke a fact, and what is said without it and with it."""
    without, with_it = result.passing, result.failing
    return (
        f"“{result.fact.prompt}” was broken by edit {result.before + 1} of those that are on, "
        f"{result.broken_by.title}: without it “{without.top.strip()}” {without.top_probability:.2f}, with it "
        f"“{with_it.top.strip()}” {with_it.top_probability:.2f} ({result.tried} trials)."
    )


def _row(job: EditJob, number: int) -> EditRow:
    case, partial = job.request.case, job.partial
    layer = getattr(job.request.settings, "layer", None)
    at = "" if layer is None else f"L{layer} "
    asked = f"{at}{case.subject or case.prompt} → {(case.target or '').strip()}" if case else at
    if len(job.request.cases) > 1:
        asked = f"{at}{count(len(job.request.cases), 'fact')}"
    suite = partial.suite if partial else None
    return EditRow(
        state=job.state,
        number=number,
        method=job.request.editor,
        title=partial.edit.title if partial and partial.edit else asked,
        prepend=case.prepend if case else "as-is",
        measured=Measured(active_edits(partial.queue), suite, so_far=True) if partial and suite else None,
        said=job.said,
    )


def _untested(made: MadeEdit) -> str:
    if not made.request.test:
        return "no suite was run; c runs one"
    return "no suite: the shipped facts have none for it; the form takes a file"


def _how_far(progress: Progressed) -> str:
    share = f" · {progress.done / progress.total:.0%}" if progress.done and progress.total else ""
    left = f" · {time_left(progress.remaining)} left" if progress.remaining is not None else ""
    return f"{progress.stage}{share}{left}"


def _point(
    edits: int, suite: SuiteResult, harmonic: dict[Prepend, float | None], perplexity: float, prepend: Prepend
) -> SequencePoint:
    """With one thing prepended, or the only one there is."""
    kept = prepend if prepend in harmonic else next(iter(harmonic), prepend)
    return SequencePoint(edits=edits, scores=suite.scores, harmonic={kept: harmonic.get(kept)}, perplexity=perplexity)
