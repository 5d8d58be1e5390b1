"""What attention heads look at and what they write, and runs in which some of them do not.

Blocks are called by `Resumed` under the eager kernel, which returns attention weights; only those that are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.lazy import nnsight, torch
from workbench.memory import is_out_of_memory
from workbench.models.forward.resume import PARITY, PARITY_OF_HALF, Resumed
from workbench.models.forward.runs import record
from workbench.models.heads import eager, weights_in

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.loading import LoadedModel

ReadChange = Callable[["Attended"], Any]
"""From what a layer attended to, to what its output projection is to read ``(tokens, heads x head width)``."""


@dataclass(frozen=True, eq=False)
class Attended:
    """What the heads of one layer attended to, from some tokens on.

    ``weights`` is ``(heads, own tokens, tokens)``, ``values`` ``(heads, tokens, head width)`` (those that heads share
    are repeated), ``read`` ``(own tokens, heads, head width)`` what the output projection reads: their product.
    """

    weights: Tensor
    values: Tensor
    read: Tensor

    @property
    def misfit(self) -> float:
        """How far weights × values are from what the projection reads: largest relative difference."""
        made = torch.einsum("hqk,hkd->qhd", self.weights.float(), self.values.float())
        return float((made - self.read.float()).abs().max() / self.read.float().abs().max().clamp(min=1e-12))


class Attending:
    """One recorded run of a text, its heads, and runs that differ from it in them.

    ``parity`` is how far a block called alone, under the eager kernel, is off the run. Raises `ModelError` for a model
    without heads, or whose blocks cannot be called alone.
    """

    def __init__(self, model: LoadedModel, ids: tuple[int, ...]) -> None:
        self._model, self._heads = model, model.heads
        tokens = torch.tensor([ids], device=model.hf.device)
        with torch.no_grad():
            self.run = record(model, tokens, torch.zeros_like(model.embedding(tokens)))
        self.resumed = Resumed(model, self.run)
        self.tokens = len(ids)
        self.parity = self._parity()

    def _parity(self) -> float:
        why = "keep no keys and values"
        if self.run.keys:
            try:
                with eager(self._model.hf):
                    parity = self.resumed.parity(self.tokens - 1)
            except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
                if is_out_of_memory(error):
                    raise
                why = f"cannot be called alone ({type(error).__name__})"
            else:
                if parity <= PARITY.get(self._model.info.dtype, PARITY_OF_HALF):
                    return parity
                why = f"give something else when they are called alone (off by {parity:.0e})"
        raise ModelError(
            f"the attention of {self._model.info.name} cannot be taken apart, as its blocks {why}; use another model"
        )

    def layer(self, layer: int, token: int = 0) -> Attended:
        """What a layer's heads attended to at ``token`` and those after it, in the recorded run."""
        with eager(self._model.hf), torch.no_grad():
            return self._observed(layer, token, self.resumed.entry(layer, token))[0]

    def read(self) -> Tensor:
        """What the output projections read, ``(layers, tokens, heads, head width)``, by one more run."""
        return read_by_projections(self._model, self.run.ids)

    def changed(self, token: int, changes: dict[int, ReadChange]) -> Tensor:
        """The logits after the last token ``(vocabulary,)``, with what projections read changed, by layer.

        Nothing before ``token`` may be changed. A layer's change is made of what it attends to in the changed run.
        """
        last = len(self._model.block_modules)
        start = min(changes, default=last)
        hidden = self.resumed.entry(start, token)
        with eager(self._model.hf), torch.no_grad():
            for layer in range(start, last):
                if change := changes.get(layer):
                    attended, _ = self._observed(layer, token, hidden)
                    with self._reading(layer, change(attended)):
                        hidden = self.resumed.block(layer, token, hidden)
                else:
                    hidden = self.resumed.block(layer, token, hidden)
            logits: Tensor = self._model.unembed(hidden[0, -1])
        return logits

    def _observed(self, layer: int, token: int, hidden: Tensor) -> tuple[Attended, Tensor]:
        block, heads = self._model.block_modules[layer], self._heads
        seen: dict[str, Tensor] = {}

        def before(_module: Module, args: Any) -> None:
            seen["read"] = args[0].reshape(-1, heads.count, heads.width)
            seen["values"] = self.resumed.memory(layer, token).values[0]

        def after(_module: Module, _args: Any, output: Any) -> None:
            if (weights := weights_in(output)) is not None:
                seen["weights"] = weights[0]

        with ExitStack() as hooks:
            projection = self._model.output_projection(layer)
            hooks.callback(projection.register_forward_pre_hook(before).remove)
            hooks.callback(block.get_submodule(heads.weights).register_forward_hook(after).remove)
            output = self.resumed.block(layer, token, hidden)
        values = seen["values"].repeat_interleave(heads.count // len(seen["values"]), dim=0)
        return Attended(seen["weights"], values, seen["read"]), output

    @contextmanager
    def _reading(self, layer: int, read: Tensor) -> Iterator[None]:
        """While a block runs, its output projection reads something else."""

        def instead(_module: Module, args: Any) -> Any:
            return (read.reshape(args[0].shape).to(args[0].dtype), *args[1:])

        hook = self._model.output_projection(layer).register_forward_pre_hook(instead)
        try:
            yield
        finally:
            hook.remove()


def read_by_projections(model: LoadedModel, ids: Tensor) -> Tensor:
    """What the output projections read of a text ``(1, tokens)``: ``(layers, tokens, heads, head width)``.

    Raises `ModelError` for a model without heads.
    """
    heads = model.heads
    with torch.no_grad(), model.nn.trace(input_ids=ids, use_cache=False) as tracer:
        read = nnsight.save([])
        for block in model.nn.blocks:
            read.append(block.get(heads.output_projection).input[0].clone())
        tracer.stop()
    return torch.stack(list(read)).view(len(read), ids.shape[1], heads.count, heads.width)


def contribution(model: LoadedModel, layer: int, read: Tensor) -> Tensor:
    """What attention adds to the residual stream ``(n, d_model)`` where its projection reads ``(n, heads, width)``."""
    projection = model.output_projection(layer)
    with torch.no_grad():
        written: Tensor = projection(read.flatten(1))
        return model.attention(layer)(written) if model.heads.normed else written


def written_by_head(model: LoadedModel, layer: int, read: Tensor) -> tuple[Tensor, Tensor]:
    """What each head writes ``(n, heads, d_model)``, and W_O's bias ``(d_model,)``, before a norm that may follow.

    ``read`` ``(n, heads, width)`` is what the projection reads.
    """
    n, count, width = read.shape
    projection = model.output_projection(layer)
    with torch.no_grad():
        alone = torch.zeros(n * count + 1, count, width, dtype=read.dtype, device=read.device)
        heads = torch.arange(n * count, device=read.device)
        alone[heads, heads % count] = read.reshape(n * count, width)
        written = projection(alone.flatten(1)).double()
    return (written[:-1] - written[-1]).view(n, count, -1), written[-1]
