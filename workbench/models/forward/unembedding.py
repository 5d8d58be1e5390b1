"""What the model predicts after chosen tokens of many texts, with no more unembedded than is asked for.

What all texts begin with, such as the text of an edit in context, is run once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.lazy import nnsight, torch, transformers
from workbench.memory import ByDevice, in_batches, is_out_of_memory
from workbench.models.anatomy import tensor_of
from workbench.models.forward.prefixes import shared_beginning
from workbench.models.forward.resume import PARITY, PARITY_OF_HALF

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

LOGITS_BUDGET = 32 * 2**20
"""Bytes of logits held at once."""

TOKENS_AT_ONCE = ByDevice(cpu=1024, elsewhere=16384)
"""Tokens of one batch. On two cores larger batches are no faster, and smaller ones stop sooner when cancelled."""

SHARED = 32
"""Tokens that all texts must begin with for these to be run once, and what is kept of them to be copied for each."""

KEPT_AT_ONCE = 8
"""Tokens whose keys and values are copied, for each of a batch's own: beyond, copying takes as long as computing."""


@dataclass(frozen=True)
class TextRow:
    """One text, and the positions in it after which a prediction is read."""

    ids: tuple[int, ...]
    positions: tuple[int, ...]


RowPosition = tuple[int, int]
"""The index of a row and a position in it."""

TakePredictions = Callable[[Sequence[RowPosition], "Tensor"], None]
"""Takes some places and the log probabilities after them, ``(places, vocabulary)`` in float32.

Where memory runs out a batch begins again in smaller ones, and places are taken again: do not add up, put down.
"""


def read_predictions(model: LoadedModel, rows: Sequence[TextRow], read: TakePredictions) -> Iterator[list[int]]:
    """Call ``read`` for all places of all rows, and yield the indices of the rows of each batch that is done.

    Rows of like length share a batch, padded on the right, where a causal model cannot see it. Raises
    `NumericalError` for NaN logits, `OutOfMemory` where a single row does not fit.
    """
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].ids))
    shared = _shared(model, rows)
    while order:
        size, longest = _batch_size(model, [len(rows[index].ids) for index in order], shared.tokens)
        batch, order = order[:size], order[size:]
        finished: list[int] = []

        def work(indices: list[int], finished: list[int] = finished) -> None:
            _read_batch(model, rows, indices, read, shared)
            finished += indices

        for _ in in_batches(batch, size, work, _bytes_each(model, longest)):
            yield list(finished)
            finished.clear()


@dataclass(frozen=True, eq=False)
class _Shared:
    """The keys and values of what all texts begin with, ``(1, heads, tokens, width)`` a layer; none for 0 tokens."""

    tokens: int = 0
    keys: Sequence[Tensor] = ()
    values: Sequence[Tensor] = ()

    def cache(self, rows: int) -> Any:
        """A cache that holds them for each of so many rows."""
        cache = transformers.DynamicCache()  # without a configuration it keeps every token, sliding window or not
        for layer, pair in enumerate(zip(self.keys, self.values, strict=True)):
            cache.update(*(each.expand(rows, -1, -1, -1) for each in pair), layer)
        return cache


def _shared(model: LoadedModel, rows: Sequence[TextRow]) -> _Shared:
    """What all rows begin with, before anything that is read; none where that is little or cannot be gone on from."""
    if len(rows) < 2:
        return _Shared()
    same = shared_beginning(min(row.ids for row in rows), max(row.ids for row in rows))
    tokens = min(same, *(min(row.positions) for row in rows))
    if tokens < SHARED or not model.anatomy.keeps:
        return _Shared()
    shortest = min((row.ids for row in rows), key=len)
    try:
        cache = transformers.DynamicCache()
        ids = torch.tensor([shortest[:tokens]], device=model.hf.device)
        with torch.no_grad():
            model.hf.base_model(input_ids=ids, past_key_values=cache, use_cache=True)
        shared = _Shared(tokens, [layer.keys for layer in cache.layers], [layer.values for layer in cache.layers])
        found = _last_states(model, [shortest, shortest], shared)[0]
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        return _Shared()
    expected = _last_states(model, [shortest])[0, tokens:]
    off = float((found - expected).abs().max() / expected.abs().max())
    return shared if off <= PARITY.get(model.info.dtype, PARITY_OF_HALF) else _Shared()


def _batch_size(model: LoadedModel, lengths: Sequence[int], shared: int) -> tuple[int, int]:
    """How many of the rows, shortest first, go together; and the length of the longest of these."""
    most = TOKENS_AT_ONCE[model.hf.device.type]
    size = 1
    while (
        size < len(lengths)
        and (size + 1) * (lengths[size] - shared) <= most
        and (size + 1) * shared <= KEPT_AT_ONCE * most
    ):
        size += 1
    return size, lengths[size - 1]


def _bytes_each(model: LoadedModel, tokens: int) -> int:
    anatomy = model.anatomy
    return 4 * (tokens * (8 * anatomy.d_model + 3 * anatomy.d_mlp) + model.info.vocabulary)


def _read_batch(
    model: LoadedModel, rows: Sequence[TextRow], indices: Sequence[int], read: TakePredictions, shared: _Shared
) -> None:
    chosen = [rows[index] for index in indices]
    states = _last_states(model, [row.ids for row in chosen], shared)
    places = [(at, position) for at, row in enumerate(chosen) for position in row.positions]
    wanted = states[[at for at, _ in places], [position - shared.tokens for _, position in places]]
    del states
    named = [(indices[at], position) for at, position in places]
    most = max(1, LOGITS_BUDGET // (4 * model.info.vocabulary))
    with torch.no_grad():
        for begin in range(0, len(named), most):
            logits = model.unembed(wanted[begin : begin + most]).float()
            if not bool(torch.isfinite(logits).all()):
                raise model.not_finite("the model's logits are")
            read(named[begin : begin + most], logits.log_softmax(dim=-1))


def _last_states(model: LoadedModel, ids: Sequence[tuple[int, ...]], shared: _Shared | None = None) -> Tensor:
    """The last block's output ``(rows, tokens, d_model)`` at the tokens that are not shared.

    What stands after a row's own tokens means nothing.
    """
    longest, device, first = max(map(len, ids)), model.hf.device, shared.tokens if shared else 0
    padded = torch.tensor([row[first:] + row[-1:] * (longest - len(row)) for row in ids], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
    kept = {"past_key_values": shared.cache(len(ids))} if shared and first else {}
    with torch.no_grad():
        with model.nn.trace(input_ids=padded, attention_mask=mask, use_cache=bool(kept), **kept) as tracer:
            last = model.nn.blocks[-1]
            states: Tensor = nnsight.save(tensor_of(last.output, len(ids)))
            tracer.stop()  # before the unembedding, which is wanted for a few positions only
    return states
