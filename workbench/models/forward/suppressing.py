"""Runs of a text in which later tokens may not attend to some of its tokens, and what heads of a run attend to.

The eager kernel is given masks that are added to what is attended to, sliding windows included; what may not be
attended to is put into them where each layer's attention reads its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.lazy import torch
from workbench.models.heads import eager, weights_in

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.loading import LoadedModel


def logits_without(model: LoadedModel, ids: Sequence[int], start: int = 0, stop: int = 0) -> Tensor:
    """The logits after every token ``(tokens, vocabulary)`` where those from ``stop`` on do not see [start, stop).

    The other attention weights grow to 1 together. Raises `ModelError` for a model whose attention reads no mask.
    """
    tokens = torch.tensor([list(ids)], device=model.hf.device)
    with eager(model.hf), _unattended(model, len(ids), start, stop), torch.no_grad():
        logits: Tensor = model.hf(input_ids=tokens, use_cache=False).logits[0]
    return logits


def each_layers_weights(model: LoadedModel, ids: Sequence[int], look: Callable[[int, Tensor], None]) -> None:
    """Run a text, and give ``look`` each layer with its attention weights ``(heads, tokens, tokens)`` as it goes.

    Raises `ModelError` for a model without heads.
    """
    tokens = torch.tensor([list(ids)], device=model.hf.device)
    path = model.heads.weights
    with ExitStack() as hooks, eager(model.hf), torch.no_grad():
        for layer, block in enumerate(model.block_modules):

            def after(_module: Module, _args: Any, output: Any, layer: int = layer) -> None:
                if (weights := weights_in(output)) is not None:
                    look(layer, weights[0])

            hooks.callback(block.get_submodule(path).register_forward_hook(after).remove)
        model.hf(input_ids=tokens, use_cache=False)


@contextmanager
def _unattended(model: LoadedModel, tokens: int, start: int, stop: int) -> Iterator[None]:
    """While it lasts, what each layer adds to its attention scores forbids some."""
    seen = 0

    def before(_module: Module, args: Any, kwargs: Any) -> Any:
        nonlocal seen

        def with_it(value: Any) -> Any:
            nonlocal seen
            if not (isinstance(value, torch.Tensor) and value.ndim == 4 and value.shape[-2:] == (tokens, tokens)):
                return value
            seen += 1
            value = value.clone()
            if value.dtype is torch.bool:
                value[..., stop:, start:stop] = False
            else:
                value[..., stop:, start:stop] = torch.finfo(value.dtype).min
            return value

        return tuple(map(with_it, args)), {name: with_it(value) for name, value in kwargs.items()}

    with ExitStack() as hooks:
        path = model.heads.weights
        for block in model.block_modules:
            hook = block.get_submodule(path).register_forward_pre_hook(before, with_kwargs=True)
            hooks.callback(hook.remove)
        yield
    if seen != len(model.block_modules):
        raise ModelError(
            f"the attention of {model.info.name} is given {seen} masks in {len(model.block_modules)} layers, so that "
            "none of it can be suppressed; use another model"
        )
