"""Jump mode: a letter on everything that takes the keyboard, and one key to get there from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
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

    def __init__(self, targets: Sequence[Widget]) -> None:
        super().__init__()
        self._targets = dict(zip(LETTERS, targets, strict=False))

    def compose(self) -> ComposeResult:
        """Each letter at the widget's upper left corner."""
        for letter, widget in self._targets.items():
            label = Label(letter)
            label.styles.offset = widget.region.offset
            yield label

    def on_key(self, event: events.Key) -> None:
        """A letter goes to its widget; any other key goes back."""
        if event.key == "escape":
            return
        event.stop()
        self.dismiss(self._targets.get(event.key))
