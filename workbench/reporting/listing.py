"""The sessions there are, at a glance: what each was about, what came of it, with which model, and when.

To read a session takes as long as it is large, so what was read of one is kept beside the sessions' folder for as long
as the file does not change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from pydantic import RootModel, ValidationError, field_serializer

from workbench import paths
from workbench.errors import SessionError
from workbench.files import write_atomically
from workbench.protocol import Frozen
from workbench.reading import MB, Unreadable, read_text
from workbench.reporting.account import answers_of, cases_of, finding_of, last_queue
from workbench.session import Session, load_session
from workbench.visible import visible
from workbench.wording import count

LISTED_BYTES = 64 * MB
"""Of a session that is read for the list only; a larger one is opened all the same when it is chosen."""

MOST_KEPT = 2000
"""Sessions of which is kept what was read."""


class ListedSession(Frozen):
    """A session file at a glance. ``problem`` says why it could not be read; ``changed`` is local time.

    ``words`` is all that it can be found by, in small letters.
    """

    path: Path
    changed: datetime
    title: str = ""
    prompt: str = ""
    steps: int = 0
    model: str = ""
    verdict: str = ""
    problem: str = ""
    words: str = ""

    @field_serializer("path")
    def _written(self, path: Path) -> str:
        """As text: the bytes of a name need not be any, and nothing of them may act."""
        return visible(str(path))

    @property
    def summary(self) -> str:
        """All of it but the date, on one line."""
        if self.problem:  # which begins with the path, and a line has no room for that
            name = visible(self.path.name)
            return self.problem.replace(visible(str(self.path)), name).removeprefix("the session file ")
        about = self.prompt or "no prompt"
        named = f"{self.title} · {about}" if self.title else about
        parts = (named, count(self.steps, "step"), self.model or "no model", self.verdict)
        return " · ".join(part for part in parts if part)

    @property
    def why(self) -> str:
        """Why it could not be read, where its name stands beside that."""
        return self.summary.removeprefix(visible(self.path.name)).strip() if self.problem else ""

    def has(self, search: str) -> bool:
        """Whether every word of a search is in it."""
        return all(word in self.words for word in search.lower().split())


class _Kept(Frozen):
    """What was read of a file that was so large and changed at that time (nanoseconds)."""

    size: int
    changed: int
    found: ListedSession


_Index = RootModel[dict[str, _Kept]]


def sessions_in(folders: Iterable[Path], limit: int | None = None) -> Iterator[ListedSession]:
    """The sessions of some folders, the latest first. One that cannot be read says why."""
    places = dict.fromkeys(path for folder in folders for path in folder.glob("*.json"))
    stats = {path: path.lstat() for path in places}  # of a link that leads nowhere too
    latest = sorted(stats, key=lambda path: stats[path].st_mtime, reverse=True)[:limit]
    index, news = _read_index(), {}
    try:
        for path in latest:
            about, key = stats[path], ascii(str(path.absolute()))
            kept = index.get(key)
            if kept is None or (kept.size, kept.changed) != (about.st_size, about.st_mtime_ns):
                changed = datetime.fromtimestamp(about.st_mtime).astimezone()
                kept = _Kept(size=about.st_size, changed=about.st_mtime_ns, found=_listed(path, changed))
                news[key] = kept
            yield kept.found.model_copy(update={"path": path})
    finally:
        if news:
            _keep(news | {key: kept for key, kept in index.items() if key not in news})


def verdict_of(session: Session) -> str:
    """What came of it in a few words: the finding, or the last answer beside the one that was wanted."""
    if found := finding_of(session):
        return found[0][1]
    parts = []
    if answers := list(answers_of(session.steps)):
        last = answers[-1]
        parts.append(f"says “{last.text.strip() or last.text}” {last.probability:.2f}")
        if (last.case.target or "").strip() == last.text.strip():
            parts.append("as wanted")
        elif last.case.target:
            wanted = f"wanted “{last.case.target.strip()}”"
            parts.append(wanted if last.target is None else f"{wanted} {last.target:.2f}")
    queue = last_queue(session)
    if on := sum(entry.on for entry in queue.entries) if queue and not queue.bypassed else 0:
        parts.append(f"{count(on, 'edit')} on")
    return ", ".join(parts)


def _listed(path: Path, changed: datetime) -> ListedSession:
    try:
        session = load_session(path, LISTED_BYTES)
    except SessionError as error:
        problem = visible(str(error))
        return ListedSession(path=path, changed=changed, problem=problem, words=visible(path.name).lower())
    cases = cases_of(session)
    found = ListedSession(
        path=path,
        changed=changed,
        title=session.title,
        prompt=" ".join(cases[0].prompt.split()) if cases else "",
        steps=len(session.steps),
        model=session.model.name if session.model else "",
        verdict=verdict_of(session),
    )
    texts = [visible(path.name), f"{changed:%Y-%m-%d}", found.title, session.note, found.model, found.verdict]
    texts += [text for case in cases for text in (case.prompt, case.subject, case.target, case.foil) if text]
    texts += [text for step in session.steps for text in (step.request.kind, step.title, step.note) if text]
    return found.model_copy(update={"words": " ".join(dict.fromkeys(texts)).lower()[:20_000]})


def _index_file() -> Path:
    return paths.sessions_folder().parent / "sessions-index.json"


def _read_index() -> dict[str, _Kept]:
    """What is kept; nothing where that cannot be read, as it can be made again."""
    try:
        return _Index.model_validate_json(read_text(_index_file(), LISTED_BYTES)).root
    except (Unreadable, ValidationError):
        return {}


def _keep(index: dict[str, _Kept]) -> None:
    with contextlib.suppress(OSError):
        _index_file().parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_index_file(), _Index(dict(list(index.items())[:MOST_KEPT])).model_dump_json())
