"""What the app and the replay have in common: theme, colours over SSH, help, quitting."""

from __future__ import annotations

import os
import time
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from screens.keys import Key

QUIT_WITHIN = 3.0
"""Seconds in which a second ctrl+c quits."""


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

    def __init__(self) -> None:
        super().__init__()
        self._interrupted = 0.0
        if "SSH_CONNECTION" in os.environ:  # a scroll that slides costs fifteen times the bytes of one that jumps
            self.animation_level = "none"

    def action_toggle_help(self) -> None:
        """Show or hide the panel with the keys of the focused widget."""
        if self.screen.query("HelpPanel"):
            self.action_hide_help_panel()
        else:
            self.action_show_help_panel()

    async def action_interrupt(self) -> None:
        """Quit on the second ctrl+c: the first one may have been meant for copying, or be a slip."""
        now = time.monotonic()
        if now - self._interrupted < QUIT_WITHIN:
            await self.action_quit()
        else:
            self._interrupted = now
            self.notify("Press ctrl+c again to quit; everything is saved.", timeout=QUIT_WITHIN)
