"""Python programs as processes of their own whose imports are done: forked off `tests/fork_server.py`, not started.

Importing torch, transformers and the rest takes three of the four seconds of processor time that a program with a tiny
model costs. What is forked has them imported, is otherwise as a program that was just started, and is a process as any
other: with a terminal of its own it leads a session, it gets signals, and it ends as the interpreter ends.

Not for tests of the start itself, of what is imported when, or of variables that the interpreter or a library reads
at the start: `PYTHONIOENCODING`, `LC_ALL`, `HF_HOME`.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pexpect
import psutil
import ptyprocess
import pytest

ROOT = Path(__file__).parent.parent


class ForkServer:
    """The server, from the first program that is asked for to the end of the tests."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._line, its = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server"],
            stdin=its.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
            start_new_session=True,
        )
        its.close()
        atexit.register(self.close)

    def ask(self, files: Sequence[int] = (), **said: Any) -> int:
        """What it answers: the number of the process that it has forked, or the status of one that has ended."""
        request = json.dumps(said).encode()
        try:
            with self._asking:
                socket.send_fds(self._line, [len(request).to_bytes(8)], files)
                self._line.sendall(request)
                answer = self._line.recv(8, socket.MSG_WAITALL)
        except ConnectionError:
            answer = b""
        if not answer:
            printed, wrong = self._process.communicate()
            raise RuntimeError(f"the fork server ended with {self._process.returncode}: {printed!r} {wrong.decode()}")
        return int.from_bytes(answer)

    @property
    def running(self) -> list[psutil.Process]:
        """The programs that it has forked and that still run."""
        return psutil.Process(self._process.pid).children()

    def close(self) -> None:
        """Let it end, and with it whatever still runs."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self._process.kill()
        self._process.communicate()


server = functools.cache(ForkServer)


class Fork:
    """A forked process. ``arguments`` are those of python, ``files`` its 0, 1 and 2, or one terminal for all three."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        files: Sequence[int],
        env: Mapping[str, str] | None,
        cwd: str | Path | None,
        *,
        session: bool = False,
    ) -> None:
        self._ended, its = os.pipe()  # the program has the other end for as long as it runs
        self.pid = server().ask(
            [*files, its],
            arguments=[os.fsdecode(each) for each in arguments],
            environment=dict(os.environ if env is None else env),
            folder=os.fsdecode(cwd or Path.cwd()),
            session=session,
        )
        os.close(its)

    def status(self, seconds: float | None) -> int | None:
        """As `os.waitpid` says it, once: none if it has not ended in these seconds (none: however long it takes)."""
        if not select.select([self._ended], [], [], seconds)[0]:
            return None
        os.close(self._ended)
        return server().ask(ended=self.pid)


class ForkedPty(ptyprocess.PtyProcess):  # type: ignore[misc]
    """A forked program in a pseudo-terminal, which is no child of ours: its end is asked for."""

    def __init__(self, fork: Fork, file: int) -> None:
        super().__init__(fork.pid, file)
        self._fork = fork

    def _look(self, seconds: float | None) -> None:
        if not self.terminated and (status := self._fork.status(seconds)) is not None:
            self.terminated, self.status = True, status
            code = os.waitstatus_to_exitcode(status)
            self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)

    def isalive(self) -> bool:
        """Whether it runs. One that has let go of its terminal is waited for."""
        self._look(None if self.flag_eof else 0)
        return not self.terminated

    def wait(self) -> int | None:
        """Wait for its end."""
        self._look(None)
        return self.exitstatus


class ForkedSpawn(pexpect.spawn):  # type: ignore[misc]
    """What `pexpect.spawn` starts, forked."""

    def _spawnpty(self, args: list[str], **settings: Any) -> ForkedPty:
        ours, its = os.openpty()
        termios.tcsetwinsize(ours, settings.get("dimensions", (24, 80)))
        fork = Fork(args[1:], [its], settings["env"], settings["cwd"], session=True)
        os.close(its)
        return ForkedPty(fork, ours)


class ForkedPopen(subprocess.Popen[Any]):
    """What `subprocess.Popen` starts, forked."""

    def _execute_child(self, args: Sequence[Any], *others: Any) -> None:
        (cwd, env), pipes, session = others[4:6], others[9:15], others[20]
        files = [end if end != -1 else number for number, end in enumerate((pipes[0], pipes[3], pipes[5]))]
        try:
            self._fork = Fork(args[1:], files, env, cwd, session=session)
        finally:
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self.pid, self._child_created = self._fork.pid, True

    def _try_wait(self, flags: int) -> tuple[int, int]:
        status = self._fork.status(0 if flags else None)
        return (0, 0) if status is None else (self.pid, status)

    def _internal_poll(self, **_: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                number, status = self._try_wait(os.WNOHANG) if self.returncode is None else (0, 0)
                if number:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def run(
    *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as `subprocess.run` does with its output captured; it has nothing to read."""
    command, pipe = [sys.executable, *arguments], subprocess.PIPE
    with ForkedPopen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=env, cwd=cwd) as done:
        out, err = done.communicate()
    return subprocess.CompletedProcess(command, done.returncode, out, err)


def fork_children(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Let a module of the program fork the Python programs that it starts by `subprocess.Popen`."""

    class Forking:
        Popen = ForkedPopen

        def __getattr__(self, name: str) -> Any:
            return getattr(subprocess, name)

    monkeypatch.setattr(f"{module}.subprocess", Forking())
