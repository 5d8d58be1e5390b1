"""Sessions: what was asked and what was found, as one JSON file that is complete after every step."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from workbench.case import Case, Frozen
from workbench.errors import SessionError
from workbench.files import write_atomically
from workbench.methods import AnyRequest, AnyResult
from workbench.models.info import ModelInfo
from workbench.reading import MOST_BYTES, BadJson, Unreadable, first_problem, parse, quoted, read_text
from workbench.shapes import increasing

FORMAT: Literal["lm-workbench-session"] = "lm-workbench-session"
VERSION: Literal[1] = 1

Status = Literal["done", "failed", "cancelled", "partial"]


class StepError(Frozen):
    """Why a step failed: the class of the error and its sentence."""

    kind: str
    message: str


class Step(Frozen):
    """One request and what came of it.

    ``partial`` is a cancelled step that had found something; ``started`` is UTC; ``edits`` are the ids of the edits
    that were active. ``id`` counts from 1 within a session and is 0 before the step belongs to one.
    """

    id: int = 0
    started: datetime
    seconds: float
    edits: tuple[str, ...] = ()
    status: Status
    request: AnyRequest
    result: AnyResult | None = None
    error: StepError | None = None

    @field_validator("started")
    @classmethod
    def _is_a_time(cls, started: datetime) -> datetime:
        try:
            started.astimezone()
        except (OverflowError, OSError):
            raise ValueError("there is no such time") from None
        return started

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.result is not None and self.result.kind != self.request.kind:
            raise ValueError(f"a result of the kind {self.result.kind} answers no request of {self.request.kind}")
        return self

    @property
    def case(self) -> Case | None:
        """The case that the step was about, for methods that take one."""
        return getattr(self.request, "case", None)


class Session(Frozen):
    """A session file. ``model`` is unknown until one is loaded; ``environment`` maps a library to its version."""

    format: Literal["lm-workbench-session"] = FORMAT
    version: Literal[1] = VERSION
    model: ModelInfo | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        increasing("step", (step.id for step in self.steps if step.id))  # 0: not numbered yet
        return self


def environment() -> dict[str, str]:
    """The versions that a result may depend on, read without importing anything heavy."""
    from importlib.metadata import PackageNotFoundError, version  # not before the first paint

    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for package in ("lm-workbench", "torch", "transformers", "nnsight", "captum", "concept-erasure"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def load_session(path: Path, most: int = MOST_BYTES) -> Session:
    """Read and check a session file. Raises `SessionError` with one sentence; the file is never touched."""
    try:
        text = read_text(path, most)
    except Unreadable as error:
        if error.missing:
            raise SessionError(f"there is no session file {path}") from None
        raise SessionError(f"the session file {path} cannot be read: {error.why}") from error
    return session_from(text, path)


def session_from(text: str, path: Path) -> Session:
    """The session that the text of the file ``path`` holds. Raises `SessionError` with one sentence."""
    try:
        data = parse(text)
    except BadJson as error:
        if error.line is None:
            raise SessionError(f"{path} is not a session file: {error.why}; it was left as it is") from None
        raise SessionError(
            f"{path} is not a complete session file: the JSON ends or breaks at line {error.line}; it was left as it is"
        ) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SessionError(f"{path} is JSON, but not a session of this program; it was left as it is")
    if data.get("version") != VERSION:
        raise SessionError(
            f"{path} is a session of version {quoted(data.get('version'))} and this program reads version {VERSION}; "
            "open it with the program that wrote it"
        )
    try:
        return Session.model_validate(data)
    except ValidationError as error:
        raise SessionError(
            f"the session file {path} is damaged at {first_problem(error)}; it was left as it is"
        ) from None


class SessionFile:
    """A session that is being recorded: every `append` leaves a complete file.

    The file appears with the first step. Each step is turned into text once, so that a long session costs no more
    to continue than a short one but for the writing. What could not be written (a full disk) is kept and written
    with the next step.
    """

    def __init__(self, path: Path, session: Session | None = None) -> None:
        self.path = path
        self.session = session or Session()
        self._lines = [_line(step) for step in self.session.steps]

    @classmethod
    def open(cls, path: Path) -> SessionFile:
        """Continue the session in ``path``, or begin one there when there is none. Raises `SessionError`."""
        return cls(path, load_session(path)) if path.exists() else cls(path)

    def use_model(self, model: ModelInfo) -> None:
        """Note the model that steps are made with. Raises `SessionError` when the session has steps of another."""
        known = self.session.model
        if known is not None and self.session.steps and known.fingerprint != model.fingerprint:
            raise SessionError(
                f"{self.path} was recorded with {known.name} ({known.fingerprint}) and this is {model.name} "
                f"({model.fingerprint}); name another --session file, or load that model"
            )
        self.session = self.session.model_copy(update={"model": model, "environment": environment()})

    def append(self, step: Step) -> Step:
        """Give the step its number, keep it, and write the file. Raises `SessionError` when writing fails."""
        last = self.session.steps[-1].id if self.session.steps else 0
        step = step.model_copy(update={"id": last + 1})
        self._lines.append(_line(step))
        self.session = self.session.model_copy(update={"steps": (*self.session.steps, step)})
        self.save()
        return step

    def save(self) -> None:
        """Write the whole file by temporary file, fsync and rename. Raises `SessionError`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, "".join(self._text()))
        except OSError as error:
            raise SessionError(
                f"the session could not be saved to {self.path}: {error.strerror}; "
                "make room or choose another --session file, nothing is lost while the program runs"
            ) from error

    def _text(self) -> Iterator[str]:
        header: dict[str, Any] = self.session.model_dump(mode="json", exclude={"steps"})
        yield json.dumps(header, ensure_ascii=False)[:-1]
        yield ', "steps": [\n' + ",\n".join(self._lines) + "\n]}\n"


def new_session_path(folder: Path) -> Path:
    """A file for a new session, named by the time and taken by nobody."""
    stamp = datetime.now(UTC).astimezone().strftime("%Y-%m-%d-%H%M%S")
    path = folder / f"{stamp}.json"
    number = 2
    while path.exists():
        path = folder / f"{stamp}-{number}.json"
        number += 1
    return path


def _line(step: Step) -> str:
    return step.model_dump_json()
