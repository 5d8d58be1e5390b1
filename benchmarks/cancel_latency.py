"""How long a job may go on after escape: the longest time between two looks at whether it was cancelled.

    python -m benchmarks.cancel_latency                     every method, the default model
    python -m benchmarks.cancel_latency lens trace-states   some of them
    python -m benchmarks.cancel_latency --seconds 20        at most so much processor time for each
    python -m benchmarks.cancel_latency --cancel 0.2 1 3    and cancel it in an engine after so many seconds

A job looks when it reports progress, and before every block of a forward pass and the unembedding. The longest gap
between two looks is the worst case of a cancel at any moment, which trying a few moments would miss; it is given in
wall time and in processor time (all threads), which another user of the machine does not change. ``--cancel``
measures the whole way as well, from `Engine.cancel` until `Finished`.
"""

from __future__ import annotations

import argparse
import queue
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from workbench.case import Case
from workbench.datasets.concepts import shipped_concepts
from workbench.datasets.facts import shipped_facts
from workbench.datasets.questions import SHIPPED, questions_of
from workbench.datasets.suites import EditRecord, SuiteFact, suite_for
from workbench.editing.bisection import BisectRequest
from workbench.editing.compare import CompareRequest
from workbench.editing.edit import EditRequest
from workbench.editing.editors.erasure.erasure import ErasureSettings, SteeringSettings
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.operations import QueueRequest
from workbench.editing.records import FactsEditRequest
from workbench.editing.suite.regression import SuiteRequest
from workbench.engine import Engine
from workbench.errors import Cancelled
from workbench.events import Event, Finished, LoadRequest, Started
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.interventions import Early, Filler, LeaveOneOut, Mistake
from workbench.methods.cot.many_questions import CotQuestionsRequest
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.methods.tracing.facts import FactsTraceRequest, TracedFact
from workbench.models.store import DEFAULT_MODEL
from workbench.protocol import Request, Result
from workbench.registry import method
from workbench.spans import BLANK

CASE = Case(
    prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney", prepend="separator"
)
LONG = Case(prompt="The Eiffel Tower stands in the city of Paris, and many people go to see it. " * 40)


def requests() -> dict[str, Request]:
    """One request for each way through each method, those that leave an edit on after the others."""
    suite = suite_for(CASE)
    assert suite is not None
    relation = shipped_facts()[0]
    facts = tuple(
        TracedFact(prompt=relation.canonical.replace(BLANK, fact.subject), subject=fact.subject, target=fact.object)
        for fact in relation.facts[:3]
    )
    question = questions_of(SHIPPED[0])[0]
    everything = (Early(), LeaveOneOut(), Mistake(sentence=0), Filler())
    broken = SuiteFact(role="neighborhood", prompt=CASE.prompt, target="Sydney", against="Canberra")
    concept = shipped_concepts()[0]
    return {
        "lens": LensRequest(case=CASE),
        "lens-long": LensRequest(case=LONG),
        "continue": ContinueRequest(case=CASE, tokens=40),
        "attribution-ig": AttributionRequest(case=CASE),
        "attribution-ig-long": AttributionRequest(case=LONG, limit=30),
        "attribution-ixg": AttributionRequest(case=CASE, method="input-x-gradient"),
        "attribution-occlusion": AttributionRequest(case=CASE, method="occlusion"),
        "attribution-shapley": AttributionRequest(case=CASE, method="shapley"),
        "trace-states": TraceRequest(case=CASE, kinds=("states",)),
        "trace-mlp": TraceRequest(case=CASE, kinds=("mlp",)),
        "trace-attention": TraceRequest(case=CASE, kinds=("attention",)),
        "trace-facts": FactsTraceRequest(facts=facts, confirmed=True),
        "suite": SuiteRequest(suite=suite),
        "cot": CotRequest(question=question.question, answer=question.answer, interventions=everything),
        "cot-questions": CotQuestionsRequest(questions=questions_of(SHIPPED[0])[:2]),
        "erasure-leace": _erasure("leace", ErasureSettings(concept=concept)),
        "erasure-all-tokens": _erasure("leace", ErasureSettings(concept=concept, pool="all")),
        "erasure-orth": _erasure("orth", ErasureSettings(concept=concept)),
        "steering": _erasure("steer", SteeringSettings(concept=concept)),
        "rome": EditRequest(case=CASE, settings=RomeSettings(), suite=suite),
        "rome-sweep": EditRequest(case=CASE, settings=RomeSettings(), sweep=(4, 5), suite=suite),
        "bisect": BisectRequest(fact=broken, prepend="separator"),
        "edit-facts": FactsEditRequest(settings=RomeSettings(), records=(EditRecord(id="1", case=CASE, suite=suite),)),
        "compare": CompareRequest(case=CASE, suite=suite),
        "queue-save": QueueRequest(action="save", path=str(Path(tempfile.mkdtemp()) / "saved.safetensors")),
    }


def _erasure(by: str, settings: ErasureSettings) -> EditRequest:
    return EditRequest(editor=by, case=CASE, settings=settings, test=False)


class Looks:
    """A progress, and a hook of blocks and unembedding, that note the longest time in which nobody looked."""

    def __init__(self, seconds: float) -> None:
        self.wall, self.processor, self.where = 0.0, 0.0, ""
        self.count = 0
        self._stage = "start"
        self._ends = time.process_time() + seconds
        self._last = (time.perf_counter(), time.process_time())

    def __call__(self, done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:  # noqa: ARG002
        self._look(stage)

    def in_a_forward(self, _: object, arguments: tuple[object, ...]) -> None:
        """The hook, which looks on the way back as well, as the engine's does."""
        self._look(self._stage)
        for argument in arguments:
            if getattr(argument, "requires_grad", False):
                argument.register_hook(lambda _: self._look(self._stage))  # type: ignore[attr-defined]

    def _look(self, stage: str) -> None:
        now = (time.perf_counter(), time.process_time())
        wall, processor = now[0] - self._last[0], now[1] - self._last[1]
        if processor > self.processor:
            self.wall, self.processor, self.where = wall, processor, f"{self._stage} → {stage}"
        self._last, self._stage = (time.perf_counter(), time.process_time()), stage
        self.count += 1
        if now[1] > self._ends:
            raise Cancelled

    def ended(self) -> None:
        """The way from the last look to the end counts too."""
        self._ends = float("inf")
        self._look("end")


def watched(job: Callable[[Looks], object], seconds: float) -> tuple[Looks, str]:
    """Run a job with looks, and say how it ended."""
    looks = Looks(seconds)
    how = "to its end"
    try:
        job(looks)
    except Cancelled:
        how = f"{seconds:.0f} s of it"
    except Exception as error:  # noqa: BLE001 - a table of the others is wanted all the same
        how = f"failed: {error}"
    looks.ended()
    return looks, how


class Stopping:
    """An engine with the model, in which jobs are cancelled."""

    def __init__(self, model: str) -> None:
        self._events: queue.Queue[Event] = queue.Queue()
        self._engine = Engine(self._events.put)
        self._engine.submit(LoadRequest(model=model))
        self._until(Finished)

    def seconds(self, request: Request, after: float) -> tuple[float, str]:
        """From a cancel ``after`` so many seconds until the job has ended, and how it ended."""
        job = self._engine.submit(request)
        self._until(Started)
        deadline = time.perf_counter() + after
        while (left := deadline - time.perf_counter()) > 0:
            try:
                event = self._events.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(event, Finished):
                return 0.0, "had ended"
        asked = time.perf_counter()
        self._engine.cancel(job)
        finished = self._until(Finished)
        return time.perf_counter() - asked, str(finished.step.status)

    def _until(self, kind: type[Any]) -> Any:
        while not isinstance(event := self._events.get(), kind):
            continue
        return event


def main() -> None:
    options = _options()
    console = Console(width=150)
    chosen = {name: request for name, request in requests().items() if not options.names or name in options.names}
    table = Table("method", "longest gap s", "of processor s", "looks", "where", "ran")

    def load(looks: Looks) -> None:
        from workbench.loading import load

        models.append(load(options.model, progress=looks))

    models: list[Any] = []
    _row(table, "load", *watched(load, options.seconds))
    (model,) = models
    for name, request in chosen.items():

        def job(looks: Looks, request: Request = request) -> None:
            hooks = [module.register_forward_pre_hook(looks.in_a_forward) for module in model.checkpoints]
            try:
                method(request.kind).run(model, request, looks)
            finally:
                for hook in hooks:
                    hook.remove()

        _row(table, name, *watched(job, options.seconds))
    console.print(table)
    if options.cancel:
        model = None
        models.clear()
        _cancelled(console, chosen, options.cancel, options.model)


def _cancelled(console: Console, chosen: dict[str, Request], moments: list[float], model: str) -> None:
    table = Table("cancelled", *(f"after {moment} s" for moment in moments))
    stopping = Stopping(model)
    for name, request in chosen.items():
        took = [stopping.seconds(request, moment) for moment in moments]
        table.add_row(name, *(f"{seconds:.2f} s, {how}" for seconds, how in took))
    console.print(table)


def _row(table: Table, name: str, looks: Looks, how: str) -> None:
    table.add_row(name, f"{looks.wall:.2f}", f"{looks.processor:.2f}", str(looks.count), looks.where, how)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which of them (default: all)")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--cancel", type=float, nargs="*", default=[])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    return parser.parse_args()


if __name__ == "__main__":
    main()
