"""The cases that were asked about, kept from one run to the next: nothing that was typed is lost."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from workbench.case import Case
from workbench.files import write_atomically
from workbench.reading import Unreadable, read_text

KEPT = 200
"""Cases remembered, the latest last."""


def load_history(path: Path) -> list[Case]:
    """The remembered cases, oldest first. Lines that cannot be read are passed over: a history is a convenience."""
    try:
        lines = read_text(path).split("\n")
    except Unreadable:
        return []
    cases = []
    for line in lines:
        try:
            cases.append(Case.model_validate_json(line))
        except ValidationError:
            continue
    return cases[-KEPT:]


def remember(path: Path, case: Case) -> None:
    """Put a case at the end of the history, once. Raises `OSError` when it cannot be written."""
    if not case.prompt.strip():
        return
    cases = [known for known in load_history(path) if known != case][-KEPT + 1 :]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(known.model_dump_json() + "\n" for known in [*cases, case]))
