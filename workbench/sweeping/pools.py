"""Who answers the shards of a sweep: processes on this machine, each with the model loaded once, or actors of Ray."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from workbench.errors import WorkbenchError
from workbench.events import LoadRequest
from workbench.models.info import ModelInfo

RETRIES = 2
"""How often a shard is given to another worker when the one that had it has died."""

LOOK_EVERY = 0.1  # seconds between two looks whether somebody wants to leave

Look = Callable[[], None]
"""Called again and again while workers are waited for. What it raises ends that."""

Told = Callable[[int, float], None]
"""Hears the number of a shard and the share of it that is done."""


class WorkerPool(Protocol):
    """Workers that have loaded one model."""

    model: ModelInfo

    def answers(self, sweep: str, numbers: Sequence[int], of: int, told: Told) -> Iterator[str]:
        """The `workbench.sweeping.worker.ShardAnswer` of each shard, as JSON, in the order in which they come."""

    def close(self) -> None:
        """End the workers, whatever they are doing."""


class LocalPool:
    """Processes on this machine, one a GPU where there are any.

    Cores are divided among them and the ``others`` who compute here. Their ``messages`` are added to a file, or go to
    stderr. Raises `WorkbenchError` where the model cannot be loaded, and what ``look`` raises.
    """

    def __init__(
        self,
        load: LoadRequest,
        workers: int,
        look: Look = lambda: None,
        messages: Path | None = None,
        others: int = 0,
    ) -> None:
        self._load = load
        self.look = look
        self._messages = messages
        self._threads = max(1, (os.cpu_count() or 1) // (workers + others))
        self._said: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()
        self._workers = [self._worker(number) for number in range(workers)]
        try:
            self.model = self._first_loaded()
        except BaseException:
            self.close()
            raise

    def answers(self, sweep: str, numbers: Sequence[int], of: int, told: Told) -> Iterator[str]:
        """As `WorkerPool`. Raises `WorkbenchError` where a shard's workers die again and again."""
        waiting, died = deque(numbers), dict.fromkeys(numbers, 0)
        left = len(numbers)
        for worker in self._workers:
            worker.give(sweep, waiting, of)
        while left:
            worker, said = self._hear()
            if said is None:
                lost = worker.number
                place = self._workers.index(worker)
                if lost is not None:
                    died[lost] += 1
                    if died[lost] > RETRIES:
                        raise WorkbenchError(f"the workers of shard {lost}/{of} died {died[lost]} times; {self._why}")
                    waiting.appendleft(lost)
                elif worker.model is None:
                    raise WorkbenchError(f"a worker died while it loaded the model; {self._why}, or use fewer workers")
                worker = self._workers[place] = self._worker(place)
            elif "progress" in said and worker.number is not None:
                done, total, _ = said["progress"]
                told(worker.number, done / max(total, 1))
                continue
            elif "answer" in said:
                left -= 1
                worker.number = None
                yield said["answer"]
            worker.give(sweep, waiting, of)

    def close(self) -> None:
        """As `WorkerPool`."""
        for worker in self._workers:
            worker.end()

    def _worker(self, place: int) -> _Worker:
        if self._messages is None:
            return _Worker(self._load, place, self._threads, self._said)
        self._messages.parent.mkdir(parents=True, exist_ok=True)
        with self._messages.open("a", encoding="utf-8") as messages:
            return _Worker(self._load, place, self._threads, self._said, messages)

    @property
    def _why(self) -> str:
        """Where the reason stands."""
        return f"see {self._messages}" if self._messages else "see its messages"

    def _first_loaded(self) -> ModelInfo:
        while True:
            worker, said = self._hear()
            if said is None:
                raise WorkbenchError(f"a worker died while it loaded the model; {self._why}")
            if worker.model is not None:
                return worker.model

    def _hear(self) -> tuple[_Worker, dict[str, Any] | None]:
        """The next message of any worker, None where it has died. Looks up often, for ctrl+c to be noticed."""
        while True:
            self.look()
            try:
                worker, said = self._said.get(timeout=LOOK_EVERY)
            except queue.Empty:
                continue
            if said is not None and "model" in said:
                if said["error"]:
                    raise WorkbenchError(said["error"])
                worker.model = ModelInfo.model_validate(said["model"])
            return worker, said


class _Worker:
    """One process. ``number`` is that of the shard it has, ``model`` what it has loaded."""

    def __init__(
        self,
        load: LoadRequest,
        place: int,
        threads: int,
        said: queue.SimpleQueue[Any],
        messages: IO[str] | None = None,
    ) -> None:
        self.number: int | None = None
        self.model: ModelInfo | None = None
        self._sweep = ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench.sweeping.worker", str(place), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # ctrl+c is for us; they are ended below
        )
        threading.Thread(target=self._listen, args=(said,), daemon=True).start()
        self._tell(load.model_dump_json())

    def give(self, sweep: str, waiting: deque[int], of: int) -> None:
        """The next shard that waits, if it has loaded the model and has none."""
        if self.model is None or self.number is not None or not waiting:
            return
        if self._sweep != sweep:
            self._sweep = sweep
            self._tell(json.dumps(sweep))
        self.number = waiting.popleft()
        self._tell(json.dumps([self.number, of]))

    def end(self) -> None:
        """Kill it: what it has finished is with us, and what its records gave is in the cache."""
        self._process.kill()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it has died, which is heard of
            return

    def _listen(self, said: queue.SimpleQueue[Any]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said.put((self, json.loads(line)))
        said.put((self, None))
