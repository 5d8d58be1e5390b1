"""A field whose hint, which stands in it dimmed while it is empty, is never cut."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from textual.strip import Strip
from textual.widgets import Input


class HintedInput(Input):
    """An `Input` with hints in place of a placeholder: the first that there is room for is shown, or none.

    It is one line high without a border. Its cursor stays: one that blinks sends bytes twice a second for nothing.
    """

    def __init__(self, value: str | None = None, *hints: str, **others: Any) -> None:
        super().__init__(value, **others)
        self.set_reactive(Input.compact, True)  # and its class with it: told to be so, it would be styled twice
        self.add_class("-textual-compact", update=False)
        self.cursor_blink = False
        self._hints = hints

    @property
    def hints(self) -> tuple[str, ...]:
        """From long to short."""
        return self._hints

    @hints.setter
    def hints(self, hints: tuple[str, ...]) -> None:
        self._hints = hints
        self.on_resize()

    def on_resize(self) -> None:
        """There is room, or there is none."""
        self.placeholder = self._fitting

    def render_line(self, y: int) -> Strip:
        """With the hint that fits: Textual tells of a size after it has drawn, and not always of the first one."""
        self.set_reactive(Input.placeholder, self._fitting)
        return super().render_line(y)

    @property
    def _fitting(self) -> str:
        return next((hint for hint in self._hints if cell_len(hint) < self.size.width), "")
