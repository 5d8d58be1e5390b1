"""The jobs of an engine, and what reports the progress of one."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from workbench.editing.queue import QueueState
from workbench.errors import Cancelled
from workbench.events import Listener, Progressed
from workbench.protocol import Frozen, Request, Result

REPORT_EVERY = 0.25
"""Seconds between two reports of progress: each is drawn, and over a slow link more of them would be waited for."""

NUMBERS = itertools.count(1)
"""Of jobs: those of all engines of the program, for a later one to have a higher number."""


@dataclass
class Job:
    """What an engine has been asked.

    ``edits`` and ``queue`` are the model's when it began; ``ended`` is set once its step is being recorded. ``seen`` is
    for the method that asked it, and is shown every partial result.
    """

    id: int
    request: Request
    cancelled: threading.Event = field(default_factory=threading.Event)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: float = field(default_factory=time.perf_counter)
    edits: tuple[str, ...] = ()
    queue: QueueState | None = None
    partial: Result | None = None
    ended: bool = False
    seen: Callable[[Result], None] = lambda _: None


class Reporter:
    """The `Progress` of one job: throttles, estimates the time left, and stops the job when that was asked for.

    From the stage ``background`` on, others go first (``let_others``); the time they take is not the job's. Nothing
    is foreseen of a job that asks others: its few steps are as long as what each of them asks.
    """

    background = ""
    foresees = True

    def __init__(self, job: Job, listener: Listener, let_others: Callable[[Job], None]) -> None:
        self._job = job
        self._listener = listener
        self._let_others = let_others
        self._stage = ""
        self._total = 0
        self._began = time.perf_counter()
        self._began_with = 0
        self._reported = 0.0

    def __call__(self, done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
        now = time.perf_counter()
        news = stage != self._stage or (partial is not None and self._job.partial is None)
        self._stage = stage
        if total != self._total or done < self._began_with:  # other units: what was done before says nothing of them
            self._total, self._began, self._began_with = total, now, done
        assert partial is None or isinstance(partial, Result), "a part of a method reports through `part`"
        self._job.partial = partial or self._job.partial
        self.check()
        if partial is not None:
            self._job.seen(partial)
        if news or now - self._reported >= REPORT_EVERY:
            self._reported = now
            remaining = self._remaining(done, total, now)
            job = self._job
            self._listener(Progressed(job.id, job.request, done, total, stage, job.partial, remaining))
        if self.background and stage == self.background:
            self._let_others(self._job)
            took = time.perf_counter() - now
            self._began += took
            self._job.clock += took
            self.check()

    def check(self) -> None:
        """Raise `Cancelled` when the job was asked to stop."""
        if self._job.cancelled.is_set():
            raise Cancelled

    def _remaining(self, done: int, total: int, now: float) -> float | None:
        did = done - self._began_with
        return (now - self._began) / did * (total - done) if did > 0 and self.foresees else None
