"""Runs of a text in which attention heads, or single edges of attention, are knocked out.

One head, or a layer's edge, at the last token is a `Branch`: below its layer nothing changes, so attention's changed
contribution is known beforehand, and hundreds of them go through the blocks above together. Whatever is knocked out
together is taken out layer by layer in one run, so that later layers react to what is missing in earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from workbench.lazy import torch
from workbench.models.forward.attending import Attended, Attending, ReadChange, contribution
from workbench.models.forward.resume import Branch
from workbench.models.forward.runs import LogitMeasure
from workbench.models.heads import eager

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

Ablation = Literal["zero", "mean"]
"""What stands in the place of what is knocked out: nothing, or the mean over the tokens of the prompt."""

Head = tuple[int, int]
"""Layer and head."""


@dataclass(frozen=True)
class Edge:
    """Attention of token ``looking`` to token ``at`` in a layer, of one head or (None) of all."""

    layer: int
    head: int | None
    looking: int
    at: int


class KnockOuts:
    """Runs of one text without some heads or edges; ``everywhere`` takes heads out at every token, not only the last.

    Raises as `Attending` does.
    """

    def __init__(self, model: LoadedModel, ids: tuple[int, ...], ablate: Ablation, *, everywhere: bool = False) -> None:
        self._model, self._ablate, self._everywhere = model, ablate, everywhere
        self.attending = Attending(model, ids)
        self.last = len(ids) - 1

    @cached_property
    def _read(self) -> Tensor:
        """What projections read in the recorded run ``(layers, tokens, heads, width)``."""
        return self.attending.read()

    @property
    def unchanged(self) -> Tensor:
        """The logits after the last token ``(vocabulary,)`` with nothing knocked out."""
        with torch.no_grad():
            logits: Tensor = self._model.unembed(self.attending.run.states[-1][0, -1])
        return logits

    def each_head(self, measure: LogitMeasure) -> Iterator[dict[Head, float]]:
        """What is measured without each head of the model, one at a time; yields some heads after the other."""
        layers, count = self._model.info.layers, self._model.heads.count
        heads = [(layer, head) for layer in range(layers - 1, -1, -1) for head in range(count)]
        if self._everywhere:
            for place in heads:
                yield {place: float(measure(self.without((place,), ())[None])[0])}
            return
        outputs = {layer: contribution(self._model, layer, self._without_each(layer)) for layer in range(layers)}
        yield from self._branches({place: outputs[place[0]][place[1]] for place in heads}, measure)

    def each_edge(self, measure: LogitMeasure) -> Iterator[dict[tuple[int, int], float]]:
        """What is measured without the last token's attention to each token, all heads of a layer together.

        Yields numbers by layer and token.
        """
        outputs: dict[Head, Tensor] = {}
        for layer in range(self._model.info.layers - 1, -1, -1):
            attended = self.attending.layer(layer, self.last)
            changed = torch.stack(
                [self._without_edges(attended, self.last, [Edge(layer, None, self.last, at)])[0] for at in self._tokens]
            )
            outputs |= dict(
                zip([(layer, at) for at in self._tokens], contribution(self._model, layer, changed), strict=True)
            )
        yield from self._branches(outputs, measure)

    def without(self, heads: Sequence[Head], edges: Sequence[Edge]) -> Tensor:
        """The logits after the last token ``(vocabulary,)`` with all of these knocked out together."""
        token = 0 if self._everywhere and heads else min([self.last, *(edge.looking for edge in edges)])
        changes: dict[int, ReadChange] = {}
        for layer in {layer for layer, _ in heads} | {edge.layer for edge in edges}:
            own_heads = [head for at, head in heads if at == layer]
            own_edges = [edge for edge in edges if edge.layer == layer]
            changes[layer] = self._change(layer, token, own_heads, own_edges)
        return self.attending.changed(token, changes) if changes else self.unchanged

    @property
    def _tokens(self) -> range:
        return range(self.last + 1)

    def _change(self, layer: int, token: int, heads: Sequence[int], edges: Sequence[Edge]) -> ReadChange:
        def change(attended: Attended) -> Tensor:
            read = self._without_edges(attended, token, edges)
            if heads:
                read[0 if self._everywhere else self.last - token :, heads] = self._instead(layer)[heads]
            return read

        return change

    def _without_edges(self, attended: Attended, token: int, edges: Sequence[Edge]) -> Tensor:
        """What the projection reads ``(own tokens, heads, width)`` without what arrives over these edges.

        The other weights stay what they are.
        """
        read = attended.read.clone()
        for edge in edges:
            heads = slice(None) if edge.head is None else slice(edge.head, edge.head + 1)
            weight = attended.weights[heads, edge.looking - token, edge.at, None]
            value = attended.values[heads, edge.at]
            if self._ablate == "mean":
                value = value - attended.values[heads, : edge.looking + 1].mean(dim=1)
            read[edge.looking - token, heads] -= weight * value
        return read

    def _without_each(self, layer: int) -> Tensor:
        """What the projection reads at the last token ``(heads, heads, width)``, row h without head h."""
        count = self._model.heads.count
        read = self._read[layer, -1].repeat(count, 1, 1)
        places = torch.arange(count, device=read.device)
        read[places, places] = self._instead(layer)
        return read

    def _instead(self, layer: int) -> Tensor:
        """What stands in the place of each head's output, ``(heads, width)``."""
        mean = self._read[layer].mean(dim=0)
        return mean if self._ablate == "mean" else torch.zeros_like(mean)

    def _branches(self, outputs: Mapping[Head, Tensor], measure: LogitMeasure) -> Iterator[dict[Head, float]]:
        places = list(outputs)
        branches = [Branch(place[0], outputs={("attention", place[0]): outputs[place]}) for place in places]
        # One kernel for all runs of a text: how blocks are called is noted once.
        with eager(self._model.hf):
            for batch in self.attending.resumed.values(self.last, branches, measure):
                yield {places[index]: numbers[0] for index, numbers in batch.items()}
