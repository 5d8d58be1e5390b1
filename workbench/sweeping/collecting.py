"""From the shards of a sweep, each run by itself, to the step that one run would have given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from workbench.errors import InputError
from workbench.protocol import Result
from workbench.reading import MOST_BYTES, BadJson, Unreadable, first_problem, parse, read_bytes
from workbench.registry import method
from workbench.session import FORMAT, Step, session_from
from workbench.shards import RecordsSweep


def collected(steps: Sequence[Step]) -> Step:
    """One step from those of all shards of a sweep, in whatever order they come.

    A shard that was run twice counts once, by its last step. Raises `InputError` where one is missing or did not end,
    or they are of different sweeps.
    """
    by_number: dict[int, Step] = {}
    request: RecordsSweep | None = None
    of = 0
    for step in steps:
        asked = step.request
        if not isinstance(asked, RecordsSweep) or asked.shard is None:
            raise InputError(f"a step of the kind {asked.kind} is no shard; run the sweep with --shard I/N")
        if request is not None and (asked.whole() != request or asked.shard.of != of):
            raise InputError(
                "the shards are not of one sweep: their records or settings differ; collect each by itself"
            )
        request, of = asked.whole(), asked.shard.of
        if step.result is not None or asked.shard.number not in by_number:
            by_number[asked.shard.number] = step
    if request is None:
        raise InputError("there are no shards to collect; name the files that --shard I/N wrote")
    if missing := [number for number in range(1, of + 1) if number not in by_number]:
        few = ", ".join(f"{number}/{of}" for number in missing[:8]) + (", …" if len(missing) > 8 else "")
        raise InputError(f"{len(missing)} of {of} shards are missing ({few}); run them, and collect all")
    for number, step in by_number.items():
        if step.status != "done":
            raise InputError(f"shard {number}/{of} did not end ({step.why or step.status}); run it again")
    ordered = [by_number[number] for number in range(1, of + 1)]
    collect = method(request.kind).collect
    assert collect is not None, f"{request.kind} is a sweep that cannot be collected"
    return Step(
        started=min(step.started for step in ordered),
        seconds=round(sum(step.seconds for step in ordered), 4),
        status="done",
        request=request,
        result=collect(request, [step.result for step in ordered]),
    )


def so_far(request: RecordsSweep, of: int, results: Mapping[int, Result]) -> Result | None:
    """What the shards that are there come to, by their numbers, as if the sweep were over their records alone.

    Records are dealt out in turn, so that those of some shards are dealt out to as many in the same way. None where
    that is nothing yet.
    """
    collect = method(request.kind).collect
    assert collect is not None, f"{request.kind} is a sweep that cannot be collected"
    there = tuple(one for place, one in enumerate(request.every) if place // request.TOGETHER % of + 1 in results)
    try:
        return collect(request.model_copy(update={request.OVER: there}), [results[each] for each in sorted(results)])
    except InputError:  # no record of these could be used
        return None


def shards_in(files: Sequence[Path]) -> tuple[list[Step], set[str]]:
    """The shards in session files and in what ``--json`` printed, and the fingerprints of their models.

    Steps of other kinds in the sessions are passed over. Raises `InputError` for a file that holds neither.
    """
    steps: list[Step] = []
    models: set[str] = set()
    for file in files:
        try:
            raw = read_bytes(file, MOST_BYTES)
            data = parse(raw)
        except Unreadable as error:
            raise InputError(f"{error}; name files that --shard I/N wrote") from error
        except BadJson as error:
            raise InputError(f"{file} is neither a session nor a step ({error.why}); run its shard again") from error
        if isinstance(data, dict) and data.get("format") == FORMAT:
            session = session_from(raw, file)
            found = [step for step in session.steps if isinstance(step.request, RecordsSweep) and step.request.shard]
            if session.model is not None and found:
                models.add(f"{session.model.fingerprint} in {session.model.dtype}")
        else:
            try:
                found = [Step.model_validate(data)]
            except ValidationError as error:
                raise InputError(f"{file} is no step at {first_problem(error)}; run its shard again") from error
        if not found:
            raise InputError(f"{file} holds no shard of a sweep; run one with --shard I/N")
        steps += found
    if len(models) > 1:
        raise InputError(f"the shards were run on different models ({', '.join(sorted(models))}); run them on one")
    return steps, models
