"""Choosing a session: the recent ones with the prompt they began with, on the start screen and in a dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from screens.dialog import Framed
from screens.widgets.options import Options
from workbench.errors import SessionError
from workbench.reading import MB
from workbench.session import load_session

SHOWN = 12
LISTED_BYTES = 64 * MB
"""Of a session that is read for the list only; a larger one is opened all the same when it is chosen."""


@dataclass(frozen=True)
class RecentSession:
    """A session file at a glance."""

    path: Path
    changed: datetime
    summary: str


def recent_sessions(folder: Path, limit: int = SHOWN) -> list[RecentSession]:
    """The sessions in a folder, the latest first. One that cannot be read says why in its summary."""
    changed = {path: path.lstat().st_mtime for path in folder.glob("*.json")}  # of a link that leads nowhere too
    latest = sorted(changed, key=changed.__getitem__, reverse=True)[:limit]
    return [RecentSession(path, datetime.fromtimestamp(changed[path]).astimezone(), _summary(path)) for path in latest]


def _summary(path: Path) -> str:
    try:
        session = load_session(path, LISTED_BYTES)
    except SessionError as error:
        return str(error)
    prompts = [step.case.prompt for step in session.steps if step.case is not None]
    model = session.model.name if session.model else "no model"
    first = " ".join(prompts[0].split()) if prompts else "no prompt"
    return f"{first} · {len(session.steps)} step{'s' * (len(session.steps) != 1)} · {model}"


class SessionList(Options):
    """The recent sessions of some folders. Reads them in a thread, as sessions can be large."""

    BORDER_TITLE = "Recent sessions"

    @dataclass
    class Found(Message):
        """The folders have been read; there are so many sessions."""

        number: int

    @dataclass
    class Chosen(Message):
        """A session is to be opened."""

        path: Path

    def __init__(self, folders: Sequence[Path], *, id: str | None = None) -> None:  # noqa: A002 - as in Textual
        super().__init__(id=id)
        self._folders = folders
        self._paths: list[Path] = []

    def on_mount(self) -> None:
        """Begin to look."""
        self._find()

    @work(thread=True)
    def _find(self) -> None:
        found = [session for folder in self._folders for session in recent_sessions(folder)]
        self.app.call_from_thread(self._show, found)

    def _show(self, found: list[RecentSession]) -> None:
        self._paths = [session.path for session in found]
        for session in found:
            text = Text(f"{session.changed:%Y-%m-%d %H:%M}  ", style="dim", no_wrap=True, overflow="ellipsis")
            self.add_option(Option(text.append(session.summary, style="not dim")))
        self.post_message(self.Found(len(found)))

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.post_message(self.Chosen(self._paths[message.option_index]))


class SessionsScreen(Framed[Path | None]):
    """Pick one of the recent sessions, or type the path of another. Dismissed with its path, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", id="sessions.back", tooltip="Leave things as they are"),
    ]

    HINT = ""
    SHARE, WIDEST = 90, 110

    DEFAULT_CSS = """
    SessionsScreen > #frame { max-height: 80%; }
    SessionsScreen SessionList { height: auto; max-height: 14; border: none; }
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__()
        self._folders = folders

    def compose_inside(self) -> ComposeResult:
        """The list, and a field for a path."""
        yield Label("looking …", id="hint")
        yield SessionList(self._folders)
        yield Input(placeholder="or the path of a session file", id="path")

    def on_mount(self) -> None:
        """Say what it is for."""
        self.entitle("Open a session")

    @on(SessionList.Found)
    def found(self, message: SessionList.Found) -> None:
        """Say what to do, and begin in the list if there is anything in it."""
        empty = "There are no sessions yet: every step you run is saved in one."
        self.query_one("#hint", Label).update("Enter opens, escape goes back." if message.number else empty)
        self.query_one("SessionList" if message.number else "Input").focus()

    @on(SessionList.Chosen)
    def chosen(self, message: SessionList.Chosen) -> None:
        """One of the list."""
        message.stop()
        self.dismiss(message.path)

    @on(Input.Submitted)
    def typed(self, message: Input.Submitted) -> None:
        """A path."""
        if message.value.strip():
            self.dismiss(Path(message.value.strip()).expanduser())
