"""What the app and the replay have in common: theme, colours over SSH, keys in order, help, quitting, crashing."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.filter import LineFilter
from textual.notifications import SeverityLevel

from screens.door import VisibleText
from screens.escape_key import KeyParser, reads_keys_apart
from screens.keys import Key
from screens.legible import Legible
from screens.typeahead import TypeAhead, Waiting
from workbench import early_terminal

QUIT_WITHIN = 3.0
"""Seconds in which a second ctrl+c quits."""

CRASHED = 1
"""The exit code after a bug has ended the app."""


class BaseApp(App[None]):
    """Keyboard manners shared by both ways of looking at a session."""

    CSS_PATH = "app.tcss"
    TITLE = "workbench"
    ENABLE_COMMAND_PALETTE = True

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.QUIT, "quit", "Quit", id="app.quit", tooltip="Leave; everything is saved"),
        Binding(Key.HELP, "toggle_help", "Help", key_display="f1", id="app.help", tooltip="All keys"),
        Binding("ctrl+c", "interrupt", show=False, system=True, id="app.interrupt"),
    ]

    def __init__(self, mouse: bool = True) -> None:
        """Without the ``mouse`` it stays the terminal's, to select and paste with."""
        super().__init__()
        self._mouse = mouse
        self._interrupted = -QUIT_WITHIN
        self._type_ahead = TypeAhead(self, _keys(early_terminal.typed()))
        self._door = VisibleText()
        self._legible = Legible()
        if "SSH_CONNECTION" in os.environ:  # a scroll that slides costs fifteen times the bytes of one that jumps
            self.animation_level = "none"

    def get_driver_class(self) -> type[Driver]:
        """Textual's, but that escape and the key after it are never taken for one."""
        return reads_keys_apart(super().get_driver_class())

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's; before them the door through which all goes that is drawn, and after them what the eye needs."""
        return [self._door, *super().get_line_filters(), self._legible]

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,  # noqa: ARG002 - as in Textual, where widgets ask for it whether they mean it or not
    ) -> None:
        """Say something for a while. The sentence may hold a path or a file's words: it is never read as markup."""
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Into the working folder, as whatever else is written."""
        return super().deliver_screenshot(filename, path or str(Path.cwd()), time_format)

    def on_delivery_complete(self, event: events.DeliveryComplete) -> None:
        """Say where it is; Textual's sentence has markup in it."""
        event.prevent_default()
        if event.path is not None:
            self.notify(f"The screenshot is in {event.path}", title="Screenshot", timeout=12)

    def run_to_the_end(self) -> None:
        """Run until the user leaves, and give the terminal back. Exits with `CRASHED` where a bug was what ended it.

        The traceback is on stderr by then.
        """
        self._legible.use(self.console.color_system)
        early_terminal.erase()
        try:
            self.run(mouse=self._mouse)
        finally:
            early_terminal.give_back()

    def exit_if_crashed(self, kept: str) -> None:
        """After a bug has ended the app: say what is kept, and exit with `CRASHED`."""
        if self.return_code:
            print(f"workbench: a bug ended the app; {kept}", file=sys.stderr)  # noqa: T201 - the app has ended
            raise SystemExit(CRASHED)

    def panic(self, *renderables: RenderableType) -> None:
        """End after an error, the driver's too."""
        self._return_code = CRASHED
        super().panic(*renderables)

    async def on_event(self, event: events.Event) -> None:
        """Keys, pastes and clicks one after the other; everything else at once."""
        if isinstance(event, Waiting) and not event.is_forwarded and not self._type_ahead.passes(event):
            return
        await super().on_event(event)

    def on_mount(self) -> None:
        """What was typed before the app was there comes first."""
        self.call_later(self._type_ahead.begin)

    def action_command_palette(self) -> None:
        """Textual's, in a dialog of ours."""
        from screens.dialog import Palette  # not before the first paint

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def search_themes(self) -> None:
        """Textual's, in a dialog of ours."""
        from textual.theme import ThemeProvider  # not before the first paint

        from screens.dialog import Palette

        self.push_screen(Palette(providers=[ThemeProvider], placeholder="Search for themes…"))

    def action_toggle_help(self) -> None:
        """Show the keys that work where the keyboard is."""
        self.action_show_help_panel()

    def action_show_help_panel(self) -> None:
        """In a dialog, and not in Textual's panel, which leaves half of 80 columns to what is explained."""
        from screens.help import HelpScreen, explained  # not before the first paint

        pane = getattr(self.screen, "place", "this window")
        self.push_screen(HelpScreen(pane, explained(self, self.screen)))

    async def action_interrupt(self) -> None:
        """Quit on the second ctrl+c: the first one may have been meant for copying, or be a slip."""
        now = time.monotonic()
        if now - self._interrupted < QUIT_WITHIN:
            await self.action_quit()
        else:
            self._interrupted = now
            self.notify("Press ctrl+c again to quit; everything is saved.", timeout=QUIT_WITHIN)


def _keys(text: str) -> Iterator[events.Key | events.Paste]:
    """What a terminal sent, as events. Nothing follows, so an escape at the end is the key."""
    parser = KeyParser()
    for data in (text, "") if text else ():
        for event in parser.feed(data):
            if isinstance(event, events.Key | events.Paste):
                yield event
