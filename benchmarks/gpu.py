"""What a GPU gives, in one run of at most eight minutes: the numbers of a CPU, speed, memory. Weights are made here.

    python -m benchmarks.gpu                    on CUDA: agreement at a tiny shape, speed at 1B and 8B; else as below
    python -m benchmarks.gpu --small            the same steps at a tiny shape, on whatever there is: for CI
    python -m benchmarks.gpu --json FILE        the figures as JSON, too

TF32 and reduced-precision sums are off where numbers are compared. A step for which no time is left is said, and the
others stand.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.trace_speed import random_model
from tests.tiny import tiny_tokenizer
from workbench.loading import LoadedModel
from workbench.protocol import silent
from workbench.registry import method
from workbench.scripting import request

SECONDS = 480.0
"""All that it may take: a machine is lent for minutes."""

CASE = {"prompt": "The capital of Australia is ", "subject": "Australia", "target": "a", "foil": "b"}
TRACE: dict[str, Any] = {"case": CASE, "kinds": ("states", "mlp", "attention"), "samples": 4, "noise_std": 0.1}
EDIT: dict[str, Any] = {"case": CASE, "editor": "rome", "settings": {"layer": 1, "prefixes": 2}, "test": False}


def main(arguments: list[str] | None = None) -> dict[str, str]:
    """Measure, print a table, and return its rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="a tiny shape, on the CPU where there is no GPU")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="begin no step after so many")
    options = parser.parse_args(arguments)
    options.small = options.small or not torch.cuda.is_available()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    began, found = time.perf_counter(), dict[str, str]()
    steps: list[tuple[str, Callable[[], str]]] = [(f"{device} against CPU", lambda: agreement(device))]
    for shape in ("tiny",) if options.small else ("1b", "8b"):
        dtype = torch.float32 if shape == "tiny" else torch.bfloat16
        steps.append((f"{shape}, trace", lambda shape=shape, dtype=dtype: trace(made(shape, device, dtype))))
        steps.append((f"{shape}, edit", lambda shape=shape, dtype=dtype: edit(made(shape, device, dtype))))
    for name, step in steps:
        left = options.seconds - (time.perf_counter() - began)
        found[name] = step() if left > 0 else "no time was left"
        print(f"{name}: {found[name]}", flush=True)
        if device == "cuda":
            found[f"{name}, memory"] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most"
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.empty_cache()
    table = Table("what", "found")
    for row in found.items():
        table.add_row(*row)
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    Console(width=120).print(f"on {where}, {time.perf_counter() - began:.0f} s", table)
    if options.json:
        options.json.write_text(json.dumps({"device": where, **found}, indent=1), encoding="utf-8")
    return found


def made(shape: str, device: str, dtype: torch.dtype, made_on: str | None = None) -> LoadedModel:
    """A Llama-shaped model of random weights, made on its device or, for the same numbers on any, on another."""
    return random_model(shape, tiny_tokenizer(), device, dtype, made_on)


def agreement(device: str) -> str:
    """How far lens, trace, heads and an edit on a device are from those on the CPU, and whether undoing is exact."""
    here, there = (made("tiny", where, torch.float32, made_on="cpu") for where in ("cpu", device))
    off = {}
    for kind, asked in (("lens", {"case": CASE}), ("trace", TRACE), ("heads", {"case": CASE})):
        numbers = [flat(json.loads(answer(model, kind, asked).model_dump_json())) for model in (here, there)]
        off[kind] = max((abs(a - b) for a, b in zip(*numbers, strict=True)), default=0.0)
    before = there.down_projection(1).weight.clone()
    changes = []
    for model in (here, there):
        made_edit = answer(model, "edit", EDIT)
        changes.append((model.down_projection(1).weight.cpu() - before.cpu()).norm())
        model.edits.remove(made_edit.edit.id)
    off["edit"] = float((changes[0] - changes[1]).abs() / changes[0])
    undone = "undone to the bit" if torch.equal(there.down_projection(1).weight, before) else "NOT undone to the bit"
    return ", ".join(f"{name} off by {value:.0e}" for name, value in off.items()) + f"; {undone}"


def trace(model: LoadedModel) -> str:
    """A trace, and what a complete forward for each of its cells would take, as the published procedure has it."""
    first, _ = timed(model, lambda: answer(model, "trace", {**TRACE, "confirmed": True}))
    seconds, result = timed(model, lambda: answer(model, "trace", {**TRACE, "confirmed": True}))
    cells = sum(len(grid.values) * len(grid.values[0]) for grid in result.grids)
    ids = torch.tensor([result.encoded.ids], device=model.hf.device).expand(1 + TRACE["samples"], -1)

    def forward() -> None:
        with torch.no_grad():
            model.hf(input_ids=ids, use_cache=False)

    forward()
    each, _ = timed(model, forward)
    once = f"{seconds:.1f} s, {first:.1f} the first time"
    return f"{once}; a forward for each of {cells} cells {each * cells:.0f} s: {each * cells / seconds:.1f} ×"


def edit(model: LoadedModel) -> str:
    """One edit by ROME, with the statistics of keys that it needs once."""
    first, result = timed(model, lambda: answer(model, "edit", EDIT))
    model.edits.remove(result.edit.id)
    again, _ = timed(model, lambda: answer(model, "edit", EDIT))
    return f"{again:.1f} s, and {first - again:.1f} s more the first time, for statistics of keys"


def answer(model: LoadedModel, kind: str, asked: dict[str, Any]) -> Any:
    """The result of a method."""
    return method(kind).run(model, request(kind, **asked), silent)


def timed(model: LoadedModel, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that something takes, to the end of what it has queued on the device."""
    began = time.perf_counter()
    result = work()
    if model.hf.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, result


def flat(value: Any) -> list[float]:
    """Every number in plain data, in order."""
    if isinstance(value, dict):
        value = [each for key, each in value.items() if key != "checks"]
    if isinstance(value, list):
        return [number for each in value for number in flat(each)]
    return [float(value)] if isinstance(value, float) else []


if __name__ == "__main__":
    main()
