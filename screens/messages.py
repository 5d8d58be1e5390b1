"""What panes, the main screen and the app say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textual.message import Message

from workbench import events
from workbench.case import Case
from workbench.protocol import Request


@dataclass(frozen=True)
class Cursor:
    """The cell that all panes look at.

    ``layer`` counts blocks from 0; the embedding is layer −1. ``token`` is an index into the encoded case, front
    included.
    """

    layer: int
    token: int


@dataclass
class CursorMoved(Message):
    """A pane asks for the cursor to be moved; the main screen moves it in all panes."""

    cursor: Cursor


class CaseChanged(Message):
    """The prompt pane holds another case, not asked about yet."""

    def can_replace(self, message: Message) -> bool:
        """The prompt is read when this arrives, so the last one will do."""
        return isinstance(message, CaseChanged)


@dataclass
class Ask(Message):
    """A pane asks for a request to be run. The app gives it to the engine.

    ``show``: the pane that draws the answer is to be shown, and given the keyboard. ``workers``: so many processes are
    to answer, a sweep, while the engine is free for others.
    """

    request: Request
    show: bool = False
    workers: int = 0


@dataclass
class FollowUp(Message):
    """A pane asks for the form of another kind of request, which goes on from what it shows and begins with that."""

    request: type[Request]
    begun: Mapping[str, Any]


@dataclass
class EngineSaid(Message):
    """An event of the engine, on its way from its thread to the screen."""

    event: events.Event

    def can_replace(self, message: Message) -> bool:
        """A report of progress makes the one before it stale; nothing else may be lost."""
        return (
            isinstance(message, EngineSaid)
            and isinstance(self.event, events.Progressed)
            and isinstance(message.event, events.Progressed)
            and self.event.job == message.event.job
        )


@dataclass
class CaseChosen(Message):
    """A pane proposes another case: it is put into the prompt and looked at through the lens."""

    case: Case


class CancelAsked(Message):
    """The running job is to be stopped."""
