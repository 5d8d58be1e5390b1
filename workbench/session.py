"""Sessions: what was asked and what was found, as one JSON file that is complete after every step."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from workbench.case import Case, Frozen
from workbench.errors import SessionError
from workbench.files import write_atomically
from workbench.methods import AnyRequest, AnyResult
from workbench.models.info import ModelInfo

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


def load_session(path: Path) -> Session:
    """Read and check a session file. Raises `SessionError` with one sentence; the file is never touched."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SessionError(f"there is no session file {path}") from None
    except OSError as error:
        raise SessionError(f"the session file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SessionError(f"{path} is not a session file: it is not text") from None
    except json.JSONDecodeError as error:
        raise SessionError(
            f"{path} is not a complete session file: the JSON ends or breaks at line {error.lineno}; "
            "it was left as it is"
        ) from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SessionError(f"{path} is JSON, but not a session of this program; it was left as it is")
    if data.get("version") != VERSION:
        raise SessionError(
            f"{path} is a session of version {data.get('version')!r} and this program reads version {VERSION}; "
            "open it with the program that wrote it"
        )
    try:
        return Session.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SessionError(
            f"the session file {path} is damaged at {place} ({first['msg']}); it was left as it is"
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
