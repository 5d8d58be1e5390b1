"""Files written atomically, and what is left of those that were not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from workbench.files import write_atomically


def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_what_a_killed_program_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / f".s.json.{dead()}.0123abcd.tmp"
    others = [
        tmp_path / f".s.json.{os.getpid()}.0123abcd.tmp",
        tmp_path / "notes.123.tmp",
        tmp_path / ".mine.tmp",
        tmp_path / f".s.json.{dead()}.tmp",
    ]
    for file in (left, *others):
        file.write_text("half")
    write_atomically(tmp_path / "other.json", "whole")
    assert not left.exists()
    assert all(file.exists() for file in others)
    assert (tmp_path / "other.json").read_text() == "whole"
