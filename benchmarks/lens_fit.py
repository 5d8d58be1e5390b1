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
    shuffled = known.shuffled or (float("nan"),) * len(known.lens)
    print("KL to the final distribution in nats: means, medians in brackets")
    print(f"{'layer':>6}{'logit':>16}{asked.lens:>16}{'mean state':>12}{'shuffled':>10}{'ratio':>16}")
    columns = (known.logit, known.logit_median, known.lens, known.lens_median, shuffled)
    for row, (logit, logit_median, lens, lens_median, other) in enumerate(zip(*columns, strict=True)):
        name = "emb" if row == 0 else str(row - 1)
        of = f"{lens / logit:8.3f} ({lens_median / logit_median:.3f})" if logit and logit_median else ""
        print(
            f"{name:>6}{logit:8.2f} ({logit_median:5.2f}){lens:8.2f} ({lens_median:5.2f})"
            f"{known.mean_state:12.2f}{other:10.2f} {of}"
        )


if __name__ == "__main__":
    main()
