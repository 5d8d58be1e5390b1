"""What there is to draw of how ROME made an edit: its size, and the descent that found the value."""

from __future__ import annotations

from workbench.editing.editors.rome.details import RomeDetails
from workbench.figures import Curve, Curves, Figure, said


def rome_figures(details: RomeDetails) -> tuple[Figure, ...]:
    """Layer, size and losses in words, and the losses as a curve where there is more than a start."""
    size = f"layer {details.layer} ({details.layer_from}), {details.size:.1%} of the matrix; "
    losses = f"loss {details.losses[0]:.2f} → {details.losses[-1]:.2f} in {len(details.losses)} steps"
    if len(details.losses) < 2:
        return said(size + losses)
    curve = Curve(label="loss", points=tuple(enumerate(details.losses, 1)))
    return (*said(size + losses), Curves(title="Optimisation of the value", x="step", y="nats", curves=(curve,)))
