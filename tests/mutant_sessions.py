"""One small recorded step of every method, to be damaged, and a replay that shows what was read back."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from pathlib import Path

from screens.replay import ReplayApp, ReplayScreen
from tests.contrast_sets import REQUEST as STEERING
from tests.contrast_sets import behaviour, steered, sweep
from tests.screens.asked import DONE, FIRST, HERO, LEACE, STEER, SUITE, TOM, about
from tests.screens.recorded import (
    BROKEN,
    MODEL,
    STARTED,
    attribution_result,
    bisected,
    compared,
    continuation,
    cot_result,
    erasure_result,
    lens_result,
    queue_result,
    queue_state,
    rome_result,
    suite_result,
    trace_result,
)
from workbench.cli.step_report import print_step
from workbench.datasets.questions import Question
from workbench.datasets.suites import EditRecord
from workbench.editing.bisection import BisectRequest
from workbench.editing.compare import CompareRequest
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.editors.steering.steering import ContrastSettings
from workbench.editing.operations import QueueRequest
from workbench.editing.records import (
    FactsEditRequest,
    FactsEditResult,
    FailingFact,
    RecordOutcome,
)
from workbench.editing.sequence import SequencePoint
from workbench.editing.suite.regression import SuiteRequest
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.bootstrap import Estimate
from workbench.methods.cot.interventions import Cue
from workbench.methods.cot.many_questions import CotQuestionsRequest, CotQuestionsResult, QuestionOutcome, TaskSummary
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensAnswer, LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.methods.tracing.facts import FactsTraceRequest, FactsTraceResult, RoleEffect, TracedFact
from workbench.protocol import Request, Result
from workbench.reporting.as_python import as_python
from workbench.reporting.making import report_of
from workbench.reporting.pages import html_page, markdown_page
from workbench.session import Session, Step


def steps() -> dict[str, tuple[Request, Result]]:
    """By name: a request and what came of it."""
    attribution = AttributionRequest(case=HERO)
    trace = TraceRequest(case=HERO, kinds=("states", "mlp"))
    rome = EditRequest(case=HERO, suite=SUITE)
    cued = about(Cue(answer="7"))
    erase = LEACE.model_copy(update={"case": HERO})
    queue = queue_state(True, False)
    suite = suite_result()
    lens = lens_result(HERO)
    return {
        "lens": (
            LensRequest(case=HERO),
            lens.model_copy(update={"after_separator": LensAnswer(token=" Canberra", probability=0.4, target=0.4)}),
        ),
        "lens partial": (LensRequest(case=HERO.model_copy(update={"foil": None})), lens_result(HERO, done=1)),
        "continue": (ContinueRequest(case=HERO), continuation()),
        "attribution": (attribution, attribution_result(attribution)),
        "trace": (trace, trace_result(trace)),
        "trace partial": (TraceRequest(case=HERO), trace_result(TraceRequest(case=HERO), exact=4)),
        "trace-facts": (
            FactsTraceRequest(facts=(TracedFact(prompt=HERO.prompt, subject="Australia", target="Canberra"),)),
            FactsTraceResult(
                effects=(
                    RoleEffect(kind="states", role="last subject", mean=(0.1, 0.3), error=(0.1, 0.1), facts=2),
                    RoleEffect(kind="states", role="last", mean=(0.0, 0.5)),
                ),
                clean=0.8,
                corrupted=0.1,
                used=2,
                unknown=1,
                unusable=0,
                noise_std=0.1,
            ),
        ),
        "rome": (rome, rome_result()),
        "queue": (QueueRequest(action="show"), queue_result(queue, "the queue")),
        "edit-facts": (
            FactsEditRequest(
                records=(EditRecord(id="1", case=HERO, suite=SUITE),), settings=RomeSettings(), sequence=True
            ),
            FactsEditResult(
                scores=suite.scores,
                harmonic={"as-is": 0.5},
                harmonic_before={"as-is": 0.2},
                perplexity_before=20.0,
                perplexity=21.0,
                records=(
                    RecordOutcome(
                        id="1",
                        title="L5 Australia",
                        layers=(5,),
                        scores=suite.scores,
                        failing=(
                            FailingFact(
                                record="1",
                                role="rewrite",
                                prepend="as-is",
                                prompt=HERO.prompt,
                                wanted=" Canberra",
                                says=" Sydney",
                                first_position=True,
                            ),
                        ),
                        perplexity=20.5,
                        size=0.1,
                        seconds=3.0,
                    ),
                ),
                points=(SequencePoint(edits=1, scores=suite.scores, harmonic={"as-is": 0.5}, perplexity=20.5),),
                unusable={"2": "its subject is not in the prompt"},
            ),
        ),
        "compare": (CompareRequest(case=HERO, suite=SUITE), compared()),
        "bisect": (BisectRequest(fact=BROKEN), bisected()),
        "cot": (DONE, cot_result(DONE)),
        "cot partial": (FIRST, cot_result(FIRST, words=5)),
        "cot more": (cued, cot_result(cued)),
        "cot-questions": (
            CotQuestionsRequest(questions=(Question(id="1", task="sums", question=TOM),)),
            CotQuestionsResult(
                tasks=(
                    TaskSummary(
                        task="sums",
                        questions=1,
                        measures={"AOC": Estimate(value=0.5, low=0.1, high=0.9, questions=1)},
                    ),
                ),
                outcomes=(
                    QuestionOutcome(
                        id="1",
                        task="sums",
                        answer="7",
                        without="3",
                        right=True,
                        right_without=False,
                        same_without=False,
                        aoc=0.5,
                        settles=2,
                        sentences=3,
                        necessary=1,
                        followed=None,
                        acknowledged=None,
                        ended=True,
                        reasoning="So 7.",
                    ),
                ),
                unusable=(("2", "it is too long"),),
                asked=2,
            ),
        ),
        "erasure": (erase, erasure_result(erase)),
        "erasure partial": (erase, erasure_result(erase, probed=1)),
        "steering": (STEER, erasure_result(STEER)),
        "behaviour": (
            EditRequest(editor="contrast", settings=ContrastSettings(contrast="sentiment"), test=False),
            EditResult(editor="contrast", details=steered(), queue=queue),
        ),
        "steering sweep": (STEERING, sweep((-1, behaviour(-2)), (0.5, behaviour(1)), (1, behaviour(3, 40)))),
        "suite": (SuiteRequest(suite=SUITE, prepends=("as-is",)), suite),
    }


def recorded(*names: str) -> bytes:
    """A session file with these steps, as the shipped code writes it."""
    known = steps()
    session = Session(
        model=MODEL,
        steps=tuple(
            Step(
                id=number,
                started=STARTED,
                seconds=1.0,
                status="partial" if "partial" in name else "done",
                request=known[name][0],
                result=known[name][1],
            )
            for number, name in enumerate(names, 1)
        ),
    )
    return json.dumps(session.model_dump(mode="json")).encode()


def print_all(session: Session) -> None:
    """Draw every step as the command line does, and the whole as a report."""
    with redirect_stdout(io.StringIO()):
        for step in session.steps:
            print_step(step, session.model or MODEL)
    report = report_of(session)
    assert html_page(report)
    assert markdown_page(report)
    for step in session.steps:
        assert as_python(session, step)


class Replay:
    """One replay for many sessions: an app costs half a second, a session in it some hundredths."""

    def __init__(self, app: ReplayApp) -> None:
        self.app = app

    @property
    def main(self) -> ReplayScreen:
        return self.app._screen

    async def show(self, session: Session) -> None:
        """Show every step, every view of it, and its details. Raises what went wrong."""
        if not session.steps:
            return
        main = self.main
        main._line.place = 0
        main._session, main._line._steps = session, session.steps
        main.model = session.model
        main.cursor = main.case = None
        for place, step in enumerate(session.steps):
            main._go(place)
            await self._drawn()
            if (pane := main.showing.home_of(step.request)) is not None and step.result is not None:
                main.active = main.panes.index(pane) + 1
                pane.focus_content()
                for action in ("view", "metric", "rows", "layer", "peak", "chart", "detail"):
                    if (act := getattr(pane, f"action_{action}", None)) is not None and pane.check_action(action, ()):
                        act(*((1,) if action == "layer" else ()))
                        await self._drawn()
                        await self._back()
                if (focused := self.app.focused) is not None:
                    for action in ("choose", "select"):
                        if hasattr(focused, f"action_{action}"):
                            getattr(focused, f"action_{action}")()
                            await self._drawn()
                            await self._back()

    async def _back(self) -> None:
        while self.app.screen is not self.main:
            self.app.screen.dismiss()
            await self._drawn()

    async def _drawn(self) -> None:
        for _ in range(10):  # every widget has had its messages; Pilot's own pause costs some tenths of a second
            await asyncio.sleep(0)
        if self.app._exception is not None:
            raise self.app._exception
        screen = self.app.screen
        screen._refresh_layout()
        screen._compositor.render_strips()


@asynccontextmanager
async def replaying(size: tuple[int, int] = (100, 30)) -> AsyncIterator[Replay]:
    """A headless replay of nothing yet. What broke it is not raised again when it ends."""
    app = ReplayApp(Session.model_validate_json(recorded("lens")), Path("mutant.json"))
    running = app.run_test(size=size, notifications=True)
    pilot = await running.__aenter__()
    await pilot.pause()
    try:
        yield Replay(app)
    finally:
        app._exception = None
        await running.__aexit__(None, None, None)
