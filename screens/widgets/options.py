"""A list of options that bears any key at any moment; all lists of ours are made of it.

Textual pages by the line on which the highlight is, and there are no lines before the list has been laid out. It counts
an option's lines once, and a scrollbar that the count calls for makes them narrower, and more of them.
"""

from __future__ import annotations

from typing import Literal

from textual.command import CommandList
from textual.widgets import OptionList


class Options(OptionList):
    """Ours."""

    _counted_for = 0

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if (self.highlighted or 0) in self._index_to_line:
            super()._move_page(direction)

    def _update_lines(self) -> None:
        if self._counted_for != (width := self.scrollable_content_region.width):
            self._counted_for = width
            self._clear_caches()
        super()._update_lines()
        if self.scrollable_content_region.width < width:  # at most once, as one that is there stays
            self._update_lines()


class PaletteOptions(CommandList, Options, can_focus=False):
    """The command palette's."""
