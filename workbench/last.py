"""Where somebody was when they left the app: the session, the pane and the cursor, for ``open --last``."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from workbench import paths
from workbench.errors import SessionError
from workbench.files import write_atomically
from workbench.protocol import Frozen
from workbench.reading import MB, Unreadable, read_text


class LastPlace(Frozen):
    """``pane`` is a title; ``layer`` and ``token`` are the cursor; ``steps`` is how many there were at that time."""

    session: str
    steps: int = 0
    pane: str = ""
    layer: int | None = None
    token: int | None = None


def remember(place: LastPlace) -> None:
    """Keep the place for the next time. Raises `OSError` when it cannot be written."""
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, place.model_dump_json() + "\n")


def last_session() -> tuple[Path, LastPlace | None]:
    """The session that was changed last, of the user's own and the one last used, and the place in it, if known.

    Raises `SessionError` where there is none.
    """
    try:
        place = LastPlace.model_validate_json(read_text(_file(), MB))
    except (Unreadable, ValidationError):  # a place is a convenience
        place = None
    used = [Path(place.session)] if place is not None else []
    sessions = [path for path in (*paths.sessions_folder().glob("*.json"), *used) if path.is_file()]
    if not sessions:
        raise SessionError("there is no session to continue yet: one begins with the first step that is run")
    last = max(sessions, key=lambda path: path.stat().st_mtime)
    return last, place if place is not None and last == Path(place.session) else None


def _file() -> Path:
    return paths.sessions_folder().parent / "last.json"
