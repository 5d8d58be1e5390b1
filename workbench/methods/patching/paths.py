"""Path patching: what a cell does to the answer by way of chosen receivers alone, on the direct path to them.

Wang et al. 2022 (arXiv 2211.00593), section 3.1; Goldowsky-Dill et al. 2023 (arXiv 2304.05969). What is put in at the
sender changes the residual stream after it, and nothing between it and a receiver answers to that. What the receivers
give out then takes the place of what they gave out, and from there on the run goes on as it does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import BeforeValidator

from workbench.errors import InputError, ModelError
from workbench.lazy import torch
from workbench.memory import in_batches
from workbench.methods.tracing.sweep import Cells, Sweep, window
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.forward.resume import Branch, Branching, Resumed
from workbench.models.forward.runs import PARTS, Part
from workbench.settings import layers as typed_layers

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.methods.tracing.grid import TraceKind

Receiver = tuple[Part, int]
"""The attention or MLP of a layer."""


def typed_receivers(text: Any) -> Any:
    """Receivers as in "attention:20-25 mlp:24" as a tuple; anything else as it is. Raises `InputError`."""
    if not isinstance(text, str):
        return text
    found: list[Receiver] = []
    for piece in text.split():
        part, _, of = piece.partition(":")
        if part not in get_args(Part):
            raise InputError(f"{piece!r} is no receiver; write attention:20-25 or mlp:24, with spaces between them")
        found += [(part, layer) for layer in typed_layers(of.strip(","))]  # type: ignore[misc]
    return tuple(dict.fromkeys(found))


TypedReceivers = Annotated[tuple[Receiver, ...], BeforeValidator(typed_receivers)]


@dataclass(frozen=True, eq=False)
class Paths:
    """The direct paths from cells to ``receivers`` at one token, ``at``, of the run that is changed."""

    sweep: Sweep
    receivers: Sequence[Receiver]
    at: int

    def column(self, way: Branching, kind: TraceKind, token: int) -> Iterator[dict[int, list[float]]]:
        """What is read for the cells of one token, batch by batch, by layer. A cell that reaches none is left out.

        Raises `ModelError` for a model whose runs cannot be resumed.
        """
        if not isinstance(way, Resumed):
            raise ModelError(
                "paths are patched by runs that are resumed, which this model's cannot be; leave out receivers"
            )
        cells = [layer for layer in self.sweep.starts(kind, token) if self.reached(kind, layer, token)]
        first = min(layer for _, layer in self.receivers)
        values: dict[int, list[float]] = {}

        def work(some: list[int]) -> None:
            with torch.no_grad():
                given = self._given(way, kind, token, some)
            branches = [
                Branch(first, outputs={receiver: outputs[i] for receiver, outputs in given.items()})
                for i in range(len(some))
            ]
            for batch in way.values(self.at, branches, self.sweep.read):
                values.update({some[i]: numbers for i, numbers in batch.items()})

        size, bytes_each = way.batch(token)
        for _ in in_batches(cells, size, work, bytes_each):
            yield dict(values)
            values.clear()

    def reached(self, kind: TraceKind, layer: int, token: int) -> bool:
        """Whether a direct path leads from a cell to any of the receivers."""
        return token <= self.at and any(
            self._reaches(each, receiver) for each in self._senders(kind, layer) for receiver in self.receivers
        )

    def _senders(self, kind: TraceKind, layer: int) -> list[tuple[TraceKind, int]]:
        """What is put in together at a cell."""
        if kind == "states":
            return [(kind, layer)]
        return [(kind, each) for each in window(layer, self.sweep.window, self.sweep.model.info.layers)]

    @staticmethod
    def _reaches(sender: tuple[TraceKind, int], receiver: Receiver) -> bool:
        (kind, layer), (part, at) = sender, receiver
        return layer < at or (layer == at and (kind, part) == ("attention", "mlp"))

    def _given(self, way: Resumed, kind: TraceKind, token: int, cells: list[int]) -> dict[Receiver, Tensor]:
        """What the receivers give out at their token for each cell, ``(cells, d_model)``."""
        changes = self._changes(kind, token)
        found: dict[Receiver, Tensor] = {}
        for layer in sorted({layer for _, layer in self.receivers}):
            before = torch.stack([self._sum(changes, kind, cell, below=layer) for cell in cells])
            inside = torch.stack([self._inside(changes, kind, cell, layer) for cell in cells])
            hidden = way.entry(layer, token).repeat(len(cells), 1, 1)
            hidden[:, 0] += before
            with ExitStack() as hooks:
                for part in PARTS:
                    own = self.sweep.receiving.parts[part][layer][token:].repeat(len(cells), 1, 1)
                    if part == "attention":
                        own[:, 0] += inside
                    wanted = found if (part, layer) in self.receivers else None
                    module = getattr(self.sweep.model, part)(layer)
                    hook = _noted(wanted, (part, layer), self.at - token, own)
                    hooks.callback(module.register_forward_hook(hook).remove)
                way.block(layer, token, hidden)
        return found

    def _changes(self, kind: TraceKind, token: int) -> Tensor:
        """What a sender of each layer changes in the residual stream at its token, ``(layers, d_model)``."""
        giving, receiving, partner = self.sweep.giving, self.sweep.receiving, self.sweep.partner[token]
        if kind == "states":
            pairs = zip(giving.states[1:], receiving.states[1:], strict=True)
            return torch.stack([theirs[0, partner] - mine[0, token] for theirs, mine in pairs])
        both = zip(giving.parts[kind], receiving.parts[kind], strict=True)
        return torch.stack([theirs[partner] - mine[token] for theirs, mine in both])

    def _sum(self, changes: Tensor, kind: TraceKind, cell: int, below: int) -> Tensor:
        """What a cell's senders below a layer change in its input."""
        senders = [layer for _, layer in self._senders(kind, cell) if layer < below]
        return changes[senders].sum(dim=0)

    def _inside(self, changes: Tensor, kind: TraceKind, cell: int, layer: int) -> Tensor:
        """What they change in that layer between its attention and its MLP."""
        return changes[layer] if (("attention", layer) in self._senders(kind, cell)) else torch.zeros_like(changes[0])


def along(paths: Paths, cells: Cells, way: Branching) -> Iterator[int]:
    """Compute all cells, and yield the work that is done after each batch; it counts as without receivers."""
    sweep, done = paths.sweep, 0
    for token in sweep.tokens:
        starts = sweep.starts(cells.kind, token)
        left = [layer for layer in starts if not paths.reached(cells.kind, layer, token)]
        for batch in chain([{layer: [sweep.unchanged] for layer in left}], paths.column(way, cells.kind, token)):
            for layer, values in batch.items():
                cells.put(layer, token, sum(values) / len(values))
                done += sweep.work_of(starts[layer], token)
            yield done


def _noted(found: dict[Receiver, Tensor] | None, receiver: Receiver, place: int, own: Tensor) -> Any:
    """A forward hook that notes what a receiver gives out at a place, and lets the block go on with ``own``."""

    def hook(_module: Module, _args: Any, output: Any) -> Any:
        if found is not None:
            found[receiver] = tensor_of(output, len(own))[:, place].clone()
        return with_tensor(output, own)

    return hook
