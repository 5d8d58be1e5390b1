"""An engine beside the one that has the model: workers answer its sweeps, and that one stays free for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from workbench.engine import Engine
from workbench.errors import Cancelled, OutOfMemory, WorkbenchError
from workbench.events import Listener, LoadRequest
from workbench.jobs import NUMBERS, Job
from workbench.models.info import ModelInfo
from workbench.paths import log_file
from workbench.protocol import Progress, Request, Result
from workbench.session import Step
from workbench.shards import RecordsSweep
from workbench.sweeping import spread
from workbench.sweeping.pools import LocalPool
from workbench.wording import bytes_in_words, count

PROCESS = 2**29
"""Bytes of a worker beside its weights: Python, torch, the states of a batch."""

STAGE = "records"
"""What a sweep is at once it has begun: so many of so many."""


@dataclass
class SharedJob(Job):
    """A sweep, and who is to answer it: so many workers that load ``load``, which must be the ``model`` here."""

    load: LoadRequest | None = None
    workers: int = 1
    model: ModelInfo | None = None


class SweepEngine(Engine):
    """Runs sweeps one after the other, each on workers of its own; those of the same model go on with the same ones.

    The listener hears of them as of the jobs of any engine, with what there is so far as partial results. Cancelling
    ends the workers; what records gave is in the cache. Workers have the model without edits.
    """

    def __init__(self, listener: Listener, record: Callable[[Step], Step] | None = None) -> None:
        self._pool: LocalPool | None = None
        self._loaded: tuple[LoadRequest | None, int] | None = None
        super().__init__(listener, record)

    def share(self, request: RecordsSweep, load: LoadRequest, workers: int, model: ModelInfo | None = None) -> int:
        """Queue a sweep for ``workers`` processes, and return the number of its job."""
        return self._put(SharedJob(next(NUMBERS), request, load=load, workers=workers, model=model))

    def submit(self, request: Request) -> int:
        """Nothing else than sweeps can be asked here."""
        raise NotImplementedError(f"{request.kind} is for the engine that has the model")

    def _answer(self, job: Job, progress: Progress) -> Result:
        assert isinstance(job, SharedJob)
        request = job.request
        assert isinstance(request, RecordsSweep)
        found: Result | None = None

        def show(result: Result) -> None:
            nonlocal found
            found = result

        def told(done: int, total: int, _stage: str) -> None:
            progress(done, total, found, stage=STAGE)

        try:
            progress(0, 0, stage=f"loading the model in {count(job.workers, 'worker')}")
            pool = self._pool_for(job)
            result = spread.run(pool, request, job.workers, told, show).result
        except BaseException:
            self._end_workers()
            raise
        if not self._others_wait(job):
            self._end_workers()
        assert result is not None, "a sweep that is collected has one"
        return result

    def _pool_for(self, job: SharedJob) -> LocalPool:
        """The workers of the sweep before, if they are as many and have the same model; else others."""

        def look() -> None:
            if job.cancelled.is_set():
                raise Cancelled

        if self._pool is not None and self._loaded == (job.load, job.workers):
            self._pool.look = look
        else:
            self._end_workers()
            assert job.load is not None
            if job.model is not None:
                check_room(job.model, job.workers)
            self._pool = LocalPool(job.load, job.workers, look, log_file(), others=1)
            self._loaded = job.load, job.workers
        there, here = self._pool.model, job.model
        if here is not None and (there.fingerprint, there.dtype) != (here.fingerprint, here.dtype):
            raise WorkbenchError(
                f"the files of {here.name} are not what was loaded here ({there.fingerprint} in {there.dtype}, and "
                f"{here.fingerprint} in {here.dtype}); load it again"
            )
        return self._pool

    def _others_wait(self, job: Job) -> bool:
        with self._lock:
            return any(other is not job for other in self._waiting.values())

    def _end_workers(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._pool = self._loaded = None


def check_room(model: ModelInfo, workers: int) -> None:
    """Raise `OutOfMemory` where so many more copies of a model on the CPU have no room beside it.

    On a GPU the workers find out, and say so.
    """
    import psutil

    if model.device != "cpu":
        return
    needed, free = workers * (model.bytes + PROCESS), psutil.virtual_memory().available
    if needed > free:
        raise OutOfMemory(
            f"{count(workers, 'worker')} would need about {bytes_in_words(needed)} beside the model here, and "
            f"{bytes_in_words(free)} are free; choose fewer, or 0 to have this one answer while other questions wait"
        )
