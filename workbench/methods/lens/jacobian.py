"""The Jacobian lens: the average Jacobian of the final residual stream with respect to that after each layer.

The estimator is that of Gurnee et al. 2026, "Verbalizable Representations Form a Global Workspace in Language Models",
and its published code: for each output dimension one way back from all target tokens of a text at once, so that the
gradient at a token is the sum over itself and the tokens after it; the mean is over source tokens and texts. The first
tokens of a text, where attention rests, and the last are neither source nor target.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import NotConfirmed
from workbench.files import write_atomically
from workbench.lazy import torch
from workbench.memory import ByDevice
from workbench.methods.lens.translators import Translators, lens_file
from workbench.models.anatomy import tensor_of
from workbench.protocol import Progress
from workbench.reading import Unreadable, tensors_of

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

SKIPPED = 16
"""Tokens at the beginning of each text that are left out, as published; of short texts at most a quarter."""

AT_ONCE = ByDevice(cpu=8, elsewhere=32)
"""Output dimensions of one way back, by kind of device."""

LONG = 600.0
"""Seconds beyond which a fit has to be confirmed."""


def check_cost(model: LoadedModel, texts: int, tokens: int) -> None:
    """Raise `NotConfirmed`, with the time that it would take, where a fit to so many texts is long.

    One way back is timed, on a text of so many tokens.
    """
    at_once = AT_ONCE[model.hf.device.type]
    taken: list[float] = []

    def stop(_dimensions: int, seconds: float) -> None:
        taken.append(seconds)
        raise _Timed

    with suppress(_Timed):
        jacobians(model, torch.arange(tokens) % model.info.vocabulary, at_once, stop)
    seconds = taken[0] * -(-model.info.d_model // at_once) * texts
    if seconds > LONG:
        raise NotConfirmed(
            f"fitting the Jacobian lens on {texts} texts of {tokens} tokens would take about {seconds / 3600:.1f} "
            f"hours here, as it goes back through the model once for each {at_once} of {model.info.d_model} "
            "dimensions; fewer tokens, or a GPU, take less"
        )


def fit_jacobian(model: LoadedModel, text: Tensor, progress: Progress) -> Translators:
    """Fit every row but the last on texts ``(rows, tokens)``; go on where a fit to the same texts was stopped."""
    checkpoint = _Checkpoint(model, text)
    sums, done = checkpoint.read()
    width = model.info.d_model
    at_once = AT_ONCE[model.hf.device.type]

    def report(of_text: int, dimensions: int, _seconds: float) -> None:
        progress(of_text * width + dimensions, len(text) * width, stage="Jacobians")

    for row in range(done, len(text)):
        report(row, 0, 0.0)
        found = jacobians(model, text[row], at_once, partial(report, row))
        sums = found if sums is None else sums + found
        checkpoint.write(sums, row + 1)
    assert sums is not None, "there is text"
    checkpoint.remove()
    weights = dict(enumerate((sums / len(text)).unbind()))
    return Translators(weights, {layer: torch.zeros(width) for layer in weights})


class _Timed(Exception):
    """Ends a run of which one step was to be timed."""


def jacobians(model: LoadedModel, ids: Tensor, at_once: int, report: Callable[[int, float], None]) -> Tensor:
    """``(layers, d_model, d_model)`` of one text ``(tokens,)``: row i of each is the gradient of output dimension i.

    ``report`` is told the dimensions that are done, and the seconds of the last way back.
    """
    width, layers = model.info.d_model, model.info.layers
    valid = valid_tokens(len(ids))
    found = torch.zeros(layers, width, width)
    with torch.enable_grad():
        states = _with_gradients(model, ids[None].expand(min(at_once, width), -1))
        for first in range(0, width, at_once):
            some = range(first, min(first + at_once, width))
            cotangent = torch.zeros_like(states[-1])
            for place, dimension in enumerate(some):
                cotangent[place, valid, dimension] = 1
            began = time.perf_counter()
            more = some.stop < width
            gradients = torch.autograd.grad(states[-1], states[:-1], cotangent, retain_graph=more)
            for layer, gradient in enumerate(gradients):
                found[layer, some.start : some.stop] = gradient[: len(some), valid].float().mean(dim=1).cpu()
            report(some.stop, time.perf_counter() - began)
    return found


def valid_tokens(tokens: int) -> slice:
    """The tokens of a text that are source and target."""
    return slice(min(SKIPPED, tokens // 4), max(tokens - 1, 1))


def _with_gradients(model: LoadedModel, ids: Tensor) -> list[Tensor]:
    """The residual stream ``(rows, tokens, d_model)``, embedding first, from which one can go back to each."""
    states: list[Tensor] = []

    def begin(_module: Any, args: Any, kwargs: Any) -> Any:
        states.append((args[0] if args else kwargs["hidden_states"]).detach().requires_grad_())
        return ((states[0], *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states[0]})

    def keep(_module: Any, _args: Any, output: Any) -> None:
        states.append(tensor_of(output, len(ids)))

    with ExitStack() as hooks:
        hooks.callback(model.block_modules[0].register_forward_pre_hook(begin, with_kwargs=True).remove)
        for block in model.block_modules:
            hooks.callback(block.register_forward_hook(keep).remove)
        model.hf.base_model(input_ids=ids.to(model.hf.device), use_cache=False)
    return states


class _Checkpoint:
    """What a fit has come to, which is kept after each text: some take a night."""

    def __init__(self, model: LoadedModel, text: Tensor) -> None:
        name = hashlib.sha256(text.numpy().tobytes()).hexdigest()[:16]
        self._path: Path = lens_file(model, "jacobian").with_suffix(f".{name}.part")
        self._shape = (model.info.layers, model.info.d_model, model.info.d_model)

    def read(self) -> tuple[Tensor | None, int]:
        """The sum over texts, and how many these are."""
        try:
            with tensors_of(self._path) as file:
                sums, done = file.get_tensor("sums"), int((file.metadata() or {}).get("done", "0"))
        except (Unreadable, ValueError):
            return None, 0
        return (sums, done) if tuple(sums.shape) == self._shape and done > 0 else (None, 0)

    def write(self, sums: Tensor, done: int) -> None:
        from safetensors.torch import save

        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, save({"sums": sums}, {"done": str(done)}))

    def remove(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
