"""A sweep over a pool of workers: cut, shared out, kept as it comes, and collected into one step."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from workbench.errors import InputError, WorkbenchError
from workbench.events import LoadRequest
from workbench.files import write_atomically
from workbench.paths import cache_folder
from workbench.protocol import Frozen, Result
from workbench.reading import Unreadable, read_text
from workbench.session import Step
from workbench.shards import RecordsSweep
from workbench.sweeping.collecting import collected, so_far
from workbench.sweeping.pools import LocalPool, WorkerPool
from workbench.sweeping.worker import ShardAnswer, as_step

SHARDS_EACH = 8
"""Shards for each worker. What dies loses a shard at most; each costs the unedited model's perplexity once more."""


SHARDS_SEEN = 200
"""So many where somebody looks on, who is shown what there is with each."""

SELDOM = 10
"""So many times as long as it took to put together what there is, before that is done again."""


class Spread(Frozen):
    """Over what a sweep is spread: ``workers`` processes of this machine, or actors of Ray at ``ray``."""

    workers: int | None = None
    ray: str | None = None

    @property
    def by(self) -> Literal["processes", "Ray"]:
        """What answers."""
        return "Ray" if self.ray else "processes"

    def pool(self, load: LoadRequest) -> WorkerPool:
        """The workers, with the model loaded. Raises what they raise."""
        if self.ray:
            from workbench.sweeping.on_ray import RayPool

            return RayPool(load, self.ray, self.workers)
        return LocalPool(load, self.workers or 1)


def check(request: RecordsSweep) -> None:
    """Raise `InputError` for a sweep whose records cannot be looked at apart from each other."""
    if why := request.cannot_be_shared():
        raise InputError(f"{why}, so they cannot be shared out; leave --workers, --ray and --shard out")


def run(
    pool: WorkerPool,
    request: RecordsSweep,
    workers: int,
    told: Callable[[int, int, str], None],
    show: Callable[[Result], None] | None = None,
) -> Step:
    """The step of the whole sweep. ``told`` hears how many of how many records are done, ``show`` what they gave.

    Shards that an earlier run with as many workers has finished on these weights are not run again. Raises
    `InputError`, and `WorkbenchError` where a shard fails or its workers die.
    """
    check(request)
    of = min(request.most_shards, max(SHARDS_EACH * workers, SHARDS_SEEN if show else 1))
    text = request.model_dump_json()
    folder = _folder(pool, text, of)
    records = len(request.every)
    share = dict.fromkeys(range(1, of + 1), 0.0)
    steps: dict[int, Step] = {}
    look = _Look(request, of, show)
    sizes = {number: len(request.sharded(number, of).places) for number in share}

    def say() -> None:
        done = sum(share[number] * sizes[number] for number in share)
        told(int(done), records, f"{sum(part == 1 for part in share.values())} of {of} shards")

    def within(number: int, part: float) -> None:
        share[number] = min(part, 0.999)
        look(steps)
        say()

    for number in share:
        if (kept := _kept(folder / f"{number}.json")) is not None:
            steps[number], share[number] = as_step(kept, request, of), 1.0
    look(steps)
    say()
    left = [number for number in share if number not in steps]
    for answer in pool.answers(text, left, of, within) if left else ():
        step = as_step(answer, request, of)
        assert isinstance(step.request, RecordsSweep)
        assert step.request.shard is not None
        number = step.request.shard.number
        if step.status != "done":
            raise WorkbenchError(f"shard {number}/{of} failed: {step.why}")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{number}.json", answer)
        steps[number], share[number] = step, 1.0
        look(steps)
        say()
    return collected(list(steps.values()))


class _Look:
    """Shows what the shards that are there come to: as soon as there are more, but seldom where that takes long."""

    def __init__(self, request: RecordsSweep, of: int, show: Callable[[Result], None] | None) -> None:
        self._request, self._of, self._show = request, of, show
        self._shown = 0
        self._due = 0.0

    def __call__(self, steps: Mapping[int, Step]) -> None:
        began = time.monotonic()
        if self._show is None or len(steps) == self._shown or began < self._due:
            return
        self._shown = len(steps)
        results = {number: step.result for number, step in steps.items() if step.result is not None}
        if (found := so_far(self._request, self._of, results)) is not None:
            self._show(found)
        now = time.monotonic()
        self._due = now + SELDOM * (now - began)


def _folder(pool: WorkerPool, request: str, of: int) -> Path:
    """Where the shards of a sweep are kept until all are there, and after."""
    made_of: tuple[Any, ...] = (pool.model.fingerprint, pool.model.dtype, of, request)
    name = hashlib.sha256("\n".join(map(str, made_of)).encode()).hexdigest()[:32]
    return cache_folder() / "sweeps" / name


def _kept(file: Path) -> str | None:
    try:
        text = read_text(file)
        return text if ShardAnswer.model_validate_json(text).status == "done" else None
    except (Unreadable, ValidationError):
        return None
