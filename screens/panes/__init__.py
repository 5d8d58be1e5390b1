"""The registry of panes, in the order of their number keys. A further pane is one file and one line here."""

from __future__ import annotations

from screens.panes.lens import LensPane
from screens.panes.pane import Pane

PANES: tuple[type[Pane], ...] = (LensPane,)
"""All panes but the prompt, which is always there and always first."""
