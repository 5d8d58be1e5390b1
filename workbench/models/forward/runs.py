"""Recorded runs: what a batch of forward passes left behind, block by block."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench.lazy import nnsight, torch, transformers
from workbench.models.anatomy import tensor_of
from workbench.models.forward.padding import padding_arguments

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

Part = Literal["attention", "mlp"]
PARTS: tuple[Part, ...] = ("attention", "mlp")

LogitMeasure = Callable[[Any], Any]
"""From logits ``(rows, vocabulary)`` to one number each ``(rows,)``."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a batch of runs left behind.

    ``ids`` is ``(rows, tokens)``, ``added`` what was added to the embeddings ``(rows, tokens, width)``. ``states``
    has layers + 1 entries ``(rows, tokens, d_model)``: the first block's input, then each block's output. ``parts``
    holds the contributions of attention and MLP in each layer in the first row alone, ``(tokens, d_model)``; none where
    blocks have no such part.
    ``keys`` and ``values`` have an entry ``(rows, key-value heads, tokens, head width)`` a layer, or none at all
    where the model keeps no such thing; ``tuples`` says which blocks return tuples. ``seconds`` is the time taken.
    ``mask`` ``(rows, tokens)`` is 0 where a shorter row is padded on the left, None where no row is.
    """

    ids: torch.Tensor
    added: torch.Tensor
    states: list[torch.Tensor]
    parts: Mapping[Part, list[torch.Tensor]]
    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    tuples: list[bool]
    seconds: float
    mask: torch.Tensor | None = None

    @property
    def tokens(self) -> int:
        """The number of tokens of each run."""
        return self.ids.shape[1]

    def rows(self, rows: slice | torch.Tensor) -> Run:
        """Some of the runs, by a slice or a mask; ``parts`` stay those of the first of all."""
        return Run(
            ids=self.ids[rows],
            added=self.added[rows],
            states=[states[rows] for states in self.states],
            parts=self.parts,
            keys=[keys[rows] for keys in self.keys],
            values=[values[rows] for values in self.values],
            tuples=self.tuples,
            seconds=self.seconds,
            mask=None if self.mask is None else self.mask[rows],
        )


def record(model: LoadedModel, ids: torch.Tensor, added: torch.Tensor, mask: torch.Tensor | None = None) -> Run:
    """Run the blocks on ``ids`` ``(rows, tokens)`` with ``added`` ``(rows, tokens, width)`` on the embeddings.

    ``mask`` ``(rows, tokens)`` is 0 where shorter rows are padded on the left.
    """
    also = {} if mask is None else padding_arguments(model, mask, ids.shape[1])
    cache = transformers.DynamicCache()  # made without a configuration it keeps every token, sliding window or not
    rows = len(ids)
    kept = {"past_key_values": cache, "use_cache": True} if model.anatomy.keeps else {"use_cache": False}
    began = time.perf_counter()
    with torch.no_grad():
        with model.nn.trace(input_ids=ids, **kept, **also) as tracer:
            states = nnsight.save([])
            attention = nnsight.save([])
            mlp = nnsight.save([])
            tuples = nnsight.save([])
            model.nn.embedding.output = model.nn.embedding.output + added
            states.append(model.nn.blocks[0].input)
            for block in model.nn.blocks:
                if model.anatomy.attention:
                    attention.append(tensor_of(block.attention.output, rows)[0].clone())
                if model.anatomy.mlp:
                    mlp.append(tensor_of(block.mlp.output, rows)[0].clone())
                states.append(tensor_of(block.output, rows))
                tuples.append(isinstance(block.output, tuple))
            tracer.stop()  # before the unembedding, which is wanted for one token only
        if states[-1].is_cuda:
            torch.cuda.synchronize()
    complete = len(cache.layers) == len(tuples) and all(layer.get_seq_length() for layer in cache.layers)
    return Run(
        ids=ids,
        added=added,
        states=list(states),
        parts={"attention": list(attention), "mlp": list(mlp)},
        keys=[layer.keys for layer in cache.layers] if complete else [],
        values=[layer.values for layer in cache.layers] if complete else [],
        tuples=list(tuples),
        seconds=time.perf_counter() - began,
        mask=mask,
    )
