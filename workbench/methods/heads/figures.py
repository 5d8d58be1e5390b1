"""What there is to draw of heads: sums, a map of layers × heads and MLPs, and a table of those that add most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.figures import Axis, Cell, Column, Figure, Heatmap, Scale, Table, said
from workbench.methods.heads.names import named, token_named
from workbench.protocol import Request

if TYPE_CHECKING:
    from workbench.methods.heads.head_attribution import HeadsRequest, HeadsResult

_NUMBER = Scale(ramp="signed", low=-1, high=1, decimals=2)

NOTED = 0.005
"""A part smaller than this (logits) would be written as nothing, and is left out of the sentence."""


def figures(result: HeadsResult) -> tuple[Figure, ...]:
    """Lines with the sums, a heatmap of heads and MLPs by layer, the last layer on top, and a table."""
    return (*_sums(result), _map(result), *_largest(result))


def opened(request: HeadsRequest, result: HeadsResult, figure: Figure, place: tuple[int, int]) -> Request | None:
    """The attention pattern of the head in a cell of the map, or a row of the table."""
    from workbench.methods.heads.attention import AttentionRequest

    row, column = place
    if isinstance(figure, Heatmap):
        layer, head = figure.rows.index_of(row), column
    elif isinstance(figure, Table) and row < len(result.largest):
        layer, head = result.largest[row].layer, result.largest[row].head
    else:
        return None
    if head >= result.n_heads:  # an MLP, which looks at nothing
        return None
    return AttentionRequest(case=request.case, position=result.position, head=named(layer, head))


def difference_in_words(target: str, foil: str | None) -> str:
    """What the numbers are parts of."""
    if foil is None:
        return f"the logit of “{target.strip()}”"
    return f"the logit difference “{target.strip()}” − “{foil.strip()}”"


def over_heads(
    title: str,
    values: Sequence[Sequence[float | None]],
    columns: Sequence[str],
    unit: str = "logits",
    name: str = "head",
) -> Heatmap:
    """Layers, the last on top, by heads or whatever ``columns`` are; the largest value stands out."""
    layers = len(values)
    rows = tuple(tuple(row) for row in reversed(values))
    known = [
        (abs(value), row, column)
        for row, line in enumerate(rows)
        for column, value in enumerate(line)
        if value is not None
    ]
    return Heatmap(
        title=title,
        rows=Axis.of_layers(layers),
        columns=Axis(name=name, labels=tuple(columns)),
        values=rows,
        scale=Scale.signed((value for row in rows for value in row), unit=unit),
        peaks=(max(known)[1:],) if known else (),
    )


def _sums(result: HeadsResult) -> tuple[Figure, ...]:
    token = result.encoded.texts[result.position].strip()
    sums = [("embedding", result.embedding), ("heads", sum(map(sum, result.heads))), ("MLPs", sum(result.mlp))]
    sums += [("edits of states", sum(result.edits))] if result.edits else []
    rest = result.bias + sum(result.biases)
    sums += [("biases", rest)] if abs(rest) > NOTED else []
    parts = ", ".join(f"{name} {_NUMBER.text(value)}" for name, value in sums)
    of = difference_in_words(result.target, result.foil)
    return said(f"{of} after “{token}” is {_NUMBER.text(result.total)}: {parts}")


def _map(result: HeadsResult) -> Heatmap:
    return over_heads(
        "Added by each head and MLP (logits)",
        [(*row, mlp) for row, mlp in zip(result.heads, result.mlp, strict=True)],
        (*map(str, range(result.n_heads)), "MLP"),
    )


def _largest(result: HeadsResult) -> tuple[Figure, ...]:
    if not result.largest:
        return ()
    rows = []
    for each in result.largest:
        looked = ", ".join(f"{token_named(result.encoded.texts, at.token)} {at.weight:.2f}" for at in each.looked_at)
        written = ", ".join(at.text for at in each.writes)
        towards = Cell(text=_NUMBER.text(each.added), meaning="target" if each.added > 0 else "foil")
        rows.append((named(each.layer, each.head), towards, looked, written))
    columns = ("head", Column(heading="logits", right=True), "looks at", "writes")
    return (Table(title="The heads that add most", columns=columns, rows=tuple(rows)),)
