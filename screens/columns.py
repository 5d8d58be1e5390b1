"""The main screen's two columns of panes: which stand side by side, which one is in front, and which one is alone."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widget import Widget

from screens.marking import mark
from screens.panes.pane import Pane
from screens.widgets.tab_line import TabLine


class Columns(Container):
    """The prompt and tabs (only where one pane is shown at a time), and the other panes, each on its side.

    What is where says ``app.tcss``, by classes that say which pane was asked for last, and which has the keyboard.
    """

    def __init__(self, prompt: Pane, others: Sequence[Pane], titles: Sequence[str], before_all: Widget) -> None:
        """``before_all`` stands where the pictures will be, before the first question."""
        super().__init__(id="panes")
        self._prompt, self._others, self._before_all = prompt, tuple(others), before_all
        self._asked_for = list(others)  # the last one first
        self._tabs = TabLine(titles)

    def compose(self) -> ComposeResult:
        """The left column, and the right one."""
        with Vertical(id="left"):
            yield self._prompt
            yield self._tabs
            yield from (pane for pane in self._others if pane.SIDE == "left")
        with Vertical(id="right"):
            yield from (pane for pane in self._others if pane.SIDE == "right")
            yield self._before_all

    def bring(self, pane: Pane) -> None:
        """Count a pane as the one that was asked for last."""
        self._asked_for.remove(pane)
        self._asked_for.insert(0, pane)

    def show_pane(self, active: Pane) -> None:
        """Show a pane; where there is room for two in its column, the one that was asked for before it stays."""
        self._tabs.active = self._others.index(active)
        self.bring(active)
        for side in ("left", "right"):
            for place, pane in enumerate(each for each in self._asked_for if side == each.SIDE):
                mark(pane, {"-active": pane is active, "-foremost": place == 0, "-covered": place > 1})
        mark(self, {"-left-active": active.SIDE == "left"}, self.children)

    def stand_out(self, alone: Pane | None) -> None:
        """Mark the pane with the keyboard, and the one that is seen ``alone``, if any.

        By a class, as with ``:focus-within`` all of a pane is styled anew at every step from field to field.
        """
        for pane in (self._prompt, *self._others):
            mark(pane, {"-with-keyboard": pane.has_focus_within, "-zoomed": pane is alone})
        for column in self.children:
            mark(column, {"-zoomed": alone is not None and alone.parent is column}, column.children)
