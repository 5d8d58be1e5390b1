"""One writer a file: who records a session holds its lock, which the system takes back when the program ends."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from workbench.errors import SessionError, SessionHeld
from workbench.protocol import Frozen
from workbench.reading import Unreadable, read_text

if TYPE_CHECKING:
    from filelock import FileLock


class Holder(Frozen):
    """Who holds a lock: ``program`` is a few words, ``since`` UTC."""

    program: str
    pid: int
    host: str
    since: datetime

    def __str__(self) -> str:
        words = f"{self.program} (process {self.pid} on {self.host}, since {self.since.astimezone():%Y-%m-%d %H:%M})"
        return "".join(letter if letter.isprintable() else "?" for letter in words)


class Lock:
    """The lock of one file, a hidden file beside it in which the holder's name stands."""

    def __init__(self, path: Path, program: str) -> None:
        self.path = path
        self.program = program
        self._file = path.with_name(f".{path.name}.lock")
        self._lock: FileLock | None = None

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return self._lock is not None

    def acquire(self, waiting: Callable[[str], None] | None = None) -> None:
        """Take the lock. Where somebody else holds it, wait if ``waiting`` is there to be told for whom.

        Raises `SessionHeld` where it would have to wait and must not, and `SessionError` where there can be no lock.
        """
        from filelock import FileLock, Timeout  # 0.05 s that the first paint need not wait for

        lock = FileLock(self._file, thread_local=False)  # taken by one thread, given back by another
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if waiting is None:
                    raise SessionHeld(f"{self.path} is being recorded by {self.holder()}") from None
                waiting(f"{self.path} is being recorded by {self.holder()}; waiting until that ends, ctrl+c gives up")
                lock.acquire()
            me = Holder(program=self.program, pid=os.getpid(), host=platform.node(), since=datetime.now(UTC))
            self._file.write_text(me.model_dump_json(), encoding="utf-8")
        except OSError as error:
            lock.release()
            why = error.strerror or error
            raise SessionError(f"{self.path} cannot be recorded: {why}; choose another --session file") from error
        self._lock = lock

    def holder(self) -> str:
        """Who holds the lock, in words."""
        try:
            return str(Holder.model_validate_json(read_text(self._file, 2000)))
        except (Unreadable, ValidationError):
            return "another program"

    def release(self) -> None:
        """Give the lock back, if we hold it."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._file.unlink()  # still ours: who waits for it notices and begins again with a new one
            self._lock.release()
            self._lock = None
