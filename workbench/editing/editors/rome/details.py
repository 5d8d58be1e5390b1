"""What ROME finds on the way to its edit."""

from __future__ import annotations

from workbench.editing.layers import LayerDetails


class RomeDetails(LayerDetails):
    """``losses`` in nats, by step; ``size`` is ‖ΔW‖ / ‖W‖; ``shares`` are the parts of the change by context."""

    prefixes: tuple[str, ...]
    losses: tuple[float, ...]
    size: float
    shares: tuple[float, ...]
