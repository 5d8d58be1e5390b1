"""What the model predicts after chosen tokens of many texts, with no more unembedded than is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import NumericalError
from workbench.lazy import nnsight, torch
from workbench.memory import in_batches
from workbench.models.anatomy import tensor_of

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

LOGITS_BUDGET = 32 * 2**20
"""Bytes of logits held at once."""

TOKENS_AT_ONCE = {"cpu": 1024}
"""Tokens of one batch. On two cores larger batches are no faster, and smaller ones stop sooner when cancelled."""

TOKENS_AT_ONCE_ELSEWHERE = 16384


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
    while order:
        size, longest = _batch_size(model, [len(rows[index].ids) for index in order])
        batch, order = order[:size], order[size:]
        finished: list[int] = []

        def work(indices: list[int], finished: list[int] = finished) -> None:
            _read_batch(model, rows, indices, read)
            finished += indices

        for _ in in_batches(batch, size, work, _bytes_each(model, longest)):
            yield list(finished)
            finished.clear()


def _batch_size(model: LoadedModel, lengths: Sequence[int]) -> tuple[int, int]:
    """How many of the rows, shortest first, go together; and the length of the longest of these."""
    most = TOKENS_AT_ONCE.get(model.hf.device.type, TOKENS_AT_ONCE_ELSEWHERE)
    size = 1
    while size < len(lengths) and (size + 1) * lengths[size] <= most:
        size += 1
    return size, lengths[size - 1]


def _bytes_each(model: LoadedModel, tokens: int) -> int:
    anatomy = model.anatomy
    return 4 * (tokens * (8 * anatomy.d_model + 3 * anatomy.d_mlp) + model.info.vocabulary)


def _read_batch(model: LoadedModel, rows: Sequence[TextRow], indices: Sequence[int], read: TakePredictions) -> None:
    chosen = [rows[index] for index in indices]
    states = _last_states(model, [row.ids for row in chosen])
    places = [(at, position) for at, row in enumerate(chosen) for position in row.positions]
    wanted = states[[at for at, _ in places], [position for _, position in places]]
    del states
    named = [(indices[at], position) for at, position in places]
    most = max(1, LOGITS_BUDGET // (4 * model.info.vocabulary))
    with torch.no_grad():
        for begin in range(0, len(named), most):
            logits = model.unembed(wanted[begin : begin + most]).float()
            if not bool(torch.isfinite(logits).all()):
                raise NumericalError(
                    f"the model's logits are not finite in {model.info.dtype}; load it with --dtype float32, or "
                    "switch off the edit that does this"
                )
            read(named[begin : begin + most], logits.log_softmax(dim=-1))


def _last_states(model: LoadedModel, ids: Sequence[tuple[int, ...]]) -> Tensor:
    """The last block's output ``(rows, tokens, d_model)``; what stands after a row's own tokens means nothing."""
    longest = max(map(len, ids))
    device = model.hf.device
    padded = torch.tensor([row + row[-1:] * (longest - len(row)) for row in ids], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
    with torch.no_grad():
        with model.nn.trace(input_ids=padded, attention_mask=mask, use_cache=False) as tracer:
            last = model.nn.blocks[-1]
            states: Tensor = nnsight.save(tensor_of(last.output, len(ids)))
            tracer.stop()  # before the unembedding, which is wanted for a few positions only
    return states
