"""Jump mode: a letter on everything that takes the keyboard, and one key to get there from anywhere."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
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
        seen = (widget for widget in beneath.focus_chain if widget.region)
        self._targets = dict(zip(LETTERS, seen, strict=False))
        self._labels = {letter: Label(letter) for letter in self._targets}

    def compose(self) -> ComposeResult:
        """A letter each."""
        yield from self._labels.values()

    def on_mount(self) -> None:
        """Go where the widgets are, and wherever they go."""
        self._place()
        self._beneath.screen_layout_refresh_signal.subscribe(self, lambda _: self._place())

    def _place(self) -> None:
        """Put each letter at its widget's upper left corner, while that is seen."""
        for letter, label in self._labels.items():
            region = self._targets[letter].region
            label.display = bool(region)
            label.styles.offset = region.offset

    def on_key(self, event: events.Key) -> None:
        """A letter goes to its widget; any other key goes back."""
        if event.key == "escape":
            return
        event.stop()
        self.dismiss(self._targets.get(event.key))
