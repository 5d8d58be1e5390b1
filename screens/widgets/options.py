"""A list of options that bears any key at any moment; all lists of ours are made of it.

Textual pages by the line on which the highlight is, and there are no lines before the list has been laid out.
"""

from __future__ import annotations

from typing import Literal

from textual.command import CommandList
from textual.widgets import OptionList


class Options(OptionList):
    """Ours."""

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if (self.highlighted or 0) in self._index_to_line:
            super()._move_page(direction)


class PaletteOptions(CommandList, can_focus=False):
    """The command palette's."""

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if (self.highlighted or 0) in self._index_to_line:
            super()._move_page(direction)
