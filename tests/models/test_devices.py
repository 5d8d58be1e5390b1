"""Models that are divided over two devices, tested in a process of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.forked import run

FILE = Path(__file__).with_name("on_two_devices.py")


@pytest.mark.slow
def test_methods_and_editors_hold_on_a_divided_model() -> None:
    """torch counts its devices at the first gradient of a process: a second one that comes later has none."""
    done = run("-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", FILE)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "100%" in done.stdout
