"""Type-ahead: each key goes where the one before it has left the keyboard, however fast they come.

Textual sends a key to whatever has the focus at that moment, and moves the focus some messages later: keys that come
in a burst overtake the tab among them. Here they wait in line. Text that the focused field takes passes at once; any
other key, and whatever comes after it, passes when all that the keys before it have set off is done.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from textual import events
from textual._queue import Queue
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import ModalScreen

from screens.escape_key import apart

if TYPE_CHECKING:
    from textual.app import App

PATIENCE = 700
"""Turns of the event loop that a key waits at most, about a second: what never ends must not lock the keyboard.

Turns and not seconds, as on a busy machine a second may be over before anything was done in it.
"""

SPUN = 30
"""Turns without a pause, as most of what a key sets off takes no more. Then there is a pause in each."""

PAUSE = 0.001

Waiting = events.InputEvent | events.Paste
"""What waits."""


class TypeAhead:
    """The line in which an app's keys, pastes and clicks wait."""

    def __init__(self, app: App[None], early: Iterable[Waiting] = ()) -> None:
        """``early`` came before the app was there, and is let through first; `begin` begins with it."""
        self._app = app
        self._waiting: deque[Waiting] = deque(early)
        self._passing: Waiting | None = None
        self._settled = False
        self._patience = PATIENCE
        self._usher: asyncio.Task[None] | None = None
        self.holds: Callable[[Waiting], bool] = lambda _: False
        """What waits, and all behind it, until this says otherwise: for an app that is not complete yet."""

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting and self._passing is None

    @property
    def _leaving(self) -> bool:
        """Whether the app is being left: its widgets go one after the other, and no key may meet half of them."""
        return self._app._exit or not self._app.is_running

    def begin(self) -> None:
        """Let through what waits."""
        if self._waiting and (self._usher is None or self._usher.done()):
            self._usher = asyncio.create_task(self._let_through(), name="type-ahead")
            self._usher.add_done_callback(self._ended)

    def passes(self, event: Waiting) -> bool:
        """Whether an event that has arrived is to be handled now; else it waits, and is posted again in its turn."""
        if self._leaving:
            return False
        if event is self._passing:
            self._passing = None
            return True
        is_next = self.empty and not self.holds(event) and not apart(event)
        if is_next and (self._at_once(event) or self._is_quiet(handling=True)):
            self._note(event)
            return True
        self._waiting.append(event)
        self.begin()
        return False

    async def _let_through(self) -> None:
        while self._waiting and not self._leaving:
            if self.holds(self._waiting[0]):
                await asyncio.sleep(PAUSE)
                continue
            if not self._at_once(self._waiting[0]):
                await self._until_quiet()
            if not self._in_field and (keys := apart(self._waiting[0])):
                self._waiting.popleft()
                self._waiting.extendleft(reversed(keys))
                continue
            event = self._passing = self._waiting.popleft()
            self._note(event)
            self._app.post_message(event)
            while self._passing is not None and not self._leaving:
                await asyncio.sleep(0)

    def _ended(self, usher: asyncio.Task[None]) -> None:
        if not usher.cancelled() and (error := usher.exception()) is not None:
            self._app.call_later(_raise, error)  # where an error ends the app, as it should

    def _note(self, event: Waiting) -> None:
        if not isinstance(event, events.MouseMove):
            self._settled = self._is_text(event)

    def _at_once(self, event: Waiting) -> bool:
        return isinstance(event, events.MouseMove) or (self._settled and self._is_text(event))

    @property
    def _in_field(self) -> bool:
        """Whether the keyboard is where letters are typed."""
        focused = self._app.focused
        return focused is not None and focused.check_consume_key("x", "x")

    def _is_text(self, event: Waiting) -> bool:
        """Whether the focused field takes it as text, which moves nothing."""
        focused = self._app.focused
        if focused is None or isinstance(event, events.MouseEvent):
            return False
        if isinstance(event, events.Key):
            return focused.check_consume_key(event.key, event.character) and event.is_printable
        return isinstance(event, events.Paste) and self._in_field

    async def _until_quiet(self) -> None:
        # What has not ended in all that time will hardly do so while the next key waits.
        self._patience = PATIENCE if await _until(self._is_quiet, self._patience) else SPUN

    async def until_screens_are_quiet(self) -> None:
        """For a message that the app handles: wait until every widget is done with the keys that came before it."""
        await _until(self._screens_are_quiet, PATIENCE)

    def _is_quiet(self, handling: bool = False) -> bool:
        """Whether nothing is going on in the app; ``handling`` where it is handling the event that asks."""
        return self._screens_are_quiet() and _is_at_rest(self._app, handling)

    def _screens_are_quiet(self) -> bool:
        app = self._app
        if not app.screen_stack:
            return False
        screen = app.screen
        if screen._layout_required or any(each._callbacks for each in app.screen_stack):
            return False
        if not all(_is_at_rest(node) for each in app.screen_stack for node in each.walk_children(with_self=True)):
            return False
        # What fills a dialog is waited for: a key is meant for what will be there.
        filling = (worker for worker in app.workers if not worker.is_finished and worker.node.is_attached)
        return not any(isinstance(screen, ModalScreen) and worker.node.screen is screen for worker in filling)


async def _until(condition: Callable[[], bool], turns: int) -> bool:
    """Wait for a condition, so many turns at most. Returns whether it came true."""
    for turn in range(turns):
        if condition():
            return True
        await asyncio.sleep(0 if turn < SPUN else PAUSE)
    return False


def _raise(error: BaseException) -> None:
    raise error


def _is_at_rest(pump: MessagePump, handling: bool = False) -> bool:
    """Whether a widget (or the app) has nothing to do, and is done with what it did."""
    if pump._closing or pump._closed:
        return True
    if not pump._is_mounted or pump._pending_message is not None or pump._next_callbacks:
        return False
    queue: Queue[Message | None] = pump._message_queue
    # One that waits for a message has nothing in hand.
    return queue.empty() and (handling or bool(queue.ready_event._waiters))
