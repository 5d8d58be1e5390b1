"""Heads and edges as they are typed and written: L23H4, L23, 12, L23H4:19>12."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.methods.heads.names import head_named, named
from workbench.models.forward.knockout import Edge, Head

if TYPE_CHECKING:
    from workbench.models.heads import Heads

_LAYER = re.compile(r"\s*L(\d{1,4})\s*", re.IGNORECASE)

_EDGE = re.compile(r"\s*(?:L?(\d{1,4})(?:[.Hh](\d{1,4}))?:)?\s*(?:(\d{1,6})\s*>)?\s*(\d{1,6})\s*", re.IGNORECASE)


def heads_chosen(typed: Sequence[str], heads: Heads, layers: int) -> tuple[Head, ...]:
    """Heads by name; a layer, as L23, names all of its own. Raises `InputError`, for every head of the model too."""
    found: list[Head] = []
    for each in typed:
        if whole := _LAYER.fullmatch(each):
            heads.check(int(whole[1]), 0, layers)
            found += [(int(whole[1]), head) for head in range(heads.count)]
        elif each.strip().lower() == "all":
            found += [(layer, head) for layer in range(layers) for head in range(heads.count)]
        else:
            layer, head = head_named(each)
            heads.check(layer, head, layers)
            found.append((layer, head))
    if len(set(found)) == layers * heads.count:
        raise InputError(
            f"that knocks out all {layers * heads.count} heads, and a model without attention says nothing about this "
            "prompt; name fewer"
        )
    return tuple(dict.fromkeys(found))


def edges_chosen(typed: Sequence[str], position: int, heads: Heads, layers: int) -> tuple[Edge, ...]:
    """Edges as they are typed: [layer or head:][looking>]at, where layer and looking token may be left out.

    Without a layer it is every layer's edge, without a looking token that of ``position``. Raises `InputError`.
    """
    found: list[Edge] = []
    for each in typed:
        read = _EDGE.fullmatch(each)
        if read is None:
            raise InputError(f"{each!r} does not name an edge of attention; write it as 12, L23:12 or L23H4:19>12")
        layer, head = (None if part is None else int(part) for part in read.groups()[:2])
        looking, at = position if read[3] is None else int(read[3]), int(read[4])
        if looking > position or at > looking:
            raise InputError(
                f"there is no edge {looking}>{at}: a token looks at itself and at those before it, and the last one "
                f"that counts here is {position}"
            )
        if layer is not None:
            heads.check(layer, head or 0, layers)
        found += [Edge(one, head, looking, at) for one in (range(layers) if layer is None else (layer,))]
    if found and _is_everything(found, position):
        raise InputError("that knocks out all attention of the token that answers; name fewer edges")
    return tuple(dict.fromkeys(found))


def edge_named(edge: Edge) -> str:
    """An edge as it is typed."""
    where = f"L{edge.layer}" if edge.head is None else named(edge.layer, edge.head)
    return f"{where}:{edge.looking}>{edge.at}"


def _is_everything(edges: Sequence[Edge], position: int) -> bool:
    of_all = {(edge.layer, edge.at) for edge in edges if edge.head is None and edge.looking == position}
    layers = {edge.layer for edge in edges}
    return len(of_all) == len(layers) * (position + 1) and len(layers) > 1
