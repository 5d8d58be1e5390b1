"""Outcomes that are kept in the cache, one a file, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from workbench.files import write_atomically
from workbench.protocol import Frozen
from workbench.reading import Unreadable, read_bytes

Remembered = TypeVar("Remembered", bound=Frozen)


def remember(file: Path, outcome: Frozen) -> None:
    """Keep an outcome for the next run."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, outcome.model_dump_json())


def remembered(file: Path, kind: type[Remembered]) -> Remembered | None:
    """What an earlier run has kept, None where there is nothing that can be read."""
    try:
        return kind.model_validate_json(read_bytes(file))
    except (Unreadable, ValidationError):
        return None
