"""What lies over the main screen until it is dismissed: one base for all dialogs, and the command palette.

Textual's ``dismiss`` takes away whatever screen is on top: the second of two takes the one beneath, and leaves black.
"""

from __future__ import annotations

from typing import TypeVar

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.command import CommandInput, CommandPalette, SearchIcon
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import LoadingIndicator

from screens.widgets.options import PaletteOptions

Dismissed = TypeVar("Dismissed")


class Dialog(ModalScreen[Dismissed]):
    """Base of our dialogs."""

    def dismiss(self, result: Dismissed | None = None) -> AwaitComplete:
        """Go, with a result for whoever opened it; nothing unless it is on top."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


class Palette(CommandPalette):
    """Textual's command palette, with a list that bears every key."""

    def compose(self) -> ComposeResult:
        """As Textual's."""
        with Vertical(id="--container"):
            with Horizontal(id="--input"):
                yield SearchIcon()
                yield CommandInput(placeholder=self._placeholder, select_on_focus=False)
            with Vertical(id="--results"):
                yield PaletteOptions()
                yield LoadingIndicator()

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Go; nothing unless it is on top."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()
