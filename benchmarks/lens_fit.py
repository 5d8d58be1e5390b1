"""Fit a lens, and print its KL to the final distribution by layer beside its controls; and the time that it took."""

from __future__ import annotations

import argparse
import time

from workbench.loading import load
from workbench.methods.lens.fitting import FitLensRequest, run
from workbench.protocol import Frozen


class Timed:
    """Progress that adds up the seconds of each stage."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._stage, self._since = "", time.perf_counter()

    def __call__(self, done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:  # noqa: ARG002
        now = time.perf_counter()
        self.stages[self._stage] = self.stages.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--lens", choices=("ridge", "jacobian"), default="ridge")
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--corpus", help="a text file, instead of text sampled from the model")
    asked = parser.parse_args()
    model = load(asked.model)
    request = FitLensRequest(lens=asked.lens, tokens=asked.tokens, corpus=asked.corpus, confirmed=True)
    began, used = time.perf_counter(), time.process_time()
    timed = Timed()
    result = run(model, request, timed)
    timed(1, 1)
    known = result.about.held_out
    print(f"{asked.lens} lens of {asked.model}, {result.about.source}; {known.tokens} held-out tokens")
    print(f"{time.perf_counter() - began:.0f} s, {time.process_time() - used:.0f} s of processor time: ", end="")
    print(", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in timed.stages.items() if stage))
    print(f"{'layer':>6}{'logit':>8}{asked.lens:>10}{'mean':>8}{'shuffled':>10}   (KL in nats)")
    for row, (logit, lens) in enumerate(zip(known.logit, known.lens, strict=True)):
        shuffled = f"{known.shuffled[row]:10.2f}" if known.shuffled else f"{'–':>10}"
        name = "emb" if row == 0 else str(row - 1)
        print(f"{name:>6}{logit:8.2f}{lens:10.2f}{known.mean_state:8.2f}{shuffled}")


if __name__ == "__main__":
    main()
