"""A line to type into that can be left."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from screens.keys import Key
from screens.widgets.hinted_input import HintedInput


class ClosingInput(HintedInput):
    """Enter is its owner's; escape leaves it, and what was typed stays."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.CANCEL, "close", "Close", tooltip="Leave it; what is typed stays", id="line.close"),
    ]

    class Closed(Message):
        """Escape was pressed."""

    def action_close(self) -> None:
        """Leave."""
        self.post_message(self.Closed())
