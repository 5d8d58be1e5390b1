"""What there is to draw of how facts were spread over layers."""

from __future__ import annotations

from statistics import fmean

from workbench.editing.editors.memit.details import SpreadDetails
from workbench.figures import Column, Curve, Curves, Figure, Table, said
from workbench.wording import count


def spread_figures(details: SpreadDetails) -> tuple[Figure, ...]:
    """Facts and losses in words, the layers as a table, and the losses as a curve where there is more than a start."""
    losses = f"loss {details.losses[0]:.2f} → {details.losses[-1]:.2f} in {count(len(details.losses), 'step')}"
    written = f"{fmean(details.shares):.0%} of the values written"
    words = said(f"{count(details.facts, 'fact')}, layers {details.layers_from}; {losses}; {written}")
    used = {each.layer: f"{each.used:.0f} of {each.free}" for each in details.capacity}
    columns = (
        "layer",
        Column(heading="size", right=True),
        *([Column(heading="directions", right=True)] if used else ()),
    )
    rows = tuple(
        (str(layer), f"{size:.1%}", *([used[layer]] if used else ()))
        for layer, size in zip(details.layers, details.sizes, strict=True)
    )
    table = Table(title="Changes by layer", columns=columns, rows=rows)
    if len(details.losses) < 2:
        return (*words, table)
    curve = Curve(label="loss", points=tuple(enumerate(details.losses, 1)))
    return (*words, table, Curves(title="Optimisation of the values", x="step", y="nats", curves=(curve,)))
