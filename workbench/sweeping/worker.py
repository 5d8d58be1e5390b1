"""A process that answers shards of one sweep: lines of JSON in, lines of JSON out. Started by `LocalPool`.

In: what to load, then a whole sweep as a string, then its shards, one [number, of] a line; and so on. Out: what was
loaded, then progress and an answer for each shard. Where the input ends nobody is left to hear an answer, and the
process ends at once: what its records gave is in the cache.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

from pydantic import TypeAdapter

from workbench.engine import Engine
from workbench.events import Event, Finished, LoadRequest, LoadResult, Progressed
from workbench.models.info import ModelInfo
from workbench.protocol import Frozen, Result
from workbench.registry import AnyRequest, AnyResult
from workbench.session import Status, Step, StepError
from workbench.shards import RecordsSweep


class ShardAnswer(Frozen):
    """What became of one shard, without the request, which holds all records."""

    number: int
    seconds: float
    status: Status
    result: AnyResult | None = None
    error: StepError | None = None


class Shards:
    """A model, loaded once, and the sweep whose shards it answers. What a worker and an actor have in common."""

    def __init__(self, load: str) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._engine = Engine(self._events.put)
        self._text = ""
        self._sweep: RecordsSweep | None = None
        step = self._step(LoadRequest.model_validate_json(load))
        self.error = step.error.message if step.error else None
        self.model: ModelInfo | None = step.result.model if isinstance(step.result, LoadResult) else None

    def take(self, sweep: str) -> None:
        """Answer shards of this sweep, a request as JSON, from now on."""
        if sweep != self._text:
            request = TypeAdapter(AnyRequest).validate_json(sweep)
            assert isinstance(request, RecordsSweep)
            self._text, self._sweep = sweep, request

    def answer(self, number: int, of: int, told: Any = lambda _done, _total, _stage: None) -> str:
        """The `ShardAnswer` of one shard as JSON; ``told`` hears of its progress."""
        assert self._sweep is not None
        step = self._step(self._sweep.sharded(number, of), told)
        return ShardAnswer.model_construct(
            number=number, seconds=step.seconds, status=step.status, result=step.result, error=step.error
        ).model_dump_json()

    def close(self) -> None:
        """Stop the engine's thread."""
        self._engine.close()

    def _step(self, request: Any, told: Any = lambda _done, _total, _stage: None) -> Step:
        job = self._engine.submit(request)
        while True:
            event = self._events.get()
            if isinstance(event, Progressed):
                told(event.done, event.total, event.stage)
            elif isinstance(event, Finished) and event.job == job:
                return event.step


def spread_devices(device: str, worker: int) -> str:
    """The device of a worker: its own GPU where there are several and none was named."""
    if device not in ("auto", "cuda"):
        return device
    from workbench.lazy import torch

    return f"cuda:{worker % torch.cuda.device_count()}" if torch.cuda.is_available() else device


def main() -> None:
    """Answer until the input ends. What libraries print goes to stderr."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    worker, threads = int(sys.argv[1]), int(sys.argv[2])
    from workbench.lazy import torch

    if threads:
        torch.set_num_threads(threads)
    load = LoadRequest.model_validate_json(lines.get())
    if load.device_map is None:
        load = load.model_copy(update={"device": spread_devices(load.device, worker)})
    shards = Shards(load.model_dump_json())
    _write(out, {"model": shards.model and shards.model.model_dump(), "error": shards.error})
    while True:
        asked = json.loads(lines.get())
        if isinstance(asked, str):
            shards.take(asked)
            continue
        number, of = asked
        _write(out, {"answer": shards.answer(number, of, lambda *told: _write(out, {"progress": told}))})


def _listen(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _write(out: TextIO, what: dict[str, Any]) -> None:
    out.write(json.dumps(what) + "\n")
    out.flush()


def as_step(answer: str, request: RecordsSweep, of: int) -> Step:
    """The step that an answer stands for."""
    read = ShardAnswer.model_validate_json(answer)
    result: Result | None = read.result
    return Step(
        started=datetime.now(UTC),
        seconds=read.seconds,
        status=read.status,
        request=request.sharded(read.number, of),
        result=result,
        error=read.error,
    )


if __name__ == "__main__":
    main()
