"""Heads against plain forwards of the same prompt: the picture, an attention pattern, and every head knocked out.

`python benchmarks/heads_speed.py` prints seconds, ratios to a forward, and the largest differences from complete runs
with plain hooks (of a sample of heads, or of all with --all).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from workbench.case import Case
from workbench.loading import LoadedModel, load
from workbench.methods.heads import attention, head_attribution, knock_out
from workbench.methods.heads.attention import AttentionRequest
from workbench.methods.heads.head_attribution import HeadsRequest
from workbench.methods.heads.knock_out import KnockoutRequest
from workbench.models.forward.knockout import KnockOuts
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import silent

CASE = Case(
    prompt="Peter lives in Berlin. Emma lives in Oslo. Question: Where does Peter live? Answer: Peter lives in",
    target="Berlin",
    foil="Oslo",
)

ROUNDS = 5
EACH = 23
"""Every so-manieth head is knocked out by a complete run, too."""


def main() -> None:
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    model = load(options.model, options.dtype, options.device)
    encoded = model.encode(CASE)
    ids = torch.tensor([encoded.ids], device=model.hf.device)
    assert encoded.target
    assert encoded.foil
    print(
        f"{model.info.name}, {model.info.layers} layers × {model.heads.count} heads, {len(encoded.ids)} tokens, "
        f"{model.info.dtype} on {model.info.device}, {torch.get_num_threads()} threads"
    )

    def seconds(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
        taken = []
        for _ in range(rounds):
            began = clock()
            work()
            taken.append(clock() - began)
        return statistics.median(taken)

    def forward() -> None:
        with torch.no_grad():
            model.hf(input_ids=ids, use_cache=False)

    forward()
    plain = seconds(forward, 2 * ROUNDS)
    print(f"{'a forward':34} {plain:8.3f} s")
    works: dict[str, tuple[Callable[[], Any], int]] = {
        "picture of heads": (lambda: head_attribution.run(model, HeadsRequest(case=CASE), silent), ROUNDS),
        "attention of a head": (
            lambda: attention.run(model, AttentionRequest(case=CASE, head="L23H4"), silent),
            ROUNDS,
        ),
        "all heads knocked out": (lambda: _each(model, encoded.ids, _measure(encoded)), 2),
        "all edges of the last token": (lambda: _each(model, encoded.ids, _measure(encoded), edges=True), 2),
        "knock-out with best and controls": (lambda: knock_out.run(model, KnockoutRequest(case=CASE), silent), 1),
    }
    for name, (work, rounds) in works.items():
        taken = seconds(work, rounds)
        print(f"{name:34} {taken:8.3f} s {taken / plain:8.1f} forwards")
    found = _each(model, encoded.ids, _measure(encoded))
    sample = sorted(found) if options.all else sorted(found)[::EACH]
    began = clock()
    differences = [abs(_hooked(model, ids, *place, _measure(encoded)) - found[place]) for place in sample]
    each = (clock() - began) / len(sample)
    print(f"{'as complete runs with hooks':34} {each * len(found):8.3f} s {each * len(found) / plain:8.1f} forwards")
    print(f"largest difference in {len(sample)} heads: {max(differences):.0e} logits")


def _measure(encoded: Any) -> Callable[[Any], Any]:
    return lambda logits: logits[:, encoded.target.id].double() - logits[:, encoded.foil.id].double()


def _each(model: LoadedModel, ids: tuple[int, ...], measure: Any, *, edges: bool = False) -> dict[Any, float]:
    runs = KnockOuts(model, ids, "zero")
    batches: Any = runs.each_edge(measure) if edges else runs.each_head(measure)
    return {place: value for batch in batches for place, value in batch.items()}


def _hooked(model: LoadedModel, ids: torch.Tensor, layer: int, head: int, measure: Any) -> float:
    """What is measured in a complete run whose output projection reads nothing of one head at the last token."""
    width = model.heads.width

    def before(_module: Any, args: Any) -> Any:
        read = args[0].clone()
        read[:, -1, head * width : (head + 1) * width] = 0
        return (read, *args[1:])

    hook = model.output_projection(layer).register_forward_pre_hook(before)
    try:
        with torch.no_grad():
            return float(measure(model.hf(input_ids=ids, use_cache=False).logits[:, -1])[0])
    finally:
        hook.remove()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="processor time: for a machine that is shared")
    parser.add_argument("--all", action="store_true", help="compare every head with a complete run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
