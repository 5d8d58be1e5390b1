"""The workbench in a script or a notebook: a model, a request, its result. The same methods as in app and commands."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import loading, registry
from workbench.errors import Cancelled, InputError, WorkbenchError
from workbench.figures import Figure
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import Frozen, Progress, Request, Result, silent
from workbench.reporting.formats import as_text
from workbench.session import SessionFile, Step, StepError
from workbench.session import load_session as _load_session
from workbench.settings import filled

if TYPE_CHECKING:
    from workbench.loading import LoadedModel
    from workbench.session import Session


def load(
    name: str = DEFAULT_MODEL, dtype: str = "auto", device: str = "auto", device_map: str | None = None
) -> LoadedModel:
    """A model by catalogue name, directory, GGUF file or Hugging Face id. Raises as `workbench.loading.load`."""
    return loading.load(name, dtype, device, device_map=device_map)


def kinds() -> tuple[str, ...]:
    """What can be asked."""
    return tuple(registry.METHODS)


def request(kind: str, **fields: Any) -> Request:
    """A request of one of the `kinds`, with its fields as they stand in a session; what is left out is by default.

    ``case`` is a `workbench.Case` or a dictionary of its fields. Raises `InputError` in one sentence.
    """
    if kind not in registry.METHODS:
        raise InputError(f"there is nothing of the kind {kind!r} to ask; there are {', '.join(registry.METHODS)}")
    return filled(registry.method(kind).request, {}, **fields)


def ask(model: LoadedModel, request: Request, session: str | Path | None = None, progress: Progress = silent) -> Result:
    """Run a request and return its result, which a notebook shows as pictures and tables.

    Edits stay on the model, in ``model.edits``; after an error the queue is as it was. With a ``session`` the step is
    appended to that file, after those of whatever it asks of other methods. Raises what the method raises, of
    `workbench.errors`.
    """
    recording = SessionFile.open(Path(session), "a script") if session is not None else None
    try:
        if recording is not None:
            recording.use_model(model.info)
        return _answer(model, request, recording, progress)[1]
    finally:
        if recording is not None:
            recording.close()


def _answer(
    model: LoadedModel, request: Request, recording: SessionFile | None, progress: Progress
) -> tuple[Step, Result]:
    """Run a request. The step is recorded, and so are those of what it asks of other methods, before it."""
    started, before, edits = datetime.now(UTC), time.perf_counter(), model.edits.active
    method = registry.method(request.kind)
    if method.asks:
        result = method.run(model, request, progress, functools.partial(_told, model, recording, progress))
    else:
        with model.edits.transaction():
            result = method.run(model, request, progress)
    seconds = time.perf_counter() - before
    step = Step(started=started, seconds=seconds, edits=edits, status="done", request=request, result=result)
    return (recording.append(step) if recording is not None else step), result


def _told(
    model: LoadedModel,
    recording: SessionFile | None,
    progress: Progress,
    request: Request,
    seen: Callable[[Result], None] = lambda _: None,
    /,
) -> Step:
    """What a method is told of another that it asked: a step, which says why where it failed."""

    def shown(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
        if isinstance(partial, Result):
            seen(partial)
        progress(done, total, partial, stage=stage)

    started, before, edits = datetime.now(UTC), time.perf_counter(), model.edits.active
    try:
        return _answer(model, request, recording, shown)[0]
    except Cancelled:
        raise
    except WorkbenchError as error:
        failure = StepError(kind=type(error).__name__, message=str(error))
        seconds = time.perf_counter() - before
        step = Step(started=started, seconds=seconds, edits=edits, status="failed", request=request, error=failure)
        return recording.append(step) if recording is not None else step


def figures_of(result: Result) -> tuple[Figure, ...]:
    """What there is to draw of a result, as plain data (`workbench.figures`)."""
    return registry.method(result.kind).figures(result)


def text(result: Result | Iterable[Figure]) -> str:
    """A result, or some figures, as plain text."""
    found = figures_of(result) if isinstance(result, Result) else result
    return "\n\n".join(map(as_text, found))


def load_session(path: str | Path) -> Session:
    """The session in a file. Raises `workbench.errors.SessionError`."""
    return _load_session(Path(path))
