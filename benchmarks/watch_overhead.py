"""Generation that is watched against plain generation of as many tokens, by the same loop.

`python benchmarks/watch_overhead.py` prints seconds a token and the ratio to plain generation: with the signals that
come with the logits only, with depth, with what was looked at, and with all of them. Rounds take turns, so that a busy
machine slows all alike. The ratio is that of the least times, as others only ever add to them; the median of the
rounds' ratios stands after it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from workbench.case import Case
from workbench.loading import load
from workbench.methods.watch import watching
from workbench.methods.watch.result import WatchRequest
from workbench.models.forward.decoding import generate
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import silent

PROMPT = (
    "Peter lives in Berlin. Emma lives in Oslo. They met in Rome. Peter and Emma write to each other about their "
    "cities, their work and the books that they read. In his last letter Peter told Emma about"
)


def main() -> None:
    options = _options()
    if options.threads:
        torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    model = load(options.model, options.dtype, options.device)
    case = Case(prompt=PROMPT)
    ids = model.encode(case).ids
    said = len(_without_depth(model, case, options.tokens).spoken.tokens)
    print(
        f"{model.info.name}, {len(ids)} tokens of prompt, {said} generated, {model.info.dtype} on {model.info.device}, "
        f"{torch.get_num_threads()} threads"
    )

    def plain() -> None:
        generate(model, [ids], said, lambda _row, _at, logits: int(logits.argmax()))

    def watched(**signals: Any) -> Callable[[], Any]:
        request = WatchRequest(case=case, tokens=said, **signals)
        return lambda: watching.run(model, request, silent)

    works: dict[str, Callable[[], Any]] = {
        "plain": plain,
        "margin and entropy": watched(depth=False, sources=False),
        "and depth": watched(sources=False),
        "and what was looked at": watched(depth=False),
        "all": watched(),
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(options.rounds + 1):
        for name, work in works.items():
            began = clock()
            work()
            if round_:  # the first warms up
                taken[name].append(clock() - began)
    for name, seconds in taken.items():
        median = statistics.median(each / first for each, first in zip(seconds, taken["plain"], strict=True))
        least = min(seconds) / min(taken["plain"])
        print(f"{name:24} {1000 * min(seconds) / said:8.1f} ms a token {least:8.2f} × (median {median:.2f})")


def _without_depth(model: Any, case: Case, tokens: int) -> Any:
    return watching.run(model, WatchRequest(case=case, tokens=tokens, depth=False, sources=False), silent)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--cpu-time", action="store_true", help="processor time: for a machine that is shared")
    return parser.parse_args()


if __name__ == "__main__":
    main()
