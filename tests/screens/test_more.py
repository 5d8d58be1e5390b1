"""What goes on from a reasoning: its list, the form that begins with the reasoning, what is asked, what is drawn."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import pytest

from screens.more import MoreScreen, following, in_words
from screens.panes.cot import views
from screens.panes.cot.detail import lines
from screens.panes.cot.ledger import CotLedger
from screens.panes.cot.pane import CotPane
from screens.panes.cot.resampled import disagreement
from screens.panes.figure_pane import FigurePane
from screens.widgets.figure_models import TableModel
from screens.widgets.request_form import RequestForm
from tests.screens.asked import CHOICES, FIRST, REASONING, TOM
from tests.screens.recorded import cot_result
from tests.screens.test_app import Running, running
from tests.screens.test_cot_pane import ask_tom, words
from workbench.case import Case
from workbench.datasets.questions import Question
from workbench.figures import Table
from workbench.methods.cot.hint_figures import cot_hints_figures
from workbench.methods.cot.hint_results import CotHintsRequest, HintOutcome, summary_of
from workbench.methods.cot.hinted import beginning
from workbench.methods.cot.hints import HINTS
from workbench.methods.cot.importance import Difference
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.resample_result import ResampleRequest, ResampleResult, SentenceImportance
from workbench.methods.cot.result import CotResult
from workbench.methods.cot.truncation import CotRequest
from workbench.registry import method
from workbench.session import Step, StepError


async def open_form(run: Running, kind: str) -> FigurePane:
    """Choose a question in the list by the keyboard."""
    places = [one.kind for one in following(CotRequest)]
    await run.pilot.press("Q")
    await run.until(lambda: isinstance(run.app.screen, MoreScreen))
    await run.pilot.press(*["down"] * places.index(kind), "enter")
    pane = next(pane for pane in run.main.others if isinstance(pane, FigurePane) and pane.METHOD is method(kind))
    await run.until(lambda: bool(pane.query(RequestForm)) and bool(pane.query_one(RequestForm).children))
    await run.settle()
    return pane


def resampled_step(asked: ResampleRequest, base: CotResult, disagree: Collection[int], necessary: bool = False) -> Step:
    """Resampling of a reasoning, of whose sentences (from 1) these are said other things of when one is left out."""
    apart = Difference(value=0.7, low=0.5, high=0.9, chance=0.55)
    sentences = tuple(
        SentenceImportance(
            forced=0.1, resampling=apart, counterfactual=apart, others=20, share=0.5, share_before=0.1,
            necessary=necessary, disagree=nth in disagree,
        )
        for nth in range(1, len(base.sentences) + 1)
    )  # fmt: skip
    result = ResampleResult(base=base, sentences=sentences)
    return Step(started=datetime.now(UTC), seconds=1, status="done", request=asked, result=result)


def test_a_reasoning_says_where_leaving_one_out_and_resampling_disagree_whichever_was_first() -> None:
    base, asked = cot_result(FIRST), ResampleRequest(case=Case(prompt=TOM))
    for before in (True, False):
        for necessary, mark in ((False, "◇ matters when resampled"), (True, "◇ does not matter when resampled")):
            ledger, step = CotLedger(), resampled_step(asked, base, (4, 5), necessary)
            assert isinstance(step.result, ResampleResult)
            if before:
                ledger.resample(asked, step.result, ())
            ledger.take(FIRST, base, ())
            run = ledger.at
            assert run is not None
            if not before:
                assert disagreement(run) == ""
                ledger.resample(asked, step.result, ("another edit",))
                assert disagreement(run) == ""
                ledger.resample(asked, step.result, ())
            rows = views.rows(run, ())
            assert [mark in row.marks for row in rows] == [False] * 4 + [True] * 2
            assert disagreement(run).startswith("Leaving out and resampling disagree about sentences 4, 5")
            detail = [line.plain for line in lines(rows[4], run, 60)]
            assert f"sentence 4: {step.result.sentences[3].disagreement}" in detail
            assert not any("sentence 3" in line.plain for line in lines(rows[3], run, 60))


def test_everything_in_the_list_says_what_it_is() -> None:
    said = {one.kind: in_words(one).plain.split("\n") for one in following(CotRequest)}
    assert all(len(lines) == 2 and lines[1] for lines in said.values())
    assert said["cot-hints"][1].startswith("Ask each question without a hint")
    assert said["suppress"][1].startswith("what becomes of the answer")


async def test_resampling_is_asked_about_the_reasoning_on_the_screen() -> None:
    async with running((80, 24)) as run:
        await ask_tom(run)
        pane = await open_form(run, "resample")
        assert "Reasoning resampled" in words(run)
        field = pane.query_one(RequestForm)._fields.field("rollouts")
        field.value = "many"
        field.focus()
        await run.pilot.press("enter")
        await run.until(lambda: "'many' is not a whole number" in words(run))
        field.value = "4"
        await run.pilot.press("enter")
        asked = ResampleRequest(case=Case(prompt=TOM), reasoning=REASONING, rollouts=4)
        await run.until(lambda: run.engine.last == asked)
        run.engine.say_started()
        base = cot_result(FIRST)
        run.engine.say_progress(3, 24, ResampleResult(base=base), stage="resampling")
        await run.until(lambda: "resampling 12%" in words(run))
        assert "The answer if the reasoning stopped here" in words(run)
        run.engine.say_finished(None, "failed", StepError(kind="InputError", message="the context is full; ask less"))
        await run.until(lambda: "the context is full" in words(run))
        assert pane.asked_of(Case(prompt="Another one?"))[0].reasoning is None  # that of Tom's apples is no other's
        run.main.show_step(resampled_step(asked, base, disagree=(4, 5)))
        rows = run.main.query_one(CotPane)._reasoned.rows
        assert ["◇ matters when resampled" in row.marks for row in rows] == [False] * 4 + [True] * 2


async def test_escape_leaves_the_list_and_a_changed_prompt_is_said() -> None:
    async with running((80, 24)) as run:
        await ask_tom(run)
        await run.pilot.press("Q")
        await run.until(lambda: isinstance(run.app.screen, MoreScreen))
        assert "What the states knew" in run.text
        await run.pilot.press("escape")
        await run.until(lambda: not isinstance(run.app.screen, MoreScreen))
        last = run.engine.last
        run.main.prompt.put(Case(prompt="Another one?"))
        await run.settle()
        await run.pilot.press("Q")
        await run.until(lambda: "The prompt has changed since" in run.notified)
        assert run.engine.last == last


def test_hints_begin_with_the_question_alone_and_shipped_examples() -> None:
    request = CHOICES.model_copy(update={"sampling": Sampling(tokens=99)})
    begun = beginning(request, cot_result(CHOICES))
    assert [one.question for one in begun["questions"]] == [TOM]
    assert begun["questions"][0].choices == CHOICES.choices
    assert len(begun["examples"]) == 2
    assert begun["tokens"] == 99
    asked = CotHintsRequest(questions=begun["questions"], examples=begun["examples"], hints="metadata, position")  # type: ignore[arg-type]
    assert asked.hints == ("metadata", "position")
    assert asked.case == Case(prompt=TOM)


def test_hints_at_one_question_are_drawn_as_answers_and_not_as_shares() -> None:
    begun = beginning(CHOICES, cot_result(CHOICES))
    request = CotHintsRequest(questions=begun["questions"], examples=begun["examples"])
    alike = {"id": "asked", "before": "10", "suggested": "4", "alarm": "", "ended": True, "reasoning": "It is so."}
    moved = HintOutcome(hint="metadata", answer="4", again="10", mentioned="The tag says 4.", words="tag", **alike)
    stayed = HintOutcome(hint="position", answer="10", again="4", mentioned="", words="", **alike)
    table, *_ = cot_hints_figures(summary_of(request, [moved, stayed], {}))
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["metadata", "→ 4", "10", "“The tag says 4.” (tag)"],
        ["position", "10", "→ 4", "silent"],
    ]


def test_no_share_of_hints_at_many_questions_is_cut_in_80_columns() -> None:
    questions = tuple(Question(id=f"sense-{n:03}", task="t", question="?", choices=("a", "b")) for n in range(140))
    alike = {"before": "a", "suggested": "b", "again": "a", "words": "it", "alarm": "", "ended": True, "reasoning": ""}
    outcomes = [
        HintOutcome(id=one.id, hint=hint, answer="b", mentioned="It says so." * 9, **alike)
        for one in questions
        for hint in HINTS
    ]
    figures = cot_hints_figures(summary_of(CotHintsRequest(questions=questions), outcomes, {}))
    for table in (figure for figure in figures[:3] if isinstance(figure, Table)):
        labels = max(len(row[0].text) for row in table.rows)
        for place, column in enumerate(TableModel(table).columns(76 - labels - 3), 1):
            assert column.width > max(len(row[place].text) for row in table.rows)
    assert [figure.title for figure in figures[3 : 3 + len(HINTS)]] == [f"Moved by {hint}" for hint in HINTS]


@pytest.mark.parametrize("kind", [one.kind for one in following(CotRequest)])
def test_what_follows_a_reasoning_takes_what_it_begins_with(kind: str) -> None:
    one = method(kind)
    begun = one.begins(CHOICES, cot_result(CHOICES))
    assert set(begun) - set(one.request.model_fields) <= {"tokens"}  # which is the sampling's
