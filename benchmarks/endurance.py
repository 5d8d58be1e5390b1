"""Requests, switches, undos and cancels on the default model for an hour: nothing fails, and memory stays flat.

Every request goes through the engine as in the app, with a session file. A third of them is cancelled at a random
moment. Printed at the end: how many of each kind and status, the longest time from a cancel to the end of its job, and
the peak of resident memory in the last quarter against the second one, when every cache has been filled.

    python -m benchmarks.endurance --minutes 60
"""

from __future__ import annotations

import argparse
import os
import queue
import random
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from workbench.case import Case
from workbench.datasets.suites import suite_for
from workbench.editing.edit import EditRequest
from workbench.editing.editors.erasure.erasure import ErasureSettings
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.operations import QueueRequest
from workbench.editing.suite.regression import SuiteRequest
from workbench.engine import Engine
from workbench.events import Finished, LoadRequest
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import Request
from workbench.session import SessionFile

CASES = (
    Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney"),
    Case(prompt="The Eiffel Tower is located in the city of", subject="Eiffel Tower", target="Rome", foil="Paris"),
    Case(prompt="The capital of France is", subject="France", target="Lyon", foil="Paris", prepend="separator"),
)
CANCELLED = 1 / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="smollm2-135m")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        endure(options.minutes * 60, random.Random(options.seed), options.model, Path(folder) / "session.json")


def endure(seconds: float, chance: random.Random, model: str, file: Path) -> None:
    events: queue.SimpleQueue[object] = queue.SimpleQueue()
    recording = SessionFile.open(file)
    engine = Engine(events.put, recording.append)
    ended: Counter[tuple[str, str]] = Counter()
    latencies: list[tuple[float, str]] = []
    memory: list[tuple[float, int]] = []
    unexpected: list[str] = []
    kept: list[str] = []
    _answer(engine, events, LoadRequest(model=model), None)
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        request = _request(chance, kept)
        delay = chance.expovariate(0.7) if chance.random() < CANCELLED else None
        step, latency = _answer(engine, events, request, delay)
        ended[request.kind, step.status] += 1
        if latency is not None:
            latencies.append((latency, request.kind))
        if step.error is not None and "a bug" in step.error.message:
            unexpected.append(f"{request.kind}: {step.error.message}")
        if found := getattr(step.result, "queue", None):
            kept = [entry.info.id for entry in found.entries]
        memory.append((now, psutil.Process(os.getpid()).memory_info().rss))
    engine.close()
    _report(ended, latencies, memory, unexpected, seconds)


def _request(chance: random.Random, kept: list[str]) -> Request:
    case = chance.choice(CASES)
    makers = [
        lambda: LensRequest(case=case),
        lambda: ContinueRequest(case=case),
        lambda: AttributionRequest(case=case, method=chance.choice(("occlusion", "input-x-gradient", "shapley"))),
        lambda: TraceRequest(case=case, kinds=(chance.choice(("states", "mlp", "attention")),), samples=2),
        lambda: EditRequest(case=case, settings=RomeSettings(steps=8), test=chance.random() < 0.3),
        lambda: SuiteRequest(suite=suite_for(case), generate=False),  # type: ignore[arg-type]
        lambda: CotRequest(question="Tom has 3 apples and buys 4 more. How many?", sampling=Sampling(tokens=24)),
        lambda: EditRequest(
            editor="leace",
            settings=ErasureSettings(concept="number", layers=(12,), limit=200, above=False),
            test=False,
        ),
    ]
    if kept:
        edit = chance.choice(kept)
        makers += [
            lambda: QueueRequest(action=chance.choice(("on", "off")), edit=edit),
            lambda: QueueRequest(action="move", edit=edit, by=chance.choice((-1, 1))),
            lambda: QueueRequest(action="remove", edit=edit),
            lambda: QueueRequest(action=chance.choice(("undo", "redo", "bypass", "compare"))),
        ]
    return chance.choice(makers)()


def _answer(engine: Engine, events: queue.SimpleQueue, request: Request, delay: float | None):  # type: ignore[no-untyped-def,type-arg]
    """The step, and the seconds from a cancel after ``delay`` to the end, None where it ended before."""
    job = engine.submit(request)
    cancelled_at: float | None = None
    until = None if delay is None else time.monotonic() + delay
    while True:
        try:
            event = events.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
        except queue.Empty:
            engine.cancel(job)
            cancelled_at, until = time.monotonic(), None
            continue
        if isinstance(event, Finished) and event.job == job:
            return event.step, None if cancelled_at is None else time.monotonic() - cancelled_at


def _report(ended, latencies, memory, unexpected, seconds) -> None:  # type: ignore[no-untyped-def]
    for (kind, status), number in sorted(ended.items()):
        print(f"{kind:14} {status:10} {number:6}")
    if latencies:
        worst, kind = max(latencies)
        median = statistics.median(seconds for seconds, _ in latencies)
        print(f"from cancel to the end: median {median:.2f} s, worst {worst:.2f} s ({kind})")
    quarters = [
        [rss for at, rss in memory if lower <= at / seconds < lower + 0.25] or [0] for lower in (0, 0.25, 0.5, 0.75)
    ]
    peaks = [max(quarter) / 2**20 for quarter in quarters]
    print("peak resident memory by quarter: " + ", ".join(f"{peak:.0f} MiB" for peak in peaks))
    print(f"last quarter / second quarter: {peaks[3] / max(peaks[1], 1e-9):.3f}")
    print(f"unexpected failures: {len(unexpected)}")
    for sentence in sorted(set(unexpected)):
        print(f"  {sentence}")
    raise SystemExit(bool(unexpected))


if __name__ == "__main__":
    main()
