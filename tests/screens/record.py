"""Records what the pane tests are answered with: python -m tests.screens.record [NAME…]

The real engine and the real methods at work on a tiny model that has learned a few texts by heart. What comes out are
ordinary session files in tests/screens/recorded; reports made on the way stand in them as partial steps.
"""

from __future__ import annotations

import queue
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from tests.screens import asked
from tests.screens.asked import (
    BARE,
    CHOICES,
    DONE,
    EDITED,
    FIRST,
    FRANCE,
    HERO,
    LEACE,
    LONG,
    NASTY,
    ORTH,
    OTHER,
    STEER,
    SUITE,
    about,
    stronger,
)  # fmt: skip
from tests.screens.parts import FOLDER, READ, WRITING, parts
from workbench import engine
from workbench.case import Case
from workbench.editing.bisection import BisectRequest
from workbench.editing.compare import CompareRequest
from workbench.editing.edit import EditRequest
from workbench.editing.operations import QueueRequest
from workbench.editing.suite.regression import SuiteRequest, SuiteResult
from workbench.engine import Engine
from workbench.events import Event, Finished, LoadRequest, Progressed
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.interventions import Cue, Early, Filler, LeaveOneOut, Mistake, Paraphrase
from workbench.methods.cot.result import CotResult
from workbench.methods.dla.logit_attribution import DlaRequest
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import Request, Result
from workbench.session import SessionFile, Step

ROUND = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
"""When all of it happened, so that recording again changes no line."""


@dataclass(frozen=True)
class Ask:
    """A request, and which of the reports on the way are kept, by how far it was then."""

    request: Request
    parts: tuple[int, ...] = ()


Story = Generator[Ask | Request, Any, None]


def lens() -> Story:
    """Lenses, whole, in part, and of one token."""
    yield Ask(LensRequest(case=HERO), (1,))
    yield Ask(LensRequest(case=BARE), (1,))
    for case in (HERO, BARE):
        yield LensRequest(case=case, first=4, positions=(4,), top_k=20)
    yield Ask(LensRequest(case=OTHER), (1,))
    yield LensRequest(case=FRANCE)
    for words in ({}, {"target": "old"}):
        yield LensRequest(case=Case(prompt="cut two onions", **words))
    yield LensRequest(case=LONG.model_copy(update={"target": None, "foil": None}), positions=(30,))
    yield LensRequest(case=NASTY, positions=(2,))
    for case in (HERO, BARE):
        yield ContinueRequest(case=case)
    yield DlaRequest(case=HERO)


def attribution() -> Story:
    """Every method, some baselines and tokens."""
    request = AttributionRequest(case=HERO)
    yield Ask(request, (0,))
    for method in ("input-x-gradient", "occlusion", "shapley"):
        yield AttributionRequest(case=HERO, method=method)
    yield AttributionRequest(case=HERO, baseline="zero")
    for position in (2, 3):
        yield AttributionRequest(case=HERO, position=position)
    yield AttributionRequest(case=HERO, position=4)
    yield AttributionRequest(case=HERO, seed=2)
    yield AttributionRequest(case=LONG)


def trace() -> Story:
    """Every kind, with another subject in place of noise, and with other noise."""
    yield Ask(TraceRequest(case=HERO), (3, 4))
    yield TraceRequest(case=HERO, kinds=("mlp", "attention"))
    yield TraceRequest(case=HERO, kinds=("states", "mlp"))
    yield Ask(TraceRequest(case=HERO, kinds=("states", "mlp", "attention")), (4,))
    yield TraceRequest(case=HERO, replacement="France")
    yield TraceRequest(case=HERO, seed=2)


def edits() -> Story:
    """Three edits on top of each other, tested each time, and what they change."""
    yield SuiteRequest(suite=SUITE)
    yield Ask(CompareRequest(case=HERO, editors=("rome", "ft-m", "mend"), suite=SUITE), (1,))  # MEND is not trained
    for case in EDITED:
        on_the_way = (16,) if case == HERO else ()
        yield Ask(EditRequest(case=case, suite=SUITE), on_the_way)
        tested: SuiteResult = yield Ask(SuiteRequest(suite=SUITE), on_the_way)
        if case == HERO:
            yield LensRequest(case=HERO)
            yield AttributionRequest(case=HERO, position=4)
            yield TraceRequest(case=HERO)
            yield ContinueRequest(case=HERO)
            broken = next(tested.suite.facts[each.fact] for each in tested.failing() if each.before.passes)
            yield BisectRequest(fact=broken)
    yield QueueRequest(action="bypass")
    yield QueueRequest(action="compare")


def erasures() -> Story:
    """A concept erased in three ways, and steered along."""
    for request in (LEACE, ORTH, STEER, stronger(STEER, 2.0)):
        yield Ask(request, (1, 2))
        yield QueueRequest(action="undo")
    settings = {**asked.ERASED, "layers": (1, 2, 3, 4)}
    yield Ask(asked.erasure_request("leace", **settings).model_copy(update={"case": HERO}), (3,))
    yield QueueRequest(action="undo")
    yield STEER.model_copy(update={"case": HERO})
    yield QueueRequest(action="undo")
    yield Ask(LEACE.model_copy(update={"case": HERO}), (1,))
    yield stronger(STEER, 1.5).model_copy(update={"case": HERO})


def reasoning() -> Story:
    """Tom's apples, and all that is done to them."""
    result: CotResult = yield Ask(FIRST, (3, 4, 5, 9, 24, 40, READ))
    yield asked.inside(result.case(result.of("kept")[3]))
    yield CHOICES
    yield CHOICES.model_copy(update={"read": "letters"})
    for within in (None, 3, 4):
        yield about(LeaveOneOut(within=within))
    for sentence in (1, 2, 3):
        yield about(Mistake(sentence=sentence))
    yield Ask(about(Mistake(sentence=4)), (WRITING,))
    yield about(Mistake(sentence=2, text="It is 5."))
    yield about(Paraphrase(sentence=4))
    yield about(Filler())
    yield about(Cue(answer="7"))
    yield about(Early())
    yield DONE


STORIES = (lens, attribution, trace, reasoning, edits, erasures)


def asks(story: Story, answers: Iterable[Result | None]) -> Iterator[Ask]:
    """What a story asks; the answer to each is taken from ``answers`` when the next is wanted."""
    given, answer = iter(answers), None
    with suppress(StopIteration):
        while True:
            each = story.send(answer)
            yield each if isinstance(each, Ask) else Ask(each)
            answer = next(given)


class Recorder:
    """An engine at work, whose steps go into a file."""

    def __init__(self, file: SessionFile) -> None:
        self._file = file
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._answers: deque[Result] = deque()
        self._engine = Engine(self._events.put)
        self._file.use_model(self._ask(LoadRequest(model="tiny")).step.result.model)  # type: ignore[union-attr]

    def _ask(self, request: Request, wanted: tuple[int, ...] = ()) -> Finished:
        self._engine.submit(request)
        kept: dict[int, Result] = {}
        while not isinstance(event := self._events.get(), Finished):
            if isinstance(event, Progressed) and event.partial is not None:
                kept.setdefault(parts(event.partial), event.partial)
        missing = [part for part in wanted if part not in kept]
        assert not missing, f"{request.kind} had no report at {missing} but at {list(kept)}"
        for part in wanted:
            self._append(event.step.model_copy(update={"status": "partial", "result": kept[part]}))
        return event

    def _append(self, step: Step) -> None:
        self._file.append(step.model_copy(update={"started": ROUND, "seconds": 0.2}))

    def record(self, story: Story) -> None:
        """Ask for all of it, one after the other; what fails is a mistake in the story."""
        for ask in asks(story, iter(self._answers.popleft, None)):
            step = self._ask(ask.request, ask.parts).step
            assert step.status == "done", f"{ask.request}: {step.error}"
            assert step.result is not None
            self._append(step)
            self._answers.append(step.result)
        self._ask(QueueRequest(action="restore"))  # no edit is on when the next story begins
        self._engine.close()


def main() -> None:
    """Record all stories, or those that are named."""
    import torch

    from tests.screens.by_heart import learned

    torch.set_num_threads(1)
    model = learned()
    for story in STORIES:
        if sys.argv[1:] and story.__name__ not in sys.argv[1:]:
            continue
        path = FOLDER / f"{story.__name__}.json"
        path.unlink(missing_ok=True)
        with patch("workbench.loading.load", lambda *_: model), patch.object(engine, "REPORT_EVERY", 0):
            Recorder(SessionFile(path)).record(story())
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
