"""What an engine is asked first, and what it says of its jobs to a listener."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from workbench.editing.queue import QueueState
from workbench.models.info import ModelInfo
from workbench.protocol import Request, Result
from workbench.session import Step


class LoadRequest(Request):
    """Load a model: a catalogue name, a directory, a GGUF file or a hub id. It replaces the one before.

    A ``remote`` one stays where it is, and what is asked of it is sent there (`workbench.remote`).
    """

    kind: Literal["load"] = "load"
    model: str
    dtype: str = "auto"
    device: str = "auto"
    device_map: Annotated[str | None, Field(exclude_if=lambda named: named is None)] = None
    remote: Annotated[bool, Field(exclude_if=lambda asked: not asked)] = False


class LoadResult(Result):
    """The model that is now loaded."""

    kind: Literal["load"] = "load"
    model: ModelInfo


@dataclass(frozen=True)
class Started:
    """A job has left the queue."""

    job: int
    request: Request


@dataclass(frozen=True)
class Progressed:
    """``done`` of ``total``; ``remaining`` is the estimated time left in seconds, None while it cannot be known."""

    job: int
    request: Request
    done: int
    total: int
    stage: str
    partial: Result | None
    remaining: float | None


@dataclass(frozen=True)
class Finished:
    """A job has ended, whichever way.

    ``unsaved`` is a sentence when the session could not be written; ``queue`` is that of the model's edits now, None
    without a model.
    """

    job: int
    step: Step
    unsaved: str | None = None
    queue: QueueState | None = None


Event = Started | Progressed | Finished
Listener = Callable[[Event], None]
