"""The causal trace against the published procedure (a complete forward a cell), in the same process.

    python benchmarks/trace_speed.py                          the default model, every cell both ways
    python benchmarks/trace_speed.py --quick                  a sample of the plain cells, the rest extrapolated
    python benchmarks/trace_speed.py --random 1b --device cuda --dtype bfloat16 --quick
                                                              a Llama-shaped model of random weights
    python benchmarks/trace_speed.py --growth                 also how time grows with tokens and layers

"floor" is the time that the arithmetic which is left over (blocks above the restored cell, tokens after it, the
unembedding) would take at the matrix-multiply rate measured here on matrices of the model's shape.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import PreTrainedTokenizerBase

from workbench.case import Case
from workbench.errors import Cancelled
from workbench.loading import LoadedModel, load, wrap
from workbench.methods.tracing.causal_trace import TraceGrid, TraceRequest, TraceResult, run
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import silent

CASE = Case(prompt="The Eiffel Tower is located in the city of", subject="Eiffel Tower")
KINDS = ("states", "mlp", "attention")
QUICK_CELLS = 24

# hidden, MLP, layers, heads, key-value heads; vocabulary as the tokenizer's
SHAPES = {"tiny": (64, 192, 4, 4, 2), "1b": (2048, 8192, 16, 32, 8), "8b": (4096, 14336, 32, 32, 8)}


def main() -> None:
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    if options.cpu_time:
        _clock.read = time.process_time
    model = _model(options)
    info = model.info
    rate = matmul_rate(model)
    console.print(
        f"{info.name}: {info.parameters / 1e6:,.0f} M parameters, {info.layers} layers, "
        f"{info.dtype} on {info.device}, {torch.get_num_threads()} threads;\n"
        f"matrices multiply at {rate / 1e9:,.0f} GFLOP/s"
    )
    run(model, _request("states", CASE), silent)  # the first run of a process is slow
    table = Table("kind", "trace s", "first picture s", "its r", "forward s", "plain s", "times", "floor s", "of floor")
    table.add_column("largest difference")
    for kind in options.kinds:
        table.add_row(kind, *_compare(model, kind, rate, options.quick))
    console.print(table)
    if options.growth:
        console.print(_growth(model))


def _compare(model: LoadedModel, kind: str, rate: float, quick: bool) -> tuple[str, ...]:
    timed = _timed_trace(model, _request(kind, CASE))
    result, grid = timed.result, timed.result.grids[0]
    layers, tokens = len(grid.values), len(grid.values[0])
    cells = [(layer, token) for token in range(tokens) for layer in range(layers)]
    sample = cells[:: max(1, len(cells) // QUICK_CELLS)] if quick else cells
    plain = _Plain(model, result)
    plain.value(kind, 0, 0)
    began = _now(model)
    differences = [abs(plain.value(kind, layer, token) - (grid.values[layer][token] or 0.0)) for layer, token in sample]
    seconds = (_now(model) - began) / len(sample)
    floor = flops_left(model, result, kind) / rate
    return (
        f"{timed.exact_seconds:.2f}",
        f"{timed.first_seconds:.2f}",
        f"{_pearson(timed.first.grids[0], grid):.2f}",
        f"{seconds:.3f}",
        f"{seconds * len(cells):.1f}" + (" (sample)" if quick else ""),
        f"{seconds * len(cells) / timed.exact_seconds:.1f}",
        f"{floor:.2f}",
        f"{timed.exact_seconds / floor:.2f}",
        f"{max(differences):.0e}",
    )


@dataclass(frozen=True)
class _Timed:
    """The ``first`` picture and when it was there, the result and what it took without a first picture."""

    first: TraceResult
    first_seconds: float
    result: TraceResult
    exact_seconds: float


def _timed_trace(model: LoadedModel, request: TraceRequest) -> _Timed:
    first = _First(model)
    with contextlib.suppress(Cancelled):
        run(model, request, first)
    assert first.partial is not None
    began = _now(model)
    result = run(model, request.model_copy(update={"estimate": False}), silent)
    return _Timed(first.partial, first.seconds, result, _now(model) - began)


class _First:
    """Progress that stops at the first picture."""

    def __init__(self, model: LoadedModel) -> None:
        self.partial: Any = None
        self.seconds = 0.0
        self._model = model
        self._began = _now(model)

    def __call__(self, *reported: Any, **_: Any) -> None:
        if len(reported) == 3:  # done, total and what there is so far
            self.partial, self.seconds = reported[2], _now(self._model) - self._began
            raise Cancelled


def _pearson(first: TraceGrid, exact: TraceGrid) -> float:
    """Correlation of the estimated cells with the exact ones."""
    known = np.array(first.exact)
    return float(np.corrcoef(np.array(first.values)[~known], np.array(exact.values)[~known])[0, 1])


class _Plain:
    """The published procedure: a clean row and the corrupted rows in one forward, for every cell anew."""

    def __init__(self, model: LoadedModel, result: TraceResult) -> None:
        self._model = model
        self._result = result
        self._ids = torch.tensor([result.encoded.ids], device=model.hf.device).expand(1 + result.samples, -1)
        self._span = slice(*(result.encoded.subject or ()))

    def value(self, kind: str, layer: int, token: int) -> float:
        """The mean probability of the clean row's top token with one cell restored."""

        def restore(_module: Any, _args: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output
            states[1:, token] = states[0, token]

        model, width = self._model, self._result.window
        around = range(max(0, layer - width // 2), min(model.info.layers, layer - (-width // 2)))
        places = {
            "states": lambda: [model.block_modules[layer]],
            "mlp": lambda: [model.mlp(at) for at in around],
            "attention": lambda: [model.attention(at) for at in around],
        }[kind]()
        hooks = [model.embedding.register_forward_hook(self._corrupt)]
        hooks += [place.register_forward_hook(restore) for place in places]
        try:
            with torch.no_grad():
                p = model.hf(self._ids, use_cache=False).logits[:, -1].float().softmax(dim=-1)
        finally:
            for hook in hooks:
                hook.remove()
        return float(p[1:, int(p[0].argmax())].mean())

    def _corrupt(self, _module: Any, _args: Any, output: torch.Tensor) -> None:
        shape = (len(output) - 1, self._span.stop - self._span.start, output.shape[-1])
        noise = np.random.RandomState(1).randn(*shape) * (self._result.noise_std or 0.0)
        output[1:, self._span] += torch.from_numpy(noise).to(output)


def flops_left(model: LoadedModel, result: TraceResult, kind: str) -> float:
    """Multiplications and additions of matrices that no exact trace can leave out."""
    layers, tokens, rows = model.info.layers, len(result.encoded.ids), result.samples
    matrices = sum(p.numel() for p in model.block_modules[0].parameters() if p.ndim == 2)
    unembedding = 2 * model.info.vocabulary * model.info.d_model
    total = 0.0
    for token in range((result.encoded.subject or (0, 0))[0], tokens):
        for layer in range(layers):
            start = layer + 1 if kind == "states" else max(0, layer - result.window // 2)
            if kind == "states" and layer == layers - 1 and token < tokens - 1:
                continue  # nothing reads that state
            own = tokens - token
            attention = 4 * model.info.d_model * tokens * own
            total += rows * ((layers - start) * (2 * matrices * own + attention) + unembedding)
    return total


def matmul_rate(model: LoadedModel) -> float:
    """Operations a second of this model's MLP matrix on a batch of a few hundred tokens."""
    matrix = torch.randn(model.anatomy.d_mlp, model.info.d_model, dtype=model.hf.dtype, device=model.hf.device)
    batch = torch.randn(800, model.info.d_model, dtype=model.hf.dtype, device=model.hf.device)
    best = 0.0
    for _ in range(5):
        began = _now(model)
        for _ in range(20):
            torch.nn.functional.linear(batch, matrix)
        best = max(best, 20 * 2 * batch.numel() * len(matrix) / (_now(model) - began))
    return best


def _growth(model: LoadedModel) -> Table:
    """The states' grid of longer prompts, and of the model cut off at fewer layers."""
    table = Table("tokens", "layers", "cells", "trace s", "ms a cell", title="growth (states)")
    filler = "It is said that many people come here every year, and that "
    for repeats in (0, 1):
        case = Case(prompt=CASE.prompt.replace("located", f"{filler * repeats}located"), subject=CASE.subject)
        table.add_row(*_growth_row(model, case))
    blocks = model.hf.get_submodule(model.anatomy.blocks)
    for layers in (model.info.layers // 2, model.info.layers // 4):
        model.hf.set_submodule(model.anatomy.blocks, torch.nn.ModuleList(list(blocks)[:layers]))
        model.hf.config.num_hidden_layers = layers
        table.add_row(*_growth_row(wrap(model.hf, model.tokenizer, model.info.name), CASE))
    return table


def _growth_row(model: LoadedModel, case: Case) -> tuple[str, ...]:
    began = _now(model)
    result = run(model, _request("states", case).model_copy(update={"estimate": False}), silent)
    seconds = _now(model) - began
    tokens, layers = len(result.encoded.ids), model.info.layers
    return (
        f"{tokens}",
        f"{layers}",
        f"{tokens * layers}",
        f"{seconds:.2f}",
        f"{1000 * seconds / tokens / layers:.1f}",
    )


def _request(kind: Any, case: Case) -> TraceRequest:
    return TraceRequest(case=case, kinds=(kind,), confirmed=True)


@dataclass
class _Clock:
    """Wall time, or processor time on a machine that is shared."""

    read: Callable[[], float] = time.perf_counter


_clock = _Clock()


def _now(model: LoadedModel) -> float:
    if model.hf.device.type == "cuda":
        torch.cuda.synchronize()
    return _clock.read()


def _model(options: argparse.Namespace) -> LoadedModel:
    if not options.random:
        return load(options.model, options.dtype, options.device)
    tokenizer = load(options.model).tokenizer
    dtype = torch.float32 if options.dtype == "auto" else getattr(torch, options.dtype)
    device = "cpu" if options.device == "auto" else options.device
    return random_model(options.random, tokenizer, device, dtype)


def random_model(
    shape: str, tokenizer: PreTrainedTokenizerBase, device: str, dtype: torch.dtype, made_on: str | None = None
) -> LoadedModel:
    """A Llama-shaped model of random weights, made on its device or, for the same numbers on any, on another."""
    hidden, mlp, layers, heads, kv_heads = SHAPES[shape]
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )
    torch.manual_seed(0)
    with torch.device(made_on or device):
        hf = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    return wrap(hf.to(device), tokenizer, f"random-{shape}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--random", choices=sorted(SHAPES), help="a Llama-shaped model of random weights instead")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="processor time: for a machine that is shared")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--quick", action="store_true", help=f"time {QUICK_CELLS} plain cells, extrapolate the rest")
    parser.add_argument("--growth", action="store_true", help="also longer prompts and fewer layers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
