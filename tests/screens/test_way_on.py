"""Which step makes sense next."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from screens.way_on import NextStep, way_on
from tests.screens.recorded import lens_result
from tests.screens.test_app import HERO, ask_hero, running
from workbench.case import Case
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.fix import FixRequest, FixResult
from workbench.editing.fix_candidates import FixCandidate
from workbench.editing.operations import QueueRequest, QueueResult
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState
from workbench.editing.suite.regression import SuiteRequest, SuiteResult
from workbench.methods.diagnose.diagnosis import DiagnoseRequest, DiagnoseResult
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import Request, Result
from workbench.session import Step

PLACES: dict[type[Request], str] = {FixRequest: "9", QueueRequest: "5"}
EDIT = EditInfo(id="0a1b2c3d", method="rome", title="an edit", layers=(3,))
ON = QueueState(entries=(QueuedEdit(info=EDIT, on=True),))
REWORDED = Case(prompt="Australia's capital is", subject="Australia", target="Canberra", foil="Sydney")


def step(request: Request, result: Result | None = None, edits: tuple[str, ...] = (), status: Any = "done") -> Step:
    """A step, of which no more is looked at than is given."""
    return Step.model_construct(
        id=1, started=datetime.now(UTC), seconds=1.0, edits=edits, status=status, request=request, result=result,
        error=None,
    )  # fmt: skip


ASKED = step(LensRequest(case=HERO), lens_result(HERO))
DIAGNOSED = step(DiagnoseRequest(case=HERO), DiagnoseResult.model_construct(case=HERO, fixes=("weights",)))
NOTHING_TO_FIX = step(DiagnoseRequest(case=HERO), DiagnoseResult.model_construct(case=HERO, fixes=()))
UNNAMED = step(DiagnoseRequest(case=HERO), DiagnoseResult.model_construct(case=HERO, fixes=(), failure="unnamed"))
CANDIDATES = (
    FixCandidate.model_construct(case=REWORDED, edit=None),
    FixCandidate.model_construct(case=None, edit=EDIT),
)
FIXED = step(FixRequest(case=HERO), FixResult.model_construct(case=HERO, candidates=CANDIDATES))
EDITED = step(EditRequest.model_construct(case=HERO), EditResult.model_construct(edit=EDIT, suite=None, queue=ON))
SUITE = step(SuiteRequest.model_construct(), SuiteResult.model_construct(), edits=(EDIT.id,))
SAVED = step(QueueRequest(action="save", path="x"), QueueResult(queue=ON, done="saved"), edits=(EDIT.id,))


@pytest.mark.parametrize(
    ("case", "steps", "queue", "expected"),
    [
        (None, (), QueueState(), "type a prompt, then enter"),
        (HERO, (), QueueState(), "enter in the prompt asks"),
        (HERO, (ASKED,), QueueState(), "D diagnoses it"),
        (HERO, (ASKED, DIAGNOSED), QueueState(), "F tries fixes"),
        (HERO, (ASKED, NOTHING_TO_FIX), QueueState(), "t traces where it sits"),
        (HERO, (ASKED, UNNAMED), QueueState(), "p names the target"),
        (
            HERO,
            (ASKED, NOTHING_TO_FIX, step(TraceRequest.model_construct(case=HERO))),
            QueueState(),
            "R writes the report",
        ),
        (HERO, (ASKED, DIAGNOSED, FIXED), QueueState(), "9 enter applies a fix"),
        (REWORDED, (ASKED, DIAGNOSED, FIXED), QueueState(), "R writes the report"),
        (HERO, (ASKED, FIXED), ON, "5 s saves a patch"),  # a fix was tested before it was proposed
        (HERO, (ASKED, EDITED), ON, "5 c runs the suite"),
        (HERO, (ASKED, EDITED, SUITE), ON, "5 s saves a patch"),
        (HERO, (ASKED, EDITED, SUITE, SAVED), ON, "R writes the report"),
        (HERO, (ASKED, EDITED), ON.model_copy(update={"bypassed": True}), "b puts the edits on again"),
        (Case(prompt="Another"), (ASKED, EDITED, SUITE), ON, "enter in the prompt asks"),
        (HERO, (step(LensRequest(case=HERO), None, status="cancelled"),), QueueState(), "enter in the prompt asks"),
    ],
)
def test_the_next_step_follows_from_what_was_asked(
    case: Case | None, steps: tuple[Step, ...], queue: QueueState, expected: str
) -> None:
    assert str(way_on(case, steps, queue, PLACES)) == expected


def test_a_diagnosis_that_filled_the_case_in_counts_for_what_it_came_to() -> None:
    bare = Case(prompt=HERO.prompt)
    filled = step(DiagnoseRequest(case=bare), DiagnoseResult.model_construct(case=HERO, fixes=("weights",)))
    assert str(way_on(HERO, (filled,), QueueState(), PLACES)) == "F tries fixes"


def test_a_suite_with_other_edits_is_none_of_these() -> None:
    other = SUITE.model_copy(update={"edits": ("ffffffff",)})
    assert str(way_on(HERO, (ASKED, EDITED, other), ON, PLACES)) == "5 c runs the suite"


async def test_the_status_line_names_it_and_follows_what_is_typed() -> None:
    async with running() as run:
        assert "next: type a prompt, then enter" in run.text
        await run.type("The capital")
        assert "next: enter in the prompt asks" in run.text
        await ask_hero(run)
        assert "next: D diagnoses it" in run.text
        await run.pilot.press("D")
        await run.until(lambda: isinstance(run.engine.last, DiagnoseRequest))
        run.engine.say_started()
        run.engine.say_progress(1, 9, None)
        await run.settle()
        assert "next:" not in run.text  # a job that runs is what is told
        assert "esc cancels" in run.text


async def test_once_the_report_is_written_it_is_no_more_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("screens.pane_screen.way_on", lambda *_: NextStep("R", "writes the report"))
    async with running() as run:
        await ask_hero(run)
        assert "next: R writes the report" in run.text
        await run.pilot.press("R")
        await run.until(lambda: "next: p asks about another prompt" in run.text)
        await ask_hero(run)
        assert "next: R writes the report" in run.text
