"""Models that are divided over two devices, tested in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("on_two_devices.py")


@pytest.mark.slow
def test_methods_and_editors_hold_on_a_divided_model() -> None:
    """torch counts its devices at the first gradient of a process: a second one that comes later has none."""
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", str(FILE)]
    done = subprocess.run(asked, cwd=FILE.parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "100%" in done.stdout
