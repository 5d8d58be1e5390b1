"""The live app: something to type into at once, and the main screen as soon as that has been imported."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.app import SystemCommand
from textual.message import Message
from textual.screen import Screen

from screens.base import BaseApp
from screens.giveback import give_back
from screens.opening import OpeningScreen
from workbench import early_terminal, leaving
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from screens.live import LiveScreen

SWITCH_INTERVAL = 0.001
"""Seconds after which a thread that holds the interpreter must let another run: the default of 5 ms, several times
a key, is felt while the engine turns numbers into results."""

ANSWERS_WITHIN = 0.8
"""Seconds in which the app must have left the terminal when the program is told to end; else that is done for it."""


NOTHING_YET = "nothing had been computed yet"


class ToldToLeave(Message):
    """The system has asked the program to end."""


@dataclass
class Opened(Message):
    """The main screen is there, or what came in between."""

    made: LiveScreen | BaseException


class WorkbenchApp(BaseApp):
    """Shows the live screen that ``make`` makes, and saves what there is when it is left.

    Where the ``fields`` of the prompt are given they are shown first, and ``make``, which imports nearly all of the
    program, is called in a thread. What it raises that a user can act on is raised by `start`.
    """

    def __init__(
        self, make: Callable[[], LiveScreen], fields: Mapping[str, str] | None = None, mouse: bool = True
    ) -> None:
        super().__init__(mouse)
        self._make = make
        self._opening = OpeningScreen(fields) if fields is not None else None
        self._main = make() if fields is None else None
        self._wrong: WorkbenchError | None = None
        self._told: int | None = None
        self._left = threading.Event()

    def start(self) -> None:
        """Run until the user leaves or a signal says so; then save, with the terminal already given back.

        After a signal, and where a thread is too deep in a library to stop, the process ends here.
        """
        sys.setswitchinterval(SWITCH_INTERVAL)
        leaving.on_signals(self._told_to_leave)
        try:
            self.run_to_the_end()
        finally:
            self._left.set()
            with leaving.undisturbed():
                stopped = self._save_and_stop(leaving.WITHIN)
                crashed = bool(self.return_code) and self._told is None
                if not crashed and self._main is not None:
                    self._main.say_how_to_go_on()
        try:
            if crashed:
                self.exit_if_crashed(self._main.kept() if self._main is not None else NOTHING_YET)
            if self._wrong is not None:
                raise self._wrong
        finally:
            if self._told is not None or not stopped or leaving.is_anything_left():
                leaving.end(self.return_code or 0 if self._told is None else 128 + self._told)

    def _told_to_leave(self, signal: int) -> None:
        """A signal came, in the middle of anything."""
        if self._told is None:
            self._told = signal
            threading.Thread(target=self._leave_in_time, args=(signal,), daemon=True).start()

    def _leave_in_time(self, signal: int) -> None:
        """Leave as a user does; where the screen's thread hangs on a terminal that takes nothing, without it."""
        self.post_message(ToldToLeave())
        if not self._left.wait(ANSWERS_WITHIN):
            self._save_and_stop(leaving.WITHIN / 2)
            give_back(self._driver)
            early_terminal.give_back()
            leaving.end(128 + signal)

    def _save_and_stop(self, within: float) -> bool:
        """Save what there is, and stop the engine. Returns whether that stopped."""
        return self._main is None or self._main.save_and_stop(within)

    def on_mount(self) -> None:
        """Paint first."""
        first = self._opening or self._main
        assert first is not None
        first.fit(*self.size)
        self.push_screen(first)
        if self._opening is not None:
            self._type_ahead.holds = self._opening.holds
            self.call_after_refresh(threading.Thread(target=self._make_main, daemon=True).start)

    def _make_main(self) -> None:
        """Runs on a thread of its own."""
        made: LiveScreen | BaseException
        try:
            made = self._make()
        except BaseException as error:  # noqa: BLE001 - which is raised again, by the app
            made = error
        self.post_message(Opened(made))

    @on(Opened)
    async def go_on(self, message: Opened) -> None:
        """Put the main screen in the place of the first one, with what has been typed until now.

        Keys that come meanwhile wait, as this is a message that the app handles before them.
        """
        if isinstance(message.made, WorkbenchError):
            self._wrong = message.made
            self.exit()
            return
        if isinstance(message.made, BaseException):
            raise message.made
        assert self._opening is not None
        await self._type_ahead.until_screens_are_quiet()
        self._main = message.made
        self._main.fit(*self.size)
        self._main.typed = self._opening.typed
        await self.switch_screen(self._main)
        await self._type_ahead.until_screens_are_quiet()
        self._type_ahead.holds = lambda _: False

    async def action_quit(self) -> None:
        """Leave. What stands in the prompt, asked about or not, is there again next time."""
        self._leave()

    @on(ToldToLeave)
    def told_to_leave(self) -> None:
        """Leave in the same way when the system says so."""
        self._leave(0 if self._told is None else 128 + self._told)

    def _leave(self, code: int = 0) -> None:
        if self._main is not None:
            self._main.keep_draft()
        self.exit(return_code=code)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The command palette."""
        yield from super().get_system_commands(screen)
        yield from self._main.system_commands() if self._main is not None else ()
