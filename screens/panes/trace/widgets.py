"""What the trace pane is made of: a heatmap with keys of its own, and a line for another subject."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from screens.widgets.closing_input import ClosingInput
from screens.widgets.grid import CellGrid


class TraceHeatmap(CellGrid, inherit_bindings=False):
    """The heatmap. Arrows follow the picture; the letters step layers and tokens as in the lens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h,up", "move(-1, 0)", "Token before", tooltip="The token before", show=False, id="trace.up"),
        Binding("l,down", "move(1, 0)", "Next token", tooltip="The next token", show=False, id="trace.down"),
        Binding("j,left", "move(0, -1)", "Layer below", tooltip="The layer below", show=False, id="trace.left"),
        Binding("k,right", "move(0, 1)", "Layer above", tooltip="The layer above", show=False, id="trace.right"),
        Binding("pageup", "page(-1)", "Page up", tooltip="One page up", show=False, id="trace.page_up"),
        Binding("pagedown", "page(1)", "Page down", tooltip="One page down", show=False, id="trace.page_down"),
        Binding("home", "edge(-1)", "First layer", tooltip="To the first layer", show=False, id="trace.first"),
        Binding("end", "edge(1)", "Last layer", tooltip="To the last layer", show=False, id="trace.last"),
        Binding("enter", "choose", "Detail", tooltip="More about this cell, or less", id="trace.choose"),
    ]


class SubjectInput(ClosingInput):
    """A line for the subject that replaces the prompt's own."""
