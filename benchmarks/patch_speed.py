"""Patching between two prompts against a complete forward with a hook for every cell, in the same process.

python benchmarks/patch_speed.py                          the default model, a sample of the plain cells
python benchmarks/patch_speed.py --cells 0                every plain cell
python benchmarks/patch_speed.py --direction noising
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from workbench.case import Case
from workbench.errors import Cancelled
from workbench.loading import LoadedModel, load
from workbench.methods.patching.patching import PatchRequest, PatchResult, run
from workbench.models.anatomy import tensor_of
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import silent

CASE = Case(
    prompt="Laura lives in Berlin. Simon lives in Lisbon. To visit Laura, I took the train to",
    target="Berlin",
    foil="Lisbon",
    prepend="separator",
)
SOURCE = "Simon lives in Lisbon. Laura lives in Berlin. To visit Laura, I took the train to"
KINDS = ("states", "mlp", "attention", "heads")


def main() -> None:
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    clock: Callable[[], float] = time.process_time if options.cpu_time else time.perf_counter
    console = Console(width=None if sys.stdout.isatty() else 120)
    model = load(options.model, options.dtype, options.device)
    run(model, _request(options, "states"), silent)  # the first run of a process is slow
    table = Table("kind", "cells", "exact s", "ms a cell", "first picture s", "its r", "forward ms", "times faster")
    table.add_column("largest difference")
    for kind in options.kinds:
        table.add_row(kind, *_compare(model, _request(options, kind), options.cells, clock))
    console.print(f"{model.info.name}, {model.info.dtype} on {model.info.device}, {torch.get_num_threads()} threads")
    console.print(table)


def _compare(model: LoadedModel, request: PatchRequest, sample: int, clock: Callable[[], float]) -> tuple[str, ...]:
    first = _first_picture_seconds(model, request, clock)
    began = clock()
    result = run(model, request.model_copy(update={"estimate": False}), silent)
    exact = clock() - began
    whole = run(model, request, silent)
    plain: _Plain
    if result.heads is not None:
        values, r = result.heads.values, whole.heads.correlation if whole.heads else None
        cells = [(layer, head) for head in range(len(values[0])) for layer in range(len(values))]
        plain = _PlainHeads(model, result)
    else:
        (grid,), (r,) = result.grids, whole.correlations
        values, tokens = grid.values, len(grid.values[0])
        cells = [(layer, token) for token in result.partners for layer in range(len(values)) if token < tokens]
        plain = _Plain(model, result, grid.kind)
    chosen = cells[:: max(1, len(cells) // sample)] if sample else cells
    plain.value(*chosen[0])
    began = clock()
    found = [plain.value(*cell) for cell in chosen]
    forward = (clock() - began) / len(chosen)
    off = max(abs(value - (values[layer][at] or 0.0)) for value, (layer, at) in zip(found, chosen, strict=True))
    return (
        f"{len(cells)}",
        f"{exact:.2f}",
        f"{1000 * exact / len(cells):.1f}",
        f"{first:.2f}",
        f"{math.nan if r is None else r:.2f}",
        f"{1000 * forward:.0f}",
        f"{forward * len(cells) / exact:.1f}",
        f"{off:.0e}",
    )


def _first_picture_seconds(model: LoadedModel, request: PatchRequest, clock: Callable[[], float]) -> float:
    """From being asked to the first picture."""

    def stop(*reported: Any, **_: Any) -> None:
        if len(reported) == 3:
            raise Cancelled

    began = clock()
    with contextlib.suppress(Cancelled):
        run(model, request, stop)
    return clock() - began


class _Plain:
    """A complete forward for every cell, with one module's output replaced at one token."""

    def __init__(self, model: LoadedModel, result: PatchResult, kind: str) -> None:
        self._model, self._result = model, result
        self._modules = [
            {"states": model.block_modules[layer], "mlp": model.mlp(layer), "attention": model.attention(layer)}[kind]
            for layer in range(model.info.layers)
        ]
        self._given: list[torch.Tensor] = []
        hooks = [module.register_forward_hook(self._keep) for module in self._modules]
        self._difference(result.given.ids)
        for hook in hooks:
            hook.remove()

    def value(self, layer: int, token: int) -> float:
        """Target − foil with one cell put in, normalised between the two runs."""
        result = self._result

        def put(_module: Any, _args: Any, output: Any) -> None:
            tensor_of(output)[0, token] = self._given[layer][result.partners[token]]

        hook = self._modules[layer].register_forward_hook(put)
        try:
            difference = self._difference(result.changed.ids)
        finally:
            hook.remove()
        return (difference - result.base) / (result.source - result.base)

    def _difference(self, ids: tuple[int, ...]) -> float:
        target, foil = self._result.encoded.target, self._result.encoded.foil
        assert target is not None
        assert foil is not None
        with torch.no_grad():
            logits = self._model.hf(torch.tensor([ids], device=self._model.hf.device), use_cache=False).logits[0, -1]
        return float(logits[target.id] - logits[foil.id])

    def _keep(self, _module: Any, _args: Any, output: Any) -> None:
        self._given.append(tensor_of(output)[0].clone())


class _PlainHeads(_Plain):
    """The same with one head's slice of what the output projection reads."""

    def __init__(self, model: LoadedModel, result: PatchResult) -> None:
        self._model, self._result = model, result
        self._modules = [model.output_projection(layer) for layer in range(model.info.layers)]
        self._given = []
        hooks = [
            module.register_forward_pre_hook(lambda _m, args: self._given.append(args[0][0].clone()))
            for module in self._modules
        ]
        self._difference(result.given.ids)
        for hook in hooks:
            hook.remove()

    def value(self, layer: int, token: int) -> float:
        """Target − foil with one head, in the place of a token, put in."""
        result, width = self._result, self._model.heads.width
        assert result.heads is not None
        at, head = result.heads.token, slice(token * width, (token + 1) * width)

        def put(_module: Any, args: Any) -> Any:
            read = args[0].clone()
            read[0, at, head] = self._given[layer][result.partners[at], head]
            return (read, *args[1:])

        hook = self._modules[layer].register_forward_pre_hook(put)
        try:
            difference = self._difference(result.changed.ids)
        finally:
            hook.remove()
        return (difference - result.base) / (result.source - result.base)


def _request(options: argparse.Namespace, kind: Any) -> PatchRequest:
    return PatchRequest(case=CASE, source=SOURCE, kinds=(kind,), direction=options.direction, confirmed=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--direction", choices=("denoising", "noising"), default="denoising")
    parser.add_argument("--cpu-time", action="store_true", help="processor time: for a machine that is shared")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--cells", type=int, default=24, help="plain cells to time; 0: all")
    return parser.parse_args()


if __name__ == "__main__":
    main()
