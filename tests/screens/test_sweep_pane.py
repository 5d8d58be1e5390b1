"""Sweeps in the app: a file is named, workers answer, other questions go on, and the table fills in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from screens.panes import PANES
from screens.panes.sweeps.form import SweepForm
from screens.panes.sweeps.pane import SweepPane
from screens.widgets.figure import FigureView
from tests.screens.recorded import STARTED
from tests.screens.test_app import Running, ask_hero, running
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState
from workbench.editing.records import FactsEditRequest, FactsEditResult, RecordOutcome
from workbench.editing.suite.scores import RoleScore
from workbench.events import Event, Finished, LoadRequest, Progressed, Started
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.tracing.facts import FactsTraceRequest
from workbench.models.info import ModelInfo
from workbench.session import Status, Step, StepError
from workbench.sweeping.beside import STAGE

EDIT = EditInfo(id="0123abcd", method="rome", title="L5 x → y", layers=(5,))
LINE = '{{"prompt": "The capital of {0} is", "subject": "{0}", "target": "Oslo"}}'
GO_ON = "Other questions go on meanwhile; esc stops it, what is done is kept."
COUNTRIES = ("France", "Spain", "Italy")


class PlayedSweeps:
    """Has the interface of the engine for sweeps; the test says what its workers come to."""

    made: list[PlayedSweeps]

    def __init__(self, listener: Callable[[Event], None], record: Callable[[Step], Step]) -> None:
        self.listener, self.record = listener, record
        self.asked: list[tuple[FactsEditRequest, LoadRequest, int, ModelInfo | None]] = []
        self.cancelled: list[int | None] = []
        self.closed = False
        self.made.append(self)

    def share(self, request: FactsEditRequest, load: LoadRequest, workers: int, model: ModelInfo | None) -> int:
        self.asked.append((request, load, workers, model))
        return 1000 + len(self.asked)

    def cancel(self, job: int | None = None) -> None:
        self.cancelled.append(job)

    def close(self, timeout: float = 0) -> bool:
        self.closed = True
        return True

    def say(self, number: int, done: int) -> None:
        """So many records of the sweep that was asked as this one are done."""
        request = self.asked[number - 1][0]
        partial = found(request, done) if done else None
        self.listener(Progressed(1000 + number, request, done, len(request.records), STAGE, partial, 90.0))

    def say_started(self, number: int) -> None:
        self.listener(Started(1000 + number, self.asked[number - 1][0]))

    def say_finished(self, number: int, done: int, status: Status = "done", error: StepError | None = None) -> None:
        request = self.asked[number - 1][0]
        result = found(request, done) if done else None
        step = Step(started=STARTED, seconds=9, status=status, request=request, result=result, error=error)
        self.listener(Finished(1000 + number, self.record(step)))


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> list[PlayedSweeps]:
    PlayedSweeps.made = []
    monkeypatch.setattr("screens.live.SweepEngine", PlayedSweeps)
    return PlayedSweeps.made


def found(request: FactsEditRequest, done: int) -> FactsEditResult:
    """The first so many records, all alike."""
    score = RoleScore(
        role="rewrite", prepend="as-is", facts=1, score=1, score_before=0, magnitude=0.5, magnitude_before=-0.5,
        exact=1, exact_before=0,
    )  # fmt: skip
    outcomes = tuple(
        RecordOutcome(
            id=record.id, title=f"{record.case.subject} → Oslo", layers=(3,), scores=(score,), failing=(),
            perplexity=20.5, size=0.1, seconds=1.5,
        )
        for record in request.records[:done]
    )  # fmt: skip
    return FactsEditResult(
        scores=(score,), harmonic={}, harmonic_before={}, perplexity_before=20, perplexity=20.5, records=outcomes
    )


def file_of(folder: Path, *more: str) -> Path:
    file = folder / "facts.jsonl"
    file.write_text("\n".join([*(LINE.format(country) for country in COUNTRIES), *more]))
    return file


async def ask_for(run: Running, file: str, editors: str = "", workers: str = "") -> None:
    """Open the form, and type into it what is to be other than it is."""
    if run.main.prompt.has_focus_within:
        await run.pilot.press("escape")
    form = pane(run)
    if not form.query_one(SweepForm).is_open:
        await run.pilot.press("#")
    await run.until(lambda: run.app.focused is not None and run.app.focused.id == "file")
    typed = {"file": file, "editors": editors, "workers": workers}
    for name, text in typed.items():
        if text:
            form.query_one(f"#{name}").value = text  # type: ignore[attr-defined]
    await run.pilot.press("enter")


def pane(run: Running) -> Any:
    return run.main.others[PANES.index(SweepPane)]


async def test_a_sweep_fills_in_while_other_questions_are_answered_and_is_stopped_by_itself(
    tmp_path: Path, played: list[PlayedSweeps]
) -> None:
    async with running() as run:
        await ask_for(run, str(file_of(tmp_path, "{}")))
        await run.until(lambda: "✗ line 4 of" in run.text)
        assert SweepForm.HINT in run.text, "the keys are said too"
        assert not played
        file_of(tmp_path)
        await ask_for(run, "", "grace, rome", "2")  # the file's name is still there
        await run.until(lambda: bool(played) and len(played[0].asked) == 2)
        sweeps = played[0]
        assert [(each[0].editor, each[2]) for each in sweeps.asked] == [("grace", 2), ("rome", 2)]
        request, load, _, model = sweeps.asked[0]
        assert (load, model) == (LoadRequest(model="tiny"), run.main.model)
        assert [record.case.subject for record in request.records] == list(COUNTRIES)
        sweeps.say_started(1)
        sweeps.say(1, 0)
        await run.until(lambda: "0 of 3 records" in run.text)
        assert "sweep 0/3 +1" in run.text
        sweeps.say(1, 2)
        await run.until(lambda: "2 of 3 records · 2 min left" in run.text)
        assert "Edits of records by GRACE · 3" in run.text

        await ask_hero(run)  # the engine is free
        await run.pilot.press("g")
        await run.until(lambda: isinstance(run.engine.last, ContinueRequest))
        run.engine.say_started()
        run.engine.say_progress(1, 5, None)
        sweeps.say(1, 2)
        await run.settle()
        assert "1/5" in run.text, "the running job is the engine's"
        assert "sweep 2/3 +1" in run.text
        await run.pilot.press("escape")
        await run.settle()
        assert (run.engine.cancelled, sweeps.cancelled) == (1, [])
        run.main.action_pane(2 + PANES.index(SweepPane))
        await run.settle()
        assert "2 of 3 records" in run.text
        await run.pilot.press("escape")
        await run.settle()
        assert (run.engine.cancelled, sweeps.cancelled) == (1, [1001])

        sweeps.say_finished(1, 2, "partial")
        sweeps.say_started(2)
        sweeps.say(2, 1)
        await run.until(lambda: "Edits of records by ROME: 1 of 3 records" in run.text)
        assert "Edits of records by GRACE · 3" in run.text, "it stays where it was looked at"
        sweeps.say_finished(2, 3)
        await run.until(lambda: "by 2 editors" in run.text)
        assert "stopped" not in run.text
        await run.pilot.press("m")
        await run.until(lambda: "stopped; what is done is kept, # goes on" in run.text)
        assert "Edits of records by GRACE · 3" in run.text
        assert "sweep" not in run.text.splitlines()[-2]
        kept = [(step.status, step.request) for step in run.main.recorded().steps if "facts" in step.request.kind]
        assert kept == [("partial", sweeps.asked[0][0]), ("done", sweeps.asked[1][0])]
        assert sweeps.closed is False
    assert sweeps.closed, "leaving ends the workers"
    assert sweeps.cancelled[-1] is None


async def test_what_workers_do_before_there_is_anything_to_see_is_said_where_it_will_be(
    tmp_path: Path, played: list[PlayedSweeps]
) -> None:
    async with running() as run:
        await ask_for(run, str(file_of(tmp_path)), workers="2")
        await run.until(lambda: bool(played) and bool(played[0].asked))
        await run.settle()
        view, sweeps = pane(run).query_one(FigureView), played[0]
        assert said(view) == ["Edits of records by ROME · 3 records", "starting 2 workers …", GO_ON]
        sweeps.say_started(1)
        await run.settle()
        assert "starting 2 workers …" in said(view)
        request = sweeps.asked[0][0]
        sweeps.listener(Progressed(1001, request, 0, 0, "loading the model in 2 workers", None, None))
        await run.until(lambda: "loading the model in 2 workers" in said(view))
        sweeps.say(1, 0)
        await run.until(lambda: "0 of 3 records" in said(view))
        assert said(view)[0] in run.text
        sweeps.say(1, 1)
        await run.until(lambda: said(view) == [])


def said(view: FigureView) -> list[str]:
    """In place of figures."""
    instead = view.query_one("#instead", Static)
    return str(instead.content).splitlines() if instead.display else []


async def test_without_workers_the_engine_answers_and_with_edits_on_a_trace_needs_it(
    tmp_path: Path, played: list[PlayedSweeps]
) -> None:
    async with running() as run:
        await ask_for(run, str(file_of(tmp_path)), workers="0")
        await run.until(lambda: isinstance(run.engine.last, FactsEditRequest))
        await run.settle()
        assert "Other questions wait meanwhile" in run.text
        await run.pilot.press("#")
        await run.until(lambda: run.app.focused is not None and run.app.focused.id == "file")
        pane(run).query_one("#sweep").value = "trace-facts"
        pane(run).query_one("#workers").value = ""
        pane(run).queue = QueueState(entries=(QueuedEdit(info=EDIT, on=True),))
        await run.settle()
        assert not pane(run).query_one("#editors").display
        await run.pilot.press("enter")
        await run.until(lambda: "1 edit is on, and workers have the model without" in run.text)
        pane(run).query_one("#workers").value = "0"
        await run.pilot.press("enter")
        await run.until(lambda: isinstance(run.engine.last, FactsTraceRequest))
        assert not played


def test_edits_that_are_on_are_none_of_those_that_a_sweep_of_edits_was_made_with() -> None:
    pane, edits = SweepPane(), (EDIT.id,)
    for request, drawn_with in (
        (FactsEditRequest.model_construct(editor="rome", records=()), ()),
        (FactsTraceRequest.model_construct(), edits),
    ):
        pane.take(request, FactsEditResult.model_construct(), edits)
        assert pane.drawn_edits == drawn_with
