"""Many texts carried through a model together, one block after the other.

What is fitted on the states after one block can so change them before the next block runs, and all layers together
cost one forward of all texts. This is the second place, beside ``resume.py``, that calls a model's blocks directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError, OutOfMemory
from workbench.lazy import torch
from workbench.memory import ByDevice, is_out_of_memory
from workbench.models.anatomy import tensor_of
from workbench.models.forward.resume import PARITY, PARITY_OF_HALF, _forward_replaced
from workbench.protocol import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

TOKENS_AT_ONCE = ByDevice(cpu=2048, elsewhere=32768)
"""Tokens of one batch, by kind of device: on a CPU larger ones are no faster."""

Arguments = list[tuple[Any, Any]]
"""How each block is called, but for the states: positional and named arguments."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Texts of one length in tokens: their places among all texts, and their ids ``(rows, tokens)``."""

    places: tuple[int, ...]
    ids: Tensor


class Layerwise:
    """The texts' residual stream after one layer, and the way to the next one.

    ``states`` has an entry ``(rows, tokens, d_model)`` for each of ``batches``, in the model's dtype and in the
    computer's own memory; they may be replaced. ``layer`` is the block that they stand after, −1 the embedding.
    Texts share a batch only with texts of the same length, so nothing is padded.
    """

    def __init__(self, model: LoadedModel, texts: Sequence[Sequence[int]], progress: Progress = silent) -> None:
        """Begin at the embedding of texts that are given as token ids.

        Raises `ModelError` for a model whose blocks cannot be called by themselves, `OutOfMemory`.
        """
        self.model = model
        self.layer = -1
        self.batches = tuple(_batches(model, texts))
        self.states: list[Tensor] = []
        self.parity = 0.0
        """How far the blocks called here are off the model's own forward: largest relative difference."""
        self._blocks = model.block_modules
        self._arguments: dict[tuple[int, ...], Arguments] = {}
        with _enough_memory():
            returns_tuple, last = _own_forward(model, self.batches[-1].ids[:1], model.info.layers - 1)
            for done, batch in enumerate(self.batches):
                progress(done, len(self.batches), stage="embedding")
                self.states.append(self._begin(batch, returns_tuple))
            self._check(last)

    def fork(self) -> Layerwise:
        """The same states, to be carried on by themselves."""
        other = object.__new__(Layerwise)
        vars(other).update(vars(self) | {"states": list(self.states)})
        return other

    def advance(self) -> Iterator[int]:
        """Run the next block on all texts, and yield the number of tokens that are done after each batch."""
        block, done = self._blocks[self.layer + 1], 0
        for index, batch in enumerate(self.batches):
            with torch.no_grad(), _enough_memory():
                self.states[index] = self._call(block, self.layer + 1, self.states[index])
            done += batch.ids.numel()
            yield done
        self.layer += 1

    def map(self, change: Callable[[Tensor], Tensor]) -> None:
        """Replace all states by what ``change`` makes of them, on the model's device."""
        device = self.model.hf.device
        with torch.no_grad(), _enough_memory():
            self.states = [change(states.to(device)).cpu() for states in self.states]

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(batch.ids.numel() for batch in self.batches)

    def _begin(self, batch: Batch, returns_tuple: Sequence[bool]) -> Tensor:
        """The first block's input; on the way it is noted how the model calls each block on texts of this shape."""
        hidden, arguments = _noted(self.model, batch.ids, returns_tuple)
        self._arguments.setdefault(tuple(batch.ids.shape), arguments)
        return hidden.cpu()

    def _call(self, block: Any, layer: int, states: Tensor) -> Tensor:
        args, kwargs = self._arguments[tuple(states.shape[:2])][layer]
        hidden = states.to(self.model.hf.device)
        output = block(hidden, *args[1:], **kwargs) if args else block(hidden_states=hidden, **kwargs)
        return tensor_of(output, len(hidden)).cpu()

    def _check(self, last: Tensor) -> None:
        """Compare with the model's own forward on one of the longest texts, where a sliding window shows."""
        states = self.states[-1]
        try:
            for layer, block in enumerate(self._blocks):
                with torch.no_grad():
                    states = self._call(block, layer, states)
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(
                f"the blocks of {self.model.info.name} cannot be called by themselves ({type(error).__name__}), "
                "which fitting layer by layer needs; use another architecture"
            ) from error
        self.parity = off_by(states[:1], last)
        bound = PARITY.get(self.model.info.dtype, PARITY_OF_HALF)
        if not self.parity <= bound:  # nor where it is no number
            float32 = "" if self.model.info.dtype == "float32" else "--dtype float32 or "
            raise ModelError(
                f"the blocks of {self.model.info.name}, called one by one, are off "
                f"by {self.parity:.0e} from its own forward; use {float32}another architecture"
            )


def _batches(model: LoadedModel, texts: Sequence[Sequence[int]]) -> Iterator[Batch]:
    most = TOKENS_AT_ONCE[model.hf.device.type]
    by_length: dict[int, list[int]] = {}
    for place, ids in enumerate(texts):
        by_length.setdefault(len(ids), []).append(place)
    for length, places in sorted(by_length.items()):
        rows = max(1, most // length)
        for begin in range(0, len(places), rows):
            some = tuple(places[begin : begin + rows])
            yield Batch(some, torch.tensor([list(texts[place]) for place in some]))


def states_after(model: LoadedModel, ids: Tensor, layer: int) -> Tensor:
    """The residual stream ``(rows, tokens, d_model)`` after a layer in the model's own forward on ``ids``."""
    return _own_forward(model, ids, layer)[1]


def off_by(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a part of the largest value."""
    return float((found.float() - expected.float()).abs().max() / expected.float().abs().max())


def _own_forward(model: LoadedModel, ids: Tensor, layer: int) -> tuple[list[bool], Tensor]:
    """Which blocks return tuples, and the residual stream after one of them, in the model's own forward on ``ids``."""
    outputs: list[Any] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        outputs.append(
            (isinstance(output, tuple), tensor_of(output, len(ids)).cpu() if len(outputs) == layer else None)
        )

    with ExitStack() as hooks, torch.no_grad():
        for block in model.block_modules:
            hooks.callback(block.register_forward_hook(keep).remove)
        model.hf.base_model(input_ids=ids.to(model.hf.device), use_cache=False)
    return [returns_tuple for returns_tuple, _ in outputs], outputs[layer][1]


def _noted(model: LoadedModel, ids: Tensor, returns_tuple: Sequence[bool]) -> tuple[Tensor, Arguments]:
    """The first block's input, and the arguments with which the model calls each of its blocks on ``ids``.

    The model's forward is run with blocks that only note them.
    """
    noted: Arguments = []
    inputs: list[Tensor] = []

    def stand_in(as_tuple: bool) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            hidden = args[0] if args else kwargs.pop("hidden_states")
            inputs.append(hidden)
            noted.append(((None, *args[1:]) if args else (), kwargs))
            return (hidden, None) if as_tuple else hidden

        return forward

    with ExitStack() as undo, torch.no_grad():
        for block, as_tuple in zip(model.block_modules, returns_tuple, strict=True):
            undo.enter_context(_forward_replaced(block, stand_in(as_tuple)))
        model.hf.base_model(input_ids=ids.to(model.hf.device), use_cache=False)
    return inputs[0], noted


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(
            "out of memory while all texts' states are held; use fewer or shorter texts, --dtype bfloat16 or "
            "--device cpu"
        ) from error
