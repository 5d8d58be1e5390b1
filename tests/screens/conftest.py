"""Every pilot waits until its app has nothing left to do."""

from __future__ import annotations

import pytest

from tests import waiting


@pytest.fixture(autouse=True)
def pilots_wait_until_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of until the processor idles; and nothing moves slowly."""
    for module in ("textual.pilot", "textual.app"):
        monkeypatch.setattr(f"{module}.wait_for_idle", waiting.until_quiet)
    monkeypatch.setattr("textual.constants.TEXTUAL_ANIMATIONS", "none")
