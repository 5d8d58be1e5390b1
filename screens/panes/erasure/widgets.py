"""What the erasure pane is made of: a chart of probes by layer, and its list of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Static

from screens.panes.edits.list import EditList
from screens.panes.erasure.views import draw_chart

if TYPE_CHECKING:
    from textual_plotext import PlotextPlot
from workbench.editing.editors.erasure.erased import Erased


class ProbeChart(Vertical, can_focus=True):
    """Shows a chart, or a sentence where there is none yet. The keys are the pane's."""

    DEFAULT_CSS = """
    ProbeChart {
        height: 1fr; min-height: 2; padding: 0 1;
        & #instead { height: auto; color: $foreground 55%; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._plot: PlotextPlot | None = None

    def compose(self) -> ComposeResult:
        """A sentence; the plot comes with the first result."""
        yield Static(id="instead", markup=False)

    def say(self, sentence: str) -> None:
        """Say something where the chart will be."""
        self._show(sentence)

    def show(self, result: Erased, layer: int) -> None:
        """Draw the probes, and a line at the layer that is looked at."""
        if self._plot is None:
            from textual_plotext import PlotextPlot  # 0.07 s at the first chart, and none before

            self._plot = PlotextPlot()
            self.mount(self._plot)
        draw_chart(self._plot.plt, result, layer)
        self._plot.refresh()
        self._show("")

    def _show(self, sentence: str) -> None:
        instead = self.query_one("#instead", Static)
        instead.update(sentence)
        instead.display = bool(sentence)
        if self._plot is not None:
            self._plot.display = not sentence


class LayerList(EditList):
    """The layers, the highest first; which one is looked at is the pane's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "Down", tooltip="The layer below", show=False, id="layer_list.down"),
        Binding("k", "cursor_up", "Up", tooltip="The layer above", show=False, id="layer_list.up"),
        Binding("enter", "select", "Detail", tooltip="All about this erasure", id="layer_list.detail"),
    ]
