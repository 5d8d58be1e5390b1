"""Jump mode: a letter on everything that takes the keyboard, and one key to get there from anywhere."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Label

from screens.dialog import Dialog

LETTERS = "asdfghjklqwertyuiopzxcvbnm"


class JumpScreen(Dialog[Widget | None]):
    """Letters over the widgets of the screen below. Dismissed with the widget whose letter was pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", id="jump.back", tooltip="Stay where you are"),
    ]

    DEFAULT_CSS = """
    JumpScreen { background: $background 40%; }
    JumpScreen Label { position: absolute; background: $accent; color: $background; padding: 0 1; }
    """

    def __init__(self, beneath: Screen[None]) -> None:
        super().__init__()
        self._beneath = beneath
        self._targets = self._lettered()

    def compose(self) -> ComposeResult:
        """Each letter at the widget's upper left corner."""
        for letter, (_, place) in self._targets.items():
            label = Label(letter)
            label.styles.offset = place
            yield label

    def on_mount(self) -> None:
        """Go where the widgets go."""
        self._beneath.screen_layout_refresh_signal.subscribe(self, self._follow)

    async def _follow(self, _: Screen[None]) -> None:
        if (lettered := self._lettered()) != self._targets:
            self._targets = lettered
            await self.recompose()

    def _lettered(self) -> dict[str, tuple[Widget, Offset]]:
        seen = [(widget, widget.region.offset) for widget in self._beneath.focus_chain if widget.region]
        return dict(zip(LETTERS, seen, strict=False))

    def on_key(self, event: events.Key) -> None:
        """A letter goes to its widget; any other key goes back."""
        if event.key == "escape":
            return
        event.stop()
        widget, _ = self._targets.get(event.key, (None, None))
        self.dismiss(widget)
