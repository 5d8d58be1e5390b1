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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pexpect
import ptyprocess

ROOT = Path(__file__).parent.parent


class ForkServer:
    """The server, from the first program that is asked for to the end of the tests."""

    def __init__(self) -> None:
        self._line, its = socket.socketpair()
        command = [sys.executable, "-m", "tests.fork_server"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self._process = subprocess.Popen(
            command,
            stdin=its.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        its.close()
        atexit.register(self.close)

    def ask(self, files: Sequence[int] = (), **said: Any) -> int:
        """What it answers: the number of the process that it has forked, or the exit code of one that has ended."""
        request = json.dumps(said).encode()
        try:
            socket.send_fds(self._line, [len(request).to_bytes(8)], files)
            self._line.sendall(request)
            answer = self._line.recv(8, socket.MSG_WAITALL)
        except ConnectionError:
            answer = b""
        if not answer:
            printed, wrong = self._process.communicate()
            raise RuntimeError(f"the fork server ended with {self._process.returncode}: {printed!r} {wrong.decode()}")
        return int.from_bytes(answer, signed=True)

    def close(self) -> None:
        """Let it end, and with it whatever still runs."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(60)
        self._process.kill()
        self._process.communicate()


server = functools.cache(ForkServer)


class ForkedProcess:
    """A program that was forked: ``arguments`` are what python would get, as in ``-m workbench lens``."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        files: Sequence[int],
        *,
        terminal: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | Path = ROOT,
    ) -> None:
        self.returncode: int | None = None
        self._ended, its = os.pipe()  # the program has the other end for as long as it runs
        self.pid = server().ask(
            [*files, its],
            arguments=[os.fspath(each) for each in arguments],
            environment=dict(os.environ if env is None else env),
            folder=str(cwd),
            terminal=terminal,
        )
        os.close(its)

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the end; returns the exit code, or minus the signal that ended it, or none if it has not ended."""
        if self.returncode is None and select.select([self._ended], [], [], seconds)[0]:
            os.close(self._ended)
            self.returncode = server().ask(ended=self.pid)
        return self.returncode


class ForkedPty(ptyprocess.PtyProcess):  # type: ignore[misc]
    """A forked program in a pseudo-terminal, which is nobody's child here: its end is asked for."""

    def __init__(self, process: ForkedProcess, file: int) -> None:
        super().__init__(process.pid, file)
        self.process = process

    def _look(self, seconds: float | None) -> None:
        code = self.process.wait(seconds)
        if code is not None and not self.terminated:
            self.terminated = True
            self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)

    def isalive(self) -> bool:
        """Whether it runs. With the terminal let go of, it is waited for."""
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
        process = ForkedProcess(args[1:], [its], terminal=True, env=settings["env"], cwd=settings["cwd"] or ROOT)
        os.close(its)
        return ForkedPty(process, ours)


def run(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as `subprocess.run` does with its output captured; it reads nothing."""
    with Path(os.devnull).open() as nothing, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        process = ForkedProcess(arguments, [nothing.fileno(), out.fileno(), err.fileno()], env=env)
        code = process.wait()
        for file in (out, err):
            file.seek(0)
        assert code is not None
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())
