"""Sweeps on several workers or machines: their options, an engine that answers them, and ``workbench collect``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from workbench import leaving
from workbench.cli.asking import Plan
from workbench.cli.common_options import SessionPath
from workbench.cli.output import echo_json, remark
from workbench.errors import InputError, SessionError
from workbench.events import LoadRequest
from workbench.models.info import ModelInfo
from workbench.protocol import Request
from workbench.registry import method
from workbench.session import SessionFile, Step, load_session
from workbench.shards import RecordsSweep, shard_from
from workbench.sweeping import spread as sweeps
from workbench.sweeping.collecting import collected, shards_in
from workbench.sweeping.spread import Spread

ShardOption = Annotated[
    str | None, typer.Option("--shard", help="Only this share of the records, such as 3/8; see collect.", metavar="I/N")
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Share the records out among so many processes, one a GPU.", min=1)
]
OnRay = Annotated[
    str | None,
    typer.Option("--ray", help="Share the records out among the actors of a Ray cluster.", metavar="ADDRESS|local"),
]


def spread(plan: Plan, shard: str | None, workers: int | None, ray: str | None) -> Plan:
    """The plan of sweeps with what these options say. Raises `InputError` for what makes no sense."""
    asked = (plan.request, *plan.others)
    if shard is None and workers is None and ray is None:
        return plan
    for request in asked:
        if not isinstance(request, RecordsSweep):
            raise InputError(
                "--shard, --workers and --ray share many records out; name a file by --facts, or --questions"
            )
        sweeps.check(request)
    if shard is not None:
        if workers or ray:
            raise InputError("a shard is one worker's share; leave --workers and --ray out, or --shard")
        part = shard_from(shard)
        first, *others = (
            request.sharded(part.number, part.of) for request in asked if isinstance(request, RecordsSweep)
        )
        return replace(plan, request=first, others=tuple(others))
    return replace(plan, spread=Spread(workers=workers, ray=ray))


class SpreadEngine:
    """Like `workbench.cli.waiting.WaitingEngine`, for sweeps alone, which its workers answer."""

    model: ModelInfo
    unsaved: str | None = None

    def __init__(self, load: LoadRequest, session: Path | None, over: Spread) -> None:
        self._recording = SessionFile.open(session, "a command line", _say) if session else None
        self._steps = itertools.count(1)
        self._over = over
        self._load = load

    def __enter__(self) -> SpreadEngine:
        try:
            self._pool = self._over.pool(self._load)
        except BaseException:
            self._close_recording()
            raise
        self.model = self._pool.model
        if self._recording is not None:
            self._recording.use_model(self.model)
        return self

    def __exit__(self, *_: object) -> None:
        with leaving.undisturbed():
            self._pool.close()
            self._close_recording()

    def answer(self, request: Request) -> Step:
        """The step of a whole sweep, from all its shards."""
        from workbench.cli.waiting import progress_line  # not at the top: the app paints sooner without bars

        assert isinstance(request, RecordsSweep)
        workers = getattr(self._pool, "workers", None) or self._over.workers or 1
        with progress_line() as show:
            step = sweeps.run(self._pool, request, workers, show)
        if self._recording is None:
            return step.model_copy(update={"id": next(self._steps)})
        try:
            return self._recording.append(step)
        except SessionError as error:
            self.unsaved = str(error)
            return step

    def _close_recording(self) -> None:
        if self._recording is not None:
            with suppress(SessionError):
                self._recording.close()


def collect(
    files: Annotated[
        list[Path], typer.Argument(help="What the shards wrote: sessions, or --json.", show_default=False)
    ],
    session: SessionPath = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the step as JSON, and nothing else.")] = False,
) -> None:
    """Put the shards of a sweep together, as if it had been run at once."""
    from workbench.cli.console import Console, Text
    from workbench.cli.figures import draw_all

    steps, _ = shards_in(files)
    found = [collected(some) for some in _by_sweep(steps)]
    if session is not None:
        _record(found, session, files)
    for number, step in enumerate(found, 1):
        if as_json:
            echo_json(step if step.id else step.model_copy(update={"id": number}))
            continue
        console = Console()
        assert step.result is not None
        console.print(draw_all(method(step.request.kind).figures(step.result)))
        for check in step.result.checks:
            console.print(Text(f"{check.name} {check.text}"), style="bold yellow" if check.level == "warn" else "dim")


def _by_sweep(steps: Sequence[Step]) -> list[list[Step]]:
    """The shards of each sweep, as several editors may have been run on the same records."""
    found: dict[str, list[Step]] = {}
    for step in steps:
        asked = step.request
        name = asked.whole().model_dump_json() if isinstance(asked, RecordsSweep) else ""
        found.setdefault(name, []).append(step)
    return list(found.values())


def _record(found: list[Step], session: Path, files: Sequence[Path]) -> None:
    """Append the steps to a session, which has the model of the first file that names one."""
    models = []
    for file in files:
        with suppress(SessionError):
            models.append(load_session(file).model)
    recording = SessionFile.open(session, "a command line", _say)
    try:
        if (model := next((each for each in models if each), None)) is not None:
            recording.use_model(model)
        found[:] = [recording.append(step) for step in found]
    finally:
        recording.close()


def _say(sentence: str) -> None:
    remark(f"workbench: {sentence}")
