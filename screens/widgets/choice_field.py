"""A line with some values to go through."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from screens.widgets.closing_input import ClosingInput


class ChoiceField(ClosingInput):
    """Up and down go through the choices; what is typed need not be one of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "turn(-1)", "Before", show=False, tooltip="The choice before", id="choice.before"),
        Binding("down", "turn(1)", "Next", show=False, tooltip="The next choice", id="choice.next"),
    ]

    def __init__(
        self, choices: tuple[str, ...], value: str = "", placeholder: str = "", name: str = "", classes: str = ""
    ) -> None:
        super().__init__(value, placeholder, id=name, classes=classes)
        self.choices = choices

    def action_turn(self, by: int) -> None:
        """To the choice before or after; to the first from none of them."""
        if not self.choices:
            return
        place = self.choices.index(self.value) + by if self.value in self.choices else 0
        self.value = self.choices[place % len(self.choices)]
