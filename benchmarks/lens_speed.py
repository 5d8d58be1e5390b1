"""The lens at the cursor's token against one plain forward of the same prompt, on the default model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from workbench.case import Case
from workbench.loading import load
from workbench.methods.lens import logit_lens
from workbench.methods.lens.logit_lens import LensRequest
from workbench.models.tokens import encode
from workbench.protocol import silent

SENTENCE = "The capital of Australia is"
ROUNDS = 15


def main() -> None:
    model = load("smollm2-135m")
    print(f"{'tokens':>7} {'plain ms':>9} {'lens ms':>9} {'ratio':>6}   (medians of {ROUNDS}, alternating)")
    for repeats in (1, 8, 24):
        case = Case(prompt=" ".join([SENTENCE] * repeats), target="Canberra", foil="Sydney")
        ids = torch.tensor([encode(model.tokenizer, case).ids])

        def plain(ids: torch.Tensor = ids) -> None:
            with torch.no_grad():
                model.hf(input_ids=ids, use_cache=False)

        def lens(case: Case = case) -> None:
            logit_lens.run(model, LensRequest(case=case, positions=(-1,)), silent)

        once, twice = _alternate(plain, lens)
        print(f"{ids.shape[1]:7} {once * 1e3:9.1f} {twice * 1e3:9.1f} {twice / once:6.2f}")


def _alternate(one: Callable[[], None], other: Callable[[], None]) -> tuple[float, float]:
    times: dict[Callable[[], None], list[float]] = {one: [], other: []}
    one(), other()
    for _ in range(ROUNDS):
        for work, taken in times.items():
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
    return statistics.median(times[one]), statistics.median(times[other])


if __name__ == "__main__":
    main()
