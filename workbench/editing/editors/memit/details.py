"""What is found on the way to an edit that spreads facts over layers."""

from __future__ import annotations

from workbench.editing.editor import Capacity, Details


class SpreadDetails(Details):
    """``losses`` in nats by step, means over the facts; ``sizes`` are ‖ΔW‖ / ‖W‖ by layer.

    ``probabilities`` are the targets' with their values in place, and ``shares`` the part of each value that is
    written, by fact. ``capacity`` is there for edits within a null space alone.
    """

    layers: tuple[int, ...]
    layers_from: str
    facts: int
    losses: tuple[float, ...]
    probabilities: tuple[float, ...]
    shares: tuple[float, ...]
    sizes: tuple[float, ...]
    capacity: tuple[Capacity, ...] = ()
