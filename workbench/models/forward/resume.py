"""Runs that leave a recorded run in its middle, with only the work that such a run still needs.

A `Branch` is a recorded run with something replaced at one token: nothing below its first changed layer, and no
earlier token, is different, so `Resumed` goes on from there with the recorded keys and values of the tokens before.
`CompleteRuns` computes the same by complete runs. This is the one place that calls a model's blocks directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from workbench.lazy import nnsight, torch, transformers
from workbench.memory import LARGEST_KEPT, in_batches, is_out_of_memory, keep_freed_memory
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.forward.padding import padding_arguments
from workbench.models.forward.runs import PARTS, LogitMeasure, Part, Run

if TYPE_CHECKING:
    from torch.nn import Module

    from workbench.loading import LoadedModel

CPU_BUDGET = 128 * 2**20
"""Bytes of one batch of branches on a CPU: larger ones are no faster, and smaller ones show more."""

LOGITS_BUDGET = LARGEST_KEPT - 2**20
"""Bytes of logits held at once: few enough for their memory to be kept when they are freed."""

PARITY = {"float32": 1e-4}
"""Largest relative difference at which a resumed run passes as the same as an unbroken one, by dtype."""

PARITY_OF_HALF = 0.1
"""The same in half precision, where another order of additions alone makes a few per cent."""

NOT_ALONE = (TypeError, ValueError, LookupError, AttributeError, RuntimeError)
"""What blocks raise that cannot be called as they are here."""


@dataclass(frozen=True, eq=False)
class Branch:
    """A recorded run with something replaced at one token.

    ``start`` is the first block that has to be run again (the number of layers: none). ``state`` ``(d_model,)``
    stands in place of that block's input at the token; ``outputs`` ``(d_model,)``, by part and layer, in place of what
    that contributes.
    """

    start: int
    state: torch.Tensor | None = None
    outputs: Mapping[tuple[Part, int], torch.Tensor] = field(default_factory=dict)


class Branching(Protocol):
    """A way to compute branches."""

    def values(self, token: int, branches: Sequence[Branch], read: LogitMeasure) -> Iterator[dict[int, list[float]]]:
        """What is read after the last token of branches that leave at ``token``.

        Yields, batch by batch, one number a row for each branch of the batch, by its index in ``branches``.
        """


def branching(model: LoadedModel, run: Run, token: int) -> tuple[Branching, str, bool]:
    """The fast way to compute branches of ``run``, or the plain one where that fails its check at ``token``.

    Also a sentence part that says which it is and why, and whether it is the fast one.
    """
    if not run.keys:
        return CompleteRuns(model, run), "plain, as the blocks keep no keys and values", False
    resumed = Resumed(model, run)
    enough = PARITY.get(model.info.dtype, PARITY_OF_HALF)
    try:
        parity = resumed.parity(token)
    except NOT_ALONE as error:
        if is_out_of_memory(error):
            raise
        return CompleteRuns(model, run), f"plain, as the blocks cannot be called alone ({type(error).__name__})", False
    if parity <= enough:
        with suppress(*NOT_ALONE):  # then they do all of the last block
            shortened = resumed.shortened()
            if shortened.parity(token) <= enough:
                resumed = shortened
        return resumed, f"resumed, parity {parity:.0e}", True
    return CompleteRuns(model, run), f"plain, as resumed runs are off by {parity:.0e}", False


class Resumed:
    """Computes branches by going on from the middle of ``run``.

    The arguments of the blocks (masks, positions, whatever an architecture passes) are those that the model itself
    makes when the tokens before are cached: its forward is called with blocks that only note their arguments.
    """

    def __init__(self, model: LoadedModel, run: Run) -> None:
        self._model = model
        self._run = run
        self._rows = len(run.ids)
        self._blocks = model.block_modules
        self._noted: tuple[int, list[_Call]] | None = None
        self._shortened = False
        if run.ids.device.type == "cpu":
            keep_freed_memory()

    def only(self, rows: torch.Tensor) -> Resumed:
        """Some of the rows, by a mask. How blocks are called depends on them only where some are padded."""
        other = Resumed(self._model, self._run.rows(rows))
        other._noted = self._noted if self._run.mask is None else None
        other._shortened = self._shortened
        return other

    def shortened(self) -> Resumed:
        """The same with the last block's MLP run on the last token alone, as nothing reads what it adds elsewhere.

        Whether a block bears that is for `parity` to say: it adds the MLP's output for one token to the states of
        several, of which all but the last come out wrong.
        """
        other = Resumed(self._model, self._run)
        other._noted, other._shortened = self._noted, True
        return other

    def parity(self, token: int) -> float:
        """How far the first row, resumed at ``token`` with nothing replaced, is off: largest relative difference.

        Raises whatever an architecture raises whose blocks cannot be called like this.
        """
        one = Resumed(self._model, self._run.rows(slice(0, 1)))
        one._shortened = self._shortened
        expected = self._run.states[-1][:1, -1]
        with torch.no_grad():
            found = one._last_states(token, [Branch(start=0)])[0]
        return float((found - expected).abs().max() / expected.abs().max())

    def values(self, token: int, branches: Sequence[Branch], read: LogitMeasure) -> Iterator[dict[int, list[float]]]:
        """See `Branching`. Branches that start next to each other go through the blocks together."""
        by_start = sorted(range(len(branches)), key=lambda i: branches[i].start)
        found: dict[int, list[float]] = {}

        def work(indices: list[int]) -> None:
            with torch.no_grad():
                states = self._last_states(token, [branches[i] for i in indices])
                rows_each = max(1, LOGITS_BUDGET // (4 * self._model.info.vocabulary))
                split = torch.split(states.flatten(0, 1), rows_each)
                numbers = [read(self._model.unembed(some)) for some in split]
            found.update(zip(indices, torch.cat(numbers).view(-1, self._rows).tolist(), strict=True))

        size, bytes_each = self.batch(token)
        for _ in in_batches(by_start, size, work, bytes_each):
            yield dict(found)
            found.clear()

    def entry(self, layer: int, token: int) -> torch.Tensor:
        """The recorded input of a block, at ``token`` and those after, ``(rows, tokens, d_model)``."""
        return self._run.states[layer][:, token:]

    def _last_states(self, token: int, branches: Sequence[Branch]) -> torch.Tensor:
        """States after the last block at the last token ``(branches, rows, d_model)``; starts must be ascending."""
        hidden = self._run.states[0][:0, token:]
        joined = 0
        for layer in range(branches[0].start, len(self._blocks) + 1):
            joining = [branch for branch in branches[joined:] if branch.start == layer]
            hidden = torch.cat([hidden, *(self._entry(token, branch) for branch in joining)])
            joined += len(joining)
            if layer < len(self._blocks):
                last = self._shortened and layer == len(self._blocks) - 1 and hidden.shape[1] > 1
                parts = ("attention",) if last else PARTS  # there, nothing reads the MLP at the token of the branch
                with self._replacing(layer, branches[:joined], parts), self._on_the_last_token(layer, last):
                    hidden = self.block(layer, token, hidden)
        return hidden[:, -1].view(len(branches), self._rows, -1)

    def _entry(self, token: int, branch: Branch) -> torch.Tensor:
        """The input of a branch's first block, at its own token and those after."""
        states = self._run.states[branch.start][:, token:]
        if branch.state is not None:
            states = states.clone()
            states[:, 0] = branch.state
        return states

    def block(self, layer: int, token: int, hidden: torch.Tensor) -> torch.Tensor:
        """Run one block on ``hidden`` ``(branches x rows, tokens, d_model)``, with the recorded tokens before it.

        Gradients are kept, for hooks that replace something on the way.
        """
        call = self._calls(token)[layer]
        copies = len(hidden) // self._rows
        memory = call.cache.layers[layer]
        memory.keys = _repeated(self._run.keys[layer][:, :, :token], copies)
        memory.values = _repeated(self._run.values[layer][:, :, :token], copies)
        args, kwargs = call.arguments(hidden)
        output = self._blocks[layer](*args, **kwargs)
        memory.keys = memory.values = None  # the block put its own tokens after them
        return tensor_of(output, len(hidden))

    def memory(self, layer: int, token: int) -> Any:
        """The keys and values of a layer while its block runs, those of its own tokens included once they are made."""
        return self._calls(token)[layer].cache.layers[layer]

    @contextmanager
    def _on_the_last_token(self, layer: int, alone: bool) -> Iterator[None]:
        """While a block runs, let its MLP see the last token ``alone``."""
        with ExitStack() as hooks:
            if alone:
                hooks.callback(self._model.mlp(layer).register_forward_pre_hook(_last_token).remove)
            yield

    @contextmanager
    def _replacing(self, layer: int, branches: Sequence[Branch], parts: Sequence[Part]) -> Iterator[None]:
        """While a block runs, put the branches' outputs in place of what its attention or MLP contributes."""
        with ExitStack() as hooks:
            for part in parts:
                changed = [i for i, branch in enumerate(branches) if (part, layer) in branch.outputs]
                if changed:
                    outputs = torch.stack([branches[i].outputs[part, layer] for i in changed])
                    module = getattr(self._model, part)(layer)
                    handle = module.register_forward_hook(_replace(changed, outputs, len(branches), self._rows))
                    hooks.callback(handle.remove)
            yield

    def _calls(self, token: int) -> list[_Call]:
        if self._noted is None or self._noted[0] != token:
            cache = transformers.DynamicCache()
            for layer in range(len(self._blocks)):  # of which only the length is looked at
                cache.update(self._run.keys[layer][:1, :, :token], self._run.values[layer][:1, :, :token], layer)
            if (mask := self._run.mask) is not None:  # each row has its own
                ids = self._run.ids[:, token:]
                noted = self._note(ids, cache, **padding_arguments(self._model, mask, ids.shape[1]))
                self._noted = token, [_Call(cache, each, each) for each in noted]
                return self._noted[1]
            # What grows with the number of rows is seen by comparing one with two.
            one, two = (self._note(self._run.ids[:1, token:].expand(rows, -1), cache) for rows in (1, 2))
            self._noted = token, [_Call(cache, *each) for each in zip(one, two, strict=True)]
        return self._noted[1]

    def _note(self, ids: torch.Tensor, cache: Any, **also: Any) -> list[tuple[Any, Any]]:
        """The arguments with which the model calls each of its blocks on ``ids`` after ``cache``."""
        noted: list[tuple[Any, Any]] = []

        def stand_in(returns_tuple: bool) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                noted.append((args, kwargs))
                hidden = args[0] if args else kwargs["hidden_states"]
                return (hidden, None) if returns_tuple else hidden

            return forward

        with ExitStack() as undo, torch.no_grad():
            for block, returns_tuple in zip(self._blocks, self._run.tuples, strict=True):
                undo.enter_context(_forward_replaced(block, stand_in(returns_tuple)))
            self._model.hf.base_model(input_ids=ids, past_key_values=cache, use_cache=True, **also)
        return noted

    def batch(self, token: int) -> tuple[int, int]:
        """How many branches that leave at a token go through the blocks together, and the bytes that one takes."""
        bytes_each = self._bytes_each(token)
        return max(1, _budget(self._run.ids.device) // bytes_each), bytes_each

    def _bytes_each(self, token: int) -> int:
        """About what one branch takes: states and MLP of its own tokens, keys and values of all, scores."""
        info, anatomy = self._model.info, self._model.anatomy
        own = self._run.tokens - token
        heads = anatomy.heads
        numbers = own * (8 * info.d_model + 4 * anatomy.d_mlp) + self._run.tokens * (4 * info.d_model + heads * own)
        return int(self._rows * numbers * self._run.states[0].element_size())


@dataclass(frozen=True, eq=False)
class _Call:
    """How the model calls one block after ``cache``: positional and named arguments, with one row and with two.

    Where rows are padded both are those with all rows.
    """

    cache: Any
    one: tuple[Any, Any]
    two: tuple[Any, Any]

    def arguments(self, hidden: torch.Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments for as many rows as ``hidden`` has, with it in its place."""
        (args, kwargs), (args_of_two, kwargs_of_two) = self.one, self.two
        named = {name: _widened(kwargs[name], kwargs_of_two[name], len(hidden)) for name in kwargs}
        if not args:
            return (), {**named, "hidden_states": hidden}
        rest = (_widened(one, two, len(hidden)) for one, two in zip(args[1:], args_of_two[1:], strict=True))
        return (hidden, *rest), named


def _widened(one: Any, two: Any, rows: int) -> Any:
    """An argument for many rows, given what it is for one and for two."""
    if isinstance(one, tuple):
        return tuple(_widened(a, b, rows) for a, b in zip(one, two, strict=True))
    if isinstance(one, torch.Tensor) and one.shape != two.shape:
        return one.expand(rows, *one.shape[1:]) if len(one) == 1 else one.repeat(rows, *[1] * (one.ndim - 1))
    return one


def _repeated(tensor: torch.Tensor, copies: int) -> torch.Tensor:
    """``(rows, ...)`` as ``(copies x rows, ...)``."""
    return tensor.expand(copies, *tensor.shape).flatten(0, 1)


def _last_token(_module: Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """A forward pre-hook."""
    return args[0][:, -1:], *args[1:]


def _replace(changed: list[int], outputs: torch.Tensor, branches: int, rows: int) -> Any:
    """A forward hook that puts ``outputs`` at the first token of the branches ``changed``."""

    def hook(_module: Module, _args: Any, output: Any) -> Any:
        states = tensor_of(output, branches * rows).clone()
        states.view(branches, rows, *states.shape[1:])[changed, :, 0] = outputs[:, None]
        return with_tensor(output, states)

    return hook


@contextmanager
def _forward_replaced(module: Module, forward: Callable[..., Any]) -> Iterator[None]:
    own = vars(module).get("forward")  # nnsight has put one there already
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


def _budget(device: torch.device) -> int:
    """Bytes for one batch: a quarter of what is free on a GPU."""
    if device.type != "cuda":
        return CPU_BUDGET
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (torch.cuda.mem_get_info(device)[0] + held) // 4


class CompleteRuns:
    """Computes branches the long way, one complete run of the model for each: for models that cannot be resumed."""

    def __init__(self, model: LoadedModel, run: Run) -> None:
        self._model = model
        self._run = run

    def values(self, token: int, branches: Sequence[Branch], read: LogitMeasure) -> Iterator[dict[int, list[float]]]:
        """See `Branching`."""
        for index, branch in enumerate(branches):
            yield {index: read(self._logits(token, branch)).tolist()}

    def _logits(self, token: int, branch: Branch) -> torch.Tensor:
        """The model's logits after the last token of one branch, ``(rows, vocabulary)``."""
        nn, rows = self._model.nn, len(self._run.ids)
        with torch.no_grad():
            with nn.trace(input_ids=self._run.ids, use_cache=False):
                nn.embedding.output = nn.embedding.output + self._run.added
                if branch.state is not None and branch.start == 0:
                    nn.blocks[0].input[:, token] = branch.state
                for layer, block in enumerate(nn.blocks):
                    if ("attention", layer) in branch.outputs:
                        tensor_of(block.attention.output, rows)[:, token] = branch.outputs["attention", layer]
                    if ("mlp", layer) in branch.outputs:
                        tensor_of(block.mlp.output, rows)[:, token] = branch.outputs["mlp", layer]
                    if branch.state is not None and layer == branch.start - 1:
                        tensor_of(block.output, rows)[:, token] = branch.state
                logits: torch.Tensor = nnsight.save(nn.output.logits[:, -1])
        return logits
