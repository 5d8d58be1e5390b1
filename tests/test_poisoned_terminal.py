"""The program itself in a pseudo-terminal: what it is sent when the app opens on poison, and in ASCII."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pexpect
import pytest

from benchmarks.terminal import WORKBENCH, Terminal
from tests.forked import ForkedSpawn
from tests.poison import MARK, POISON, POISON_NAME, poisoned_session, raw_in, write
from workbench import paths

ROOT = Path(__file__).parent.parent
WAIT = 180.0
ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


class Recorded(Terminal):
    """A terminal that remembers its bytes."""

    spawn = ForkedSpawn
    written = b""

    def read(self, seconds: float) -> int:
        before = self.child.logfile_read = _Kept()
        taken = super().read(seconds)
        self.written += before.data
        return taken

    def until(self, what: str) -> None:
        self.wait_for(what, WAIT)


class Started(Recorded):
    """One whose program is started, with what the interpreter itself reads of the environment."""

    spawn = pexpect.spawn


class _Kept:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def flush(self) -> None:
        """Nothing waits."""


@pytest.fixture
def session(tmp_path: Path) -> Path:
    recorded = (ROOT / "sessions" / "tom.json").read_text(encoding="utf-8")
    return write(tmp_path / f"session{POISON_NAME}.json", json.dumps(poisoned_session(recorded)))


def test_a_replay_of_a_poisoned_session_writes_nothing_raw(session: Path) -> None:
    with Recorded("replay", str(session)) as terminal:
        terminal.until("step 3/3")
        terminal.press("[")
        terminal.until("step 2/3")
        terminal.press("q")
        assert terminal.wait_for_end(WAIT) == 0
    written = terminal.written.decode()
    assert MARK in written
    assert not raw_in(written)


def test_the_app_opens_where_sessions_are_poisoned_and_the_session_has_brackets(session: Path, own_home: Path) -> None:
    paths.sessions_folder().mkdir(parents=True)
    session.rename(paths.sessions_folder() / session.name)
    named = str(own_home / "[" / "x]" / "a.json")
    with Recorded("open", "--session", named, "--model", f"nobody{POISON}", rows=30) as terminal:
        terminal.until("no model")
        terminal.until(MARK)
        terminal.press("\x03")
        terminal.until("again to quit")
        terminal.press("\x03")
        terminal.wait_for_end(WAIT)
    written = terminal.written.decode()
    assert not raw_in(written)
    assert "Traceback" not in written


def test_the_app_is_drawn_in_ascii_where_the_terminal_has_nothing_else() -> None:
    with Started("replay", str(ROOT / "sessions" / "tom.json"), env=ASCII) as terminal:
        terminal.until("step 3/3")
        terminal.press("q")
        assert terminal.wait_for_end(WAIT) == 0
    assert terminal.written.isascii()
    assert b"\\u" not in terminal.written
    assert b"Traceback" not in terminal.written
    assert b"-----" in terminal.written


@pytest.mark.parametrize("arguments", [["--help"], ["models", "list"], ["lens", f"--{POISON}"]])
def test_commands_print_ascii_where_the_locale_is_c(arguments: list[str]) -> None:
    done = subprocess.run([*WORKBENCH, *arguments], capture_output=True, cwd=ROOT, env={**os.environ, **ASCII})
    assert done.returncode in (0, 2)
    written = done.stdout + done.stderr
    assert written.isascii()
    assert written
    assert not raw_in(written.decode("ascii"))
    assert b"Traceback" not in written
