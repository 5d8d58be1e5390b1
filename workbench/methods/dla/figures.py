"""What there is to draw of a direct logit attribution: its sums, every part by layer, and the largest of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.figures import Axis, Bar, Bars, Figure, Heatmap, Scale, said

if TYPE_CHECKING:
    from workbench.methods.dla.logit_attribution import DlaResult

LARGEST = 10
"""Parts that have a bar of their own; the others share one."""


def figures(result: DlaResult) -> tuple[Figure, ...]:
    """Lines with the sums, a heatmap of sublayers by layer, and bars of the largest parts, which sum to the total."""
    return (*_sums(result), _by_layer(result), _largest(result))


def _sums(result: DlaResult) -> tuple[Figure, ...]:
    number = Scale(ramp="signed", low=-1, high=1, decimals=2).text
    token = result.encoded.texts[result.position].strip()
    of = f"the logit of “{result.target.strip()}”"
    if result.foil is not None:
        of = f"the logit difference “{result.target.strip()}” − “{result.foil.strip()}”"
    sums = [("embedding", result.embedding), ("attention", sum(result.attention)), ("MLPs", sum(result.mlp))]
    sums += [("edits of states", sum(result.edits))] if result.edits else []
    sums += [("bias", result.bias)] if result.bias else []
    parts = ", ".join(f"{name} {number(value)}" for name, value in sums)
    return said(f"{of} after “{token}” is {number(result.total)}: {parts}")


def _by_layer(result: DlaResult) -> Heatmap:
    rows = _rows(result)
    values = tuple(row for _, row in rows)
    return Heatmap(
        title="Added by each layer (logits)",
        rows=Axis(name="sublayer", labels=tuple(name for name, _ in rows)),
        columns=Axis(name="layer", labels=tuple(map(str, range(result.layers))), index="layer"),
        values=values,
        scale=Scale.signed((value for row in values for value in row), unit="logits"),
    )


def _largest(result: DlaResult) -> Bars:
    named = [("embedding", result.embedding), ("bias", result.bias)]
    named += [(f"L{layer} {name}", value) for name, row in _rows(result) for layer, value in enumerate(row)]
    ranked = sorted((part for part in named if part[1]), key=lambda part: -abs(part[1]))
    shown, rest = ranked[:LARGEST], ranked[LARGEST:]
    bars = [Bar(label=label, value=value, meaning="target" if value > 0 else "foil") for label, value in shown]
    if rest:
        bars.append(Bar(label=f"{len(rest)} others", value=sum(value for _, value in rest), meaning="muted"))
    return Bars(
        title="The largest parts (logits)",
        bars=tuple(bars),
        scale=Scale.signed((bar.value for bar in bars), unit="logits"),
    )


def _rows(result: DlaResult) -> list[tuple[str, tuple[float, ...]]]:
    edits = [("edits", result.edits)] if result.edits else []
    return [("attention", result.attention), ("MLP", result.mlp), *edits]
