"""How much of their time workers wait at the end of a sweep, by how many shards each has: a simulation, no model.

    python -m benchmarks.sweep_spread [--records 10000] [--workers 8] [--seconds 8.4] [--spread 0.5] [--load 20]

Seconds a record are drawn log-normally about their mean; a worker that is free takes the next shard.
"""

from __future__ import annotations

import argparse
import heapq

import numpy as np


def end_of(seconds: np.ndarray, workers: int, shards: int, load: float) -> tuple[float, float]:
    """When the last worker is done, in seconds, and the share of their time that workers waited for it."""
    free = [load] * workers
    for shard in range(shards):
        heapq.heappush(free, heapq.heappop(free) + float(seconds[shard::shards].sum()))
    end = max(free)
    return end, 1 - sum(free) / (workers * end)


def main() -> None:
    """Print a row for each number of shards."""
    parser = argparse.ArgumentParser()
    for name, value in (("records", 10_000), ("workers", 8)):
        parser.add_argument(f"--{name}", type=int, default=value)
    for name, number in (("seconds", 8.4), ("spread", 0.5), ("load", 20.0)):
        parser.add_argument(f"--{name}", type=float, default=number)
    asked = parser.parse_args()
    drawn = np.random.RandomState(0).lognormal(0, asked.spread, asked.records)
    seconds = drawn * asked.seconds / drawn.mean()
    print(f"one worker: {(seconds.sum() + asked.load) / 3600:.1f} h")
    for each in (1, 4, 16, 64):
        end, waited = end_of(seconds, asked.workers, each * asked.workers, asked.load)
        print(f"{asked.workers} workers, {each} shards each: {end / 3600:.2f} h, {waited:.1%} of it waiting at the end")


if __name__ == "__main__":
    main()
