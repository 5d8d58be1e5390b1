"""Choosing a session: the recent ones with the prompt they began with, in a list and in a dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from screens.dialog import Framed
from screens.widgets.options import Options

if TYPE_CHECKING:
    from workbench.reporting.listing import ListedSession

SHOWN = 12
"""Sessions of a folder that are offered; where one is looked for, all are."""

MOST_FOUND = 100
"""Of these that are listed."""


def recent_sessions(folder: Path, limit: int | None = SHOWN) -> list[ListedSession]:
    """The sessions in a folder, the latest first. One that cannot be read says why in its summary."""
    from workbench.reporting.listing import sessions_in  # not before the first paint

    return list(sessions_in([folder], limit))


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
        self._search = ""

    def on_mount(self) -> None:
        """Begin to look."""
        self._find("")

    def search(self, words: str) -> None:
        """Show the sessions that have all of these words, of all there are; without any the recent ones."""
        if words != self._search:
            self._search = words
            self._find(words)

    @property
    def best(self) -> Path | None:
        """The highlighted one, or the first."""
        return self._paths[self.highlighted or 0] if self._paths else None

    @work(thread=True, exclusive=True)
    def _find(self, words: str) -> None:
        limit = None if words.strip() else SHOWN
        found = [each for folder in self._folders for each in recent_sessions(folder, limit) if each.has(words)]
        self.app.call_from_thread(self._show, words, found[:MOST_FOUND])

    def _show(self, words: str, found: list[ListedSession]) -> None:
        if words != self._search or not self.is_mounted:  # more was typed meanwhile
            return
        self._paths = [session.path for session in found]
        self.show_sessions([Option(_row(session), id=str(session.path)) for session in found])
        self.post_message(self.Found(len(found)))

    def show_sessions(self, sessions: list[Option]) -> None:
        """Show these sessions in the place of others."""
        self.clear_options()
        self.add_options(sessions)

    def choose(self, option: Option) -> None:
        """Open the session of a row."""
        if option.id is not None:
            self.post_message(self.Chosen(Path(option.id)))

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        message.stop()
        self.choose(message.option)


class SessionsScreen(Framed[Path | None]):
    """Pick one of the recent sessions, type words of one, or the path of another. Dismissed with its path, or None."""

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
        yield Input(placeholder="words to look for, or the path of a session file", id="path")

    def on_mount(self) -> None:
        """Say what it is for."""
        self.entitle("Open a session")

    @on(SessionList.Found)
    def found(self, message: SessionList.Found) -> None:
        """Say what to do, and begin in the list if there is anything in it."""
        empty = "There are no sessions yet: every step you run is saved in one."
        self.query_one("#hint", Label).update("Enter opens, escape goes back." if message.number else empty)
        if not self.query_one(Input).has_focus:  # and looks for one
            self.query_one("SessionList" if message.number else "Input").focus()

    @on(Input.Changed)
    def look_for(self, message: Input.Changed) -> None:
        """Words: the list has what has them all."""
        self.query_one(SessionList).search("" if _is_path(message.value) else message.value)

    @on(SessionList.Chosen)
    def chosen(self, message: SessionList.Chosen) -> None:
        """One of the list."""
        message.stop()
        self.dismiss(message.path)

    @on(Input.Submitted)
    def typed(self, message: Input.Submitted) -> None:
        """A path; or words, by which the best is opened."""
        if _is_path(message.value):
            self.dismiss(Path(message.value.strip()).expanduser())
        elif message.value.strip() and (best := self.query_one(SessionList).best) is not None:
            self.dismiss(best)


def _row(session: ListedSession) -> Text:
    text = Text(f"{session.changed:%Y-%m-%d %H:%M}  ", style="dim", no_wrap=True, overflow="ellipsis")
    return text.append(session.summary, style="not dim")


def _is_path(text: str) -> bool:
    """Whether what was typed is the path of a session, and not words."""
    return text.strip().endswith(".json") or "/" in text or text.startswith("~")
