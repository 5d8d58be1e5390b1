"""Sessions: what was asked and what was found, as one JSON file to which every step is appended."""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from workbench import __version__, steplines
from workbench.case import Case
from workbench.errors import InputError, SessionError, SessionHeld
from workbench.files import write_atomically
from workbench.locking import Lock
from workbench.models.info import ModelInfo
from workbench.protocol import Frozen
from workbench.reading import MOST_BYTES, BadJson, Unreadable, first_problem, parse, quoted, read_bytes
from workbench.registry import AnyRequest, AnyResult
from workbench.shapes import increasing

FORMAT: Literal["lm-workbench-session"] = "lm-workbench-session"
VERSION: Literal[2] = 2

Status = Literal["done", "failed", "cancelled", "partial"]


class StepError(Frozen):
    """Why a step failed: the class of the error and its sentence."""

    kind: str
    message: str


class Step(Frozen):
    """One request and what came of it.

    ``partial`` is a cancelled step that had found something; ``started`` is UTC; ``edits`` are the ids of the edits
    that were active. ``id`` counts from 1 within a session and is 0 before the step belongs to one. ``title`` and
    ``note`` are a person's.
    """

    id: int = 0
    started: datetime
    seconds: float
    edits: tuple[str, ...] = ()
    status: Status
    request: AnyRequest
    result: AnyResult | None = None
    error: StepError | None = None
    title: str = ""
    note: str = ""

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

    @property
    def completed(self) -> Case | None:
        """The case as a method filled it in that proposes parts of it; None of all others."""
        found = getattr(self.result, "case", None)
        return found if isinstance(found, Case) else None

    @property
    def why(self) -> str:
        """Why there is no result; nothing where there is one."""
        return self.error.message if self.error else "" if self.result else self.status


class Session(Frozen):
    """A session file. ``model`` is unknown until one is loaded; ``environment`` maps a library to its version.

    ``title`` and ``note`` are a person's.
    """

    format: Literal["lm-workbench-session"] = FORMAT
    version: Literal[2] = VERSION
    model: ModelInfo | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    title: str = ""
    note: str = ""
    steps: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        increasing("step", (step.id for step in self.steps if step.id))  # 0: not numbered yet
        return self


def environment() -> dict[str, str]:
    """The versions that a result may depend on, read without importing anything heavy."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    found["lm-workbench"] = __version__  # of what runs: what pip knows of a clone is as old as its installation
    return found | _installed()


@cache
def _installed() -> dict[str, str]:
    """The versions of libraries. None is installed anew while this runs, and to look takes longer than to write."""
    from importlib.metadata import PackageNotFoundError, version  # not before the first paint

    found = {}
    for package in ("torch", "transformers", "nnsight", "captum", "concept-erasure"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class SessionReading(NamedTuple):
    """A session file as it was read.

    ``mended`` is a sentence where its last writer was stopped in the middle of a step, None where it is whole.
    ``end`` is where its last complete step ends, and ``first`` its first line; None where it is laid out otherwise.
    """

    session: Session
    mended: str | None
    first: str | None
    end: int | None


def load_session(path: Path, most: int = MOST_BYTES) -> Session:
    """The session in a file. Raises `SessionError` with one sentence; the file is never touched."""
    return read_session(path, most).session


def read_session(path: Path, most: int = MOST_BYTES) -> SessionReading:
    """Read and check a session file, and leave a step out in whose middle its writer was stopped.

    Raises `SessionError` with one sentence; the file is never touched.
    """
    try:
        raw = read_bytes(path, most)
    except Unreadable as error:
        if error.missing:
            raise SessionError(f"there is no session file {path}") from None
        raise SessionError(f"the session file {path} cannot be read: {error.why}") from error
    try:
        session = session_from(raw, path)
    except SessionError:
        if (end := steplines.mended(raw)) is None:
            raise
        session = session_from(raw[:end] + steplines.END, path)
        steps = f"{len(session.steps)} complete step{'s are' if len(session.steps) != 1 else ' is'}"
        mended = (
            f"the program that recorded {path} was stopped while it wrote a step: the {steps} there, that one is not"
        )
        return SessionReading(session, mended, raw.partition(b"\n")[0].decode(), end)
    laid_out = steplines.layout(raw)
    return SessionReading(session, None, *(laid_out or (None, None)))


def session_from(content: str | bytes, path: Path) -> Session:
    """The session that the content of the file ``path`` is. Raises `SessionError` with one sentence."""
    try:
        data = parse(content)
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
    """A session that is being recorded: every `append` leaves a complete file, and costs no more than its step.

    The file appears with the first step. What could not be written (a full disk) is kept and written with the next
    step. ``notes`` are sentences about what was found when the session was opened, for whoever opened it to show.
    """

    def __init__(self, path: Path, session: Session | None = None, *, lock: Lock | None = None) -> None:
        self.path = path
        self.notes: tuple[str, ...] = ()
        session = session or Session()
        self._header = session.model_copy(update={"steps": ()})
        self._steps = list(session.steps)
        self._lock = lock
        self._writing = threading.RLock()  # one thread appends, another closes
        self._unwritten: list[str] = []
        self._annotated = False  # and not written yet
        self._first: str | None = None
        self._end: int | None = None  # where the next step goes; None where the file has to be written as a whole

    @classmethod
    def open(
        cls, path: Path, program: str = "another program", waiting: Callable[[str], None] | None = None
    ) -> SessionFile:
        """Continue the session in ``path``, or begin one there when there is none.

        ``program`` says to others who it is that records it. Where somebody else does, ``waiting`` is told so and the
        others' end is waited for; without it `SessionHeld` is raised. Raises `SessionError`.
        """
        notes = [] if path.parent.exists() else [f"the folder {path.parent} was made"]
        lock = Lock(path, program)
        lock.acquire(waiting)
        try:
            if not path.exists():
                file = cls(path, lock=lock)
                file.notes = (f"{path} does not exist yet: a new session begins there", *notes)
                return file
            read = read_session(path)
            file = cls(path, read.session, lock=lock)
            if read.end is not None:
                file._first, file._end = read.first, read.end
            if read.mended is not None and read.end is not None:
                file.notes = (read.mended,)
                try:
                    steplines.close_at(path, read.end)
                except OSError as error:
                    raise SessionError(f"the session file {path} cannot be written: {error.strerror}") from error
        except BaseException:
            lock.release()
            raise
        return file

    @classmethod
    def open_or_beside(cls, path: Path, program: str) -> SessionFile:
        """As `open`; where somebody else records ``path``, go on with its steps in a new file beside it."""
        try:
            return cls.open(path, program)
        except SessionHeld as held:
            file = cls.beside(path, program)
            file.notes = (f"{held}; what it has so far is shown, and this session goes on in {file.path}",)
            return file

    @classmethod
    def begin(cls, folder: Path, program: str = "another program") -> SessionFile:
        """A new session in ``folder``, in a file named by the time."""
        path = new_session_path(folder)
        return cls(path, lock=Lock(path, program))

    @classmethod
    def beside(cls, path: Path, program: str = "another program") -> SessionFile:
        """A new file beside one that somebody else is recording, with the steps that are there so far.

        Raises `SessionError`.
        """
        session = load_session(path) if path.exists() else Session()
        beside = _free(path.parent, path.stem, path.suffix)
        return cls(beside, session, lock=Lock(beside, program))

    @property
    def session(self) -> Session:
        """The whole session as it is now, with steps that could not be written yet."""
        return self._header.model_copy(update={"steps": tuple(self._steps)})

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been recorded."""
        return not self._steps

    def use_model(self, model: ModelInfo) -> None:
        """Note the model that steps are made with. Raises `SessionError` when the session has steps of another."""
        known = self._header.model
        if known is not None and self._steps and known.fingerprint != model.fingerprint:
            raise SessionError(
                f"{self.path} was recorded with {known.name} ({known.fingerprint}) and this is {model.name} "
                f"({model.fingerprint}); name another --session file, or load that model"
            )
        with self._writing:
            self._header = self._header.model_copy(update={"model": model, "environment": environment()})

    def append(self, step: Step) -> Step:
        """Give the step its number, keep it, and write it. Raises `SessionError` when writing fails."""
        with self._writing:
            last = self._steps[-1].id if self._steps else 0
            step = step.model_copy(update={"id": last + 1})
            self._unwritten.append(_line(step))
            self._steps.append(step)
            self.save()
        return step

    def annotate(self, step: int | None = None, *, title: str | None = None, note: str | None = None) -> None:
        """Give the session, or one of its steps, a title or a note; None leaves it as it is.

        Raises `InputError` for a step that is not there, and `SessionError` when writing fails.
        """
        given = {name: text for name, text in (("title", title), ("note", note)) if text is not None}
        with self._writing:
            if step is None:
                self._header = self._header.model_copy(update=given)
            else:
                places = [place for place, each in enumerate(self._steps) if each.id == step]
                if not places:
                    raise InputError(f"there is no step {step} in {self.path}")
                self._steps[places[0]] = self._steps[places[0]].model_copy(update=given)
                self._end = None  # it stands in the middle of the file
            self._annotated = True
            if self._steps:
                self.save()

    def save(self) -> None:
        """Write what is not in the file yet. Raises `SessionError`."""
        with self._writing:
            try:
                self._write()
            except OSError as error:
                raise SessionError(
                    f"the session could not be saved to {self.path}: {error.strerror}; "
                    "make room or choose another --session file, nothing is lost while the program runs"
                ) from error
            except (steplines.Changed, SessionHeld):
                was, self.path = self.path, _free(self.path.parent, self.path.stem, self.path.suffix)
                self._end = None
                if self._lock is not None:
                    self._lock.release()
                    self._lock = Lock(self.path, self._lock.program)
                self.save()
                raise SessionError(
                    f"another program has written to {was}, which was left as it is: this session, with all of its "
                    f"steps, goes on in {self.path}"
                ) from None

    def close(self) -> None:
        """Try once more to write what could not be written, and let others record. Raises `SessionError`."""
        with self._writing:
            try:
                if self._unwritten or (self._annotated and self._steps):
                    self.save()
            finally:
                if self._lock is not None:
                    self._lock.release()

    def _write(self) -> None:
        if self._lock is not None and not self._lock.held:
            self._lock.acquire()
            if self.path.exists():  # begun by somebody else in the meantime
                raise steplines.Changed
        first = steplines.header_line(
            json.dumps(self._header.model_dump(mode="json", exclude={"steps"}), ensure_ascii=False)
        )
        if self._end is not None and first == self._first and self.path.exists():
            self._end = steplines.append(self.path, self._end, self._unwritten)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = steplines.compose(first, map(_line, self._steps))
            write_atomically(self.path, whole)
            self._first, self._end = first, len(whole) - len(steplines.END)
        self._unwritten.clear()
        self._annotated = False


def new_session_path(folder: Path) -> Path:
    """A file for a new session, named by the time and taken by nobody."""
    path = folder / f"{datetime.now(UTC).astimezone():%Y-%m-%d-%H%M%S}.json"
    return _free(folder, path.stem, path.suffix) if path.exists() else path


def _free(folder: Path, stem: str, suffix: str) -> Path:
    number = 2
    while (path := folder / f"{stem}-{number}{suffix}").exists():
        number += 1
    return path


def _line(step: Step) -> str:
    return step.model_dump_json()
