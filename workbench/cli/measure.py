"""``workbench models measure``: find by edits and a trace which layer to edit on a model, and keep it."""

from __future__ import annotations

from workbench.cli.asking import asks_of_model
from workbench.cli.options import Typed
from workbench.editing.measuring import MeasureRequest
from workbench.settings import filled


@asks_of_model(MeasureRequest)
def measure(typed: Typed) -> MeasureRequest:
    """Measure at which layer facts are best edited on a model, and make that its default.

    It traces shipped facts and edits some of them at several layers, which takes minutes; what was computed is kept, so
    that an interrupted measurement goes on where it stopped.
    """
    return filled(MeasureRequest, typed)
