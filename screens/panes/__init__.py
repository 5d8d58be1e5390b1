"""The registry of panes, in the order of their number keys. A further pane is one file and one line here."""

from __future__ import annotations

from screens.panes.attribution.pane import AttributionPane
from screens.panes.cot.pane import CotPane
from screens.panes.edits.pane import EditsPane
from screens.panes.erasure.pane import ErasurePane
from screens.panes.lens.pane import LensPane
from screens.panes.pane import Pane
from screens.panes.trace.pane import TracePane

PANES: tuple[type[Pane], ...] = (LensPane, AttributionPane, TracePane, EditsPane, CotPane, ErasurePane)
"""All panes but the prompt, which is always there and always first."""
