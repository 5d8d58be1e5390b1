"""The sweeps that workers answer beside the engine, as the live screen keeps account of them."""

from __future__ import annotations

from collections.abc import Callable

from workbench.events import Event, Finished, LoadRequest, Progressed, Started
from workbench.models.info import ModelInfo
from workbench.protocol import Request
from workbench.shards import RecordsSweep
from workbench.sweeping.beside import SweepEngine


class Beside:
    """Which sweeps were asked for and have not ended, in their order, and which of them runs."""

    def __init__(self, make: Callable[[], SweepEngine]) -> None:
        """``make`` is called at the first one."""
        self._make = make
        self._engine: SweepEngine | None = None
        self._jobs: dict[int, Request] = {}
        self._running: Progressed | Started | None = None

    def share(self, request: Request, load: LoadRequest, workers: int, model: ModelInfo | None) -> None:
        """Have so many workers answer a sweep."""
        assert isinstance(request, RecordsSweep), f"{request.kind} has no records that could be shared out"
        self._engine = self._engine or self._make()
        self._jobs[self._engine.share(request, load, workers, model)] = request

    def hear(self, event: Event) -> bool:
        """Keep account of an event. Returns whether it is of one of the sweeps."""
        if event.job not in self._jobs:
            return False
        self._running = None if isinstance(event, Finished) else event
        if isinstance(event, Finished):
            del self._jobs[event.job]
        return True

    @property
    def said(self) -> str:
        """How far they are, in a few words; nothing without one."""
        if not self._jobs:
            return ""
        waiting = f" +{len(self._jobs) - 1}" if len(self._jobs) > 1 else ""
        if isinstance(self._running, Progressed) and self._running.total:
            return f"sweep {self._running.done}/{self._running.total}{waiting}"
        return f"sweep{waiting}"

    def cancel(self, mine: Callable[[Request], bool] = lambda _: True) -> bool:
        """Stop the one that runs, if it is ``mine``; while none does, all of them. Returns whether there was one."""
        if self._engine is None or not any(map(mine, self._jobs.values())):
            return False
        self._engine.cancel(self._running.job if self._running else None)
        return True

    def cancel_all(self) -> None:
        """Stop what runs and what waits."""
        if self._engine is not None:
            self._engine.cancel()

    def close(self, timeout: float) -> bool:
        """End them all. Returns whether that was done in time."""
        return self._engine is None or self._engine.close(timeout)
