"""The registry of panes, in the order of their number keys. Another pane is one file and one line here.

A method that has a key and figures, and no pane here, has a pane of these without a line.
"""

from __future__ import annotations

from screens.panes.attribution.pane import AttributionPane
from screens.panes.cot.pane import CotPane
from screens.panes.edits.pane import EditsPane
from screens.panes.erasure.pane import ErasurePane
from screens.panes.figure_pane import figure_panes
from screens.panes.fixes import FixPane
from screens.panes.lens.pane import LensPane
from screens.panes.pane import Pane
from screens.panes.patching import PatchPane
from screens.panes.steering import SteeringPane
from screens.panes.sweeps.pane import SweepPane
from screens.panes.trace.pane import TracePane
from screens.panes.watch import WatchPane
from workbench.registry import methods

OWN: tuple[type[Pane], ...] = (
    LensPane, AttributionPane, TracePane, EditsPane, CotPane, ErasurePane, SteeringPane, FixPane, PatchPane, WatchPane,
    SweepPane,
)  # fmt: skip
"""Panes that are more than a picture."""

PANES: tuple[type[Pane], ...] = (*OWN, *figure_panes(methods(), OWN))
"""All panes but the prompt, which is always there and always first."""
