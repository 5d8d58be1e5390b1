"""The edits pane: its rows and words, its form, its keys, before and after in every pane, and sessions with edits."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import OptionList, Static

from screens.answers import KEPT, KeptSteps, active_edits
from screens.panes.edits import chart as edits_chart
from screens.panes.edits import views as edits_views
from screens.panes.edits.chart import EditChart
from screens.panes.edits.detail import EditDetail
from screens.panes.edits.form import EditForm
from screens.panes.edits.ledger import EditLedger, Measured
from screens.panes.edits.list import EditList
from screens.panes.edits.pane import EditsPane
from screens.panes.edits.path import default_name, in_words
from screens.panes.lens.pane import LensPane
from screens.panes.trace.pane import TracePane
from screens.replay import ReplayApp
from screens.widgets.choice_field import ChoiceField
from screens.widgets.settings_fields import SettingsFields
from tests.screens.asked import SUITE
from tests.screens.recorded import (
    BROKEN,
    MODEL,
    STARTED,
    attribution_result,
    bisected,
    compared,
    edit_info,
    lens_result,
    queue_result,
    queue_state,
    rome_result,
    suite_result,
    trace_result,
)
from tests.screens.test_app import HERO, Running, ask_hero, running
from workbench.case import Case
from workbench.editing import advice
from workbench.editing.bisection import BisectRequest
from workbench.editing.compare import CompareRequest
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.memit.memit import MemitSettings
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.operations import QueueRequest
from workbench.editing.queue import EditInfo, QueuedEdit, QueueState
from workbench.editing.sequence import SequencePoint
from workbench.editing.suite.regression import SuiteRequest
from workbench.events import LoadRequest, LoadResult
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.methods.tracing.layer import traced_layer
from workbench.protocol import Frozen, Request, Result
from workbench.session import Session, SessionFile, Status, Step, StepError

REQUEST = EditRequest(case=HERO)
ONE = queue_state(True)


def step(request: Request, result: Result | None, edits: tuple[str, ...] = (), status: Status = "done") -> Step:
    """A step that is done, or was cut short."""
    return Step(started=STARTED, seconds=0.2, edits=edits, status=status, request=request, result=result)


def target_said(edits: int) -> str:
    """How a lens says the target at the last token and layer, with so many edits on."""
    last = lens_result(HERO, edits=edits).columns[-1]
    assert last is not None
    assert last.target is not None
    return f"Canberra {last.target.probability[-1]:.2f}".replace(" 0.", " .") + f" #{last.target.rank[-1]}"


def made(tested: bool = True) -> EditResult:
    """The first edit, as it is made; without its suite, if that was not asked for."""
    return rome_result() if tested else rome_result().model_copy(update={"suite": None})


async def make_edit(run: Running, suite: bool = True) -> None:
    """One edit by the form, and the lens that is asked anew after it."""
    await run.pilot.press("e", "enter")
    await run.until(lambda: isinstance(run.engine.last, EditRequest))
    run.engine.say_started()
    run.engine.say_finished(made(suite))
    await run.until(lambda: isinstance(run.engine.last, LensRequest))
    run.engine.say_finished(lens_result(HERO, edits=1))
    await run.settle()


@asynccontextmanager
async def edited(size: tuple[int, int] = (80, 24), suite: bool = True) -> AsyncIterator[Running]:
    """An app in which the hero case has been asked about and edited."""
    async with running(size) as run:
        await ask_hero(run)
        await make_edit(run, suite)
        yield run


def pane(run: Running) -> EditsPane:
    return run.app.screen.query_one(EditsPane)


def values(run: Running, *names: str) -> list[str]:
    """What stands in some fields of the form."""
    return [pane(run).query_one(f"#{name}", ChoiceField).value for name in names]


def rival(number: int) -> EditInfo:
    """The edit of a compared editor."""
    info = compared().rivals[number].edit
    assert info is not None
    return info


def at_layer(layer: int | None) -> EditRequest:
    """The hero case's edit, at a layer."""
    return REQUEST.model_copy(update={"settings": RomeSettings(layer=layer)})


def traced_there(run: Running, request: TraceRequest) -> str:
    """What is said of a trace at the cursor, without edits and with one."""
    layer, token = run.main.cursor.layer, run.main.cursor.token
    found = [trace_result(request, edits=edits) for edits in (0, 1)]
    without, now = (f"{result.grids[0].values[layer][token]:.2f}"[1:] for result in found)
    return f"without edits: p({found[0].answer.strip()}) {without} → with 1 edit: p({found[1].answer.strip()}) {now}"


def traced(run: Running, case: Case = HERO) -> int | None:
    """The layer that the traces which the app knows propose."""
    return traced_layer(((step.request, step.result) for step in run.main.answers), case)


# What is said, without an app


def test_edits_that_are_bypassed_or_off_are_not_active() -> None:
    first, second = (edit_info(number).id for number in (1, 2))
    assert active_edits(queue_state(True, True)) == (first, second)
    assert active_edits(queue_state(False, True)) == (second,)
    assert active_edits(queue_state(True, True, bypassed=True)) == ()


def test_scores_name_what_passes_and_what_passed_without_edits_where_that_differs() -> None:
    measured = Measured(active_edits(ONE), suite_result())
    said = edits_views.scores_in_words(measured, "as-is", active_edits(ONE), 100)
    assert said == "efficacy 1/1 (0) · generalization 0/2 · specificity 3/3 · unrelated 1/1 · attribute 0/1 (1)"


def test_scores_that_do_not_fit_are_left_out_from_the_end_and_other_edits_are_said() -> None:
    measured = Measured(active_edits(ONE), suite_result())
    said = edits_views.scores_in_words(measured, "as-is", active_edits(queue_state(True, True)), 60)
    assert said == "eff. 1/1 (0) · gen. 0/2 · spec. 3/3 · measured with 1 edit"


def test_what_fails_stands_first_and_of_that_what_passed_before() -> None:
    rows = edits_views.fact_rows(suite_result())
    assert rows[0].fact == BROKEN
    assert [row.outcome.after.passes for row in rows] == [False] * 6 + [True] * 10
    text = edits_views.fact_content(rows[0]).plain
    assert "passed → FAILS · Sydney .08 → .01 · says “located” .56 → “located” .56" in text


def test_a_job_stands_after_the_queue_and_a_failure_until_the_next_question() -> None:
    ledger = EditLedger()
    ledger.asked(REQUEST)
    assert [(row.state, row.title) for row in ledger.rows(ONE)] == [
        ("on", "L1 Australia → Canberra"),
        ("planned", "Australia → Canberra"),
    ]
    error = StepError(kind="NumericalError", message="the numbers are not finite; edit another layer")
    ledger.ended(step(REQUEST, None).model_copy(update={"status": "failed", "error": error}))
    assert [(row.state, row.said) for row in ledger.rows(ONE)][1:] == [("failed", error.message)]
    ledger.asked(QueueRequest(action="undo"))
    assert [row.state for row in ledger.rows(ONE)] == ["on"]


def test_points_count_the_edits_that_were_on_and_begin_without_any() -> None:
    ledger = EditLedger()
    two = queue_state(True, True)
    suites = [suite_result(edits=edits) for edits in (1, 2)]
    ledger.ended(step(REQUEST, made()))
    ledger.ended(step(REQUEST, rome_result(2), active_edits(ONE)))
    ledger.ended(step(SuiteRequest(suite=SUITE), suites[1], active_edits(two)))
    points = ledger.points("as-is")
    expected = [(0, suites[0].perplexity_before), *((n, suite.perplexity) for n, suite in enumerate(suites, 1))]
    assert [(point.edits, point.perplexity) for point in points] == expected
    assert edits_chart.score_of(points[0]) == suites[0].harmonic_before["as-is"]
    assert edits_chart.score_of(points[1]) == suites[0].harmonic["as-is"]
    assert "! It turns at 2" in edits_chart.in_words(points).plain  # 26.4 is more than a tenth above 23.4


def test_a_suite_that_was_stopped_is_no_point() -> None:
    ledger = EditLedger()
    ledger.ended(step(REQUEST, rome_result(done=16)))
    assert [point.edits for point in ledger.points("as-is")] == [0]
    assert edits_chart.in_words(ledger.points("as-is")).plain == edits_chart.NONE


def test_no_turn_is_said_where_there_is_none() -> None:
    points = [SequencePoint(edits=n, scores=(), harmonic={"as-is": 0.9}, perplexity=20.0) for n in range(3)]
    assert "has not turned by 2" in edits_chart.in_words(points).plain


def test_answers_are_found_by_question_and_edits_and_compared_with_the_unedited_one() -> None:
    answers, question = KeptSteps(), LensRequest(case=HERO)
    for edits in ((), ("a",), ("a", "b")):
        answers.keep(question, step(question, lens_result(HERO), edits))
    assert answers.find(question, ("a",)).edits == ("a",)  # type: ignore[union-attr]
    assert answers.find(question, ("b",)) is None
    assert answers.other(question, ("a",)).edits == ()  # type: ignore[union-attr]
    assert answers.other(question, ()).edits == ("a", "b")  # type: ignore[union-attr]
    assert answers.other("another", ()) is None
    answers.keep("cut short", step(question, lens_result(HERO, done=1), status="partial"))
    assert answers.find("cut short", ()) is None
    assert answers.other("cut short", ("a",)).status == "partial"  # type: ignore[union-attr]
    for status in ("done", "partial"):
        answers.keep("cut short", step(question, lens_result(HERO), status=status))
    assert answers.find("cut short", ()).status == "done"  # type: ignore[union-attr]
    for number in range(KEPT):
        answers.keep(number, step(question, lens_result(HERO)))
    assert answers.find(question, ("a",)) is None


def test_the_traced_layer_is_the_peak_at_the_subject_s_last_token_in_mlps_if_there_are_any() -> None:
    request = TraceRequest(case=HERO, kinds=("states", "mlp"))
    result = trace_result(request)
    assert traced_layer([], HERO) is None
    at_subject = [[row[3] or 0.0 for row in grid.values] for grid in result.grids]
    at_subject[0][0] = 0.0  # so that the two differ, which are as high as each other at layer 0
    states, mlp = (column.index(max(column)) for column in at_subject)
    assert states != mlp
    rows = [[*row] for row in result.grids[0].values]
    rows[0][3] = 0.0
    grid = result.grids[0].model_copy(update={"values": tuple(map(tuple, rows))})
    result = result.model_copy(update={"grids": (grid, *result.grids[1:])})
    assert traced_layer([(request, result)], HERO) == mlp
    assert traced_layer([(request, result.model_copy(update={"grids": result.grids[:1]}))], HERO) == states
    assert traced_layer([(request, result)], HERO.model_copy(update={"subject": "capital"})) is None


def test_a_row_of_an_editor_that_there_is_no_more_has_its_bare_name() -> None:
    entry = ONE.entries[0].model_copy(update={"info": edit_info().model_copy(update={"method": "gone"})})
    (row,) = EditLedger().rows(ONE.model_copy(update={"entries": (entry,)}))
    assert "1 gone L1 Australia → Canberra" in edits_views.row_content(row, (), 80).plain


# The form


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (130, 16)])
async def test_e_opens_the_form_filled_from_the_case_and_enter_asks(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await ask_hero(run)
        await run.pilot.press("e")
        await run.settle()
        assert values(run, "subject", "target", "editor", "suite", "layer") == ["Australia", "Canberra", "rome", "", ""]
        await run.pilot.press("enter")
        await run.settle()
        assert run.engine.last == REQUEST
        assert "◌ planned" in run.text
        assert pane(run).query_one(OptionList).has_focus


async def test_without_edits_the_pane_says_what_to_do() -> None:
    async with running() as run:
        await run.pilot.press("escape", "5")
        await run.settle()
        assert "No edits yet." in run.text
        assert "Press e to make the model say the target." in run.text


async def test_a_value_that_cannot_be_used_is_said_in_the_form_and_nothing_typed_is_lost() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e", "tab", "tab", "tab", *"x", "enter")
        await run.settle()
        assert "✗ layer: 'x' is not a whole number" in run.text
        await run.pilot.press("backspace", *"2", "shift+tab", *"/no/file.json", "enter")
        await run.settle()
        assert "/no/file.json" in " ".join(run.text.split())
        assert not isinstance(run.engine.last, EditRequest)
        await run.pilot.press("escape", "n")
        await run.settle()
        assert values(run, "subject", "target", "layer", "suite") == ["Australia", "Canberra", "2", "/no/file.json"]


async def test_the_form_warns_before_one_edit_more_than_is_commonly_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    async with edited() as run:
        monkeypatch.setattr(advice, "MANY", 2)
        await run.pilot.press("e")
        await run.settle()
        assert "enter edits" in run.text
        await run.pilot.press("escape")
        monkeypatch.setattr(advice, "MANY", 1)
        await run.pilot.press("e")
        await run.settle()
        hint = str(pane(run).query_one("#hint", Static).content)
        assert hint.startswith("! many edits 2: past 50 edits models commonly begin to lose what should stay")
        assert "not measured on this model yet · enter edits" in hint


async def test_an_editor_that_there_is_not_is_said_in_the_form() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e", "tab", *"x", "enter")
        await run.settle()
        assert "✗ there is no editor 'x'; choose one of rome" in run.text
        await run.pilot.press("down", "enter")
        await run.until(lambda: run.engine.last == REQUEST)


async def test_every_setting_of_the_editor_has_a_field_and_what_is_typed_there_is_asked() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e")
        await run.settle()
        fields = pane(run).query_one(SettingsFields)
        assert set(fields.typed()) >= set(RomeSettings.model_fields)
        assert fields.field("steps").placeholder == "25"
        assert "(at least 1 and at most 1 000)" in str(fields.field("steps").tooltip)
        fields.field("steps").value, fields.field("clamp").value = "7", " 2.5 "
        fields.field("variant").focus()
        await run.pilot.press("down", "down", "enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        settings = RomeSettings(steps=7, clamp=2.5, variant="corrected")
        assert run.engine.last == REQUEST.model_copy(update={"settings": settings})


async def test_fields_of_an_editor_are_made_when_it_is_chosen_and_keep_what_was_typed() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e")
        await run.settle()
        fields, editor = pane(run).query_one(SettingsFields), pane(run).query_one("#editor", ChoiceField)

        def shown() -> list[str | None]:
            return [field.id for field in fields.query(ChoiceField) if field.display]

        def those_of(*models: type[Frozen]) -> list[str]:
            return [each.name for each in fields.settings if any(each.name in model.model_fields for model in models)]

        assert shown() == [field.id for field in fields.query(ChoiceField)] == those_of(RomeSettings)
        fields.field("steps").value = "7"
        editor.value = "memit"
        await run.settle()
        assert shown() == those_of(MemitSettings)
        assert [field.id for field in fields.query(ChoiceField)] == those_of(RomeSettings, MemitSettings)
        fields.field("layers").value = "3-5"
        for name, field, typed in (("rome", "steps", "7"), ("memit", "layers", "3-5")):
            editor.value = name
            await run.settle()
            assert fields.field(field).display
            assert fields.field(field).value == typed


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (80, 21)])
async def test_every_field_of_the_form_can_be_seen_when_tab_leads_to_it_and_so_can_the_queue(
    size: tuple[int, int],
) -> None:
    async with edited(size) as run:
        await run.pilot.press("e")
        await run.settle()
        form, seen = pane(run).query_one(EditForm), []
        while form.has_focus_within and (field := run.app.screen.focused) not in seen:
            assert isinstance(field, ChoiceField)
            assert field.region.height == 1
            assert field.region.width >= 10
            assert form.region.contains_region(field.region)
            assert run.app.screen.find_widget(field).visible_region == field.region
            assert "● on        1 ROME L1 Australia → Canberra" in run.text
            assert "enter edits" in run.text
            seen.append(field)
            await run.pilot.press("tab")
            await run.settle()
        assert {"target", "editor", "suite"} | set(RomeSettings.model_fields) <= {field.id for field in seen}


async def test_an_editor_of_many_facts_takes_a_file_of_others_and_what_conflicts_is_said_in_the_form(
    tmp_path: Path,
) -> None:
    file = tmp_path / "others.jsonl"
    peru = {"prompt": "The capital of Peru is", "subject": "Peru", "target": "Rome"}
    same = {"prompt": HERO.prompt, "subject": HERO.subject, "target": "Canberra"}
    file.write_text(json.dumps(peru))
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e")
        await run.settle()
        others = pane(run).query_one("#others", ChoiceField)
        assert not others.region.height
        pane(run).query_one("#editor", ChoiceField).value = "memit"
        await run.settle()
        assert others.region.height == 1
        others.value = str(file)
        others.focus()
        file.write_text(json.dumps({**same, "target": "Perth"}))
        await run.pilot.press("enter")
        await run.settle()
        hint = str(pane(run).query_one("#hint", Static).content)
        assert hint == (
            "✗ two cases conflict: 'The capital of Australia is' is to be continued by 'Canberra' and by 'Perth'; "
            f"leave one of them out\n{EditForm.HINT}"
        )
        file.write_text(f"{json.dumps(peru)}\n{json.dumps(same)}")
        await run.pilot.press("enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        assert [case.subject for case in run.engine.last.cases] == ["Australia", "Peru"]
        await run.settle()
        assert "2 facts" in run.text


async def compare(run: Running) -> None:
    """Three editors, of which one could not."""
    await ask_hero(run)
    await run.pilot.press("5", "C")
    await run.until(lambda: isinstance(run.engine.last, CompareRequest))
    run.engine.say_started()
    run.engine.say_finished(compared())
    await run.settle()


async def test_capital_c_compares_every_editor_on_the_case_on_screen() -> None:
    async with running() as run:
        await compare(run)
        assert run.engine.last == CompareRequest(case=HERO)
        assert "Edits · 3 editors compared" in run.text
        lines = [line.split() for line in run.text.splitlines()]
        assert any(line[1:3] == ["unedited", "0.0"] for line in lines)
        assert any(line[1:3] == ["rome", "100.0"] for line in lines)
        assert any(line[1:3] == ["ft-m", "100.0"] for line in lines)
        assert "could not: MEND has not been trained" in run.text


async def test_enter_on_a_row_puts_that_edit_into_the_queue() -> None:
    async with running() as run:
        await compare(run)
        await run.pilot.press("j", "enter")
        await run.until(lambda: isinstance(run.engine.last, QueueRequest))
        entry = QueuedEdit(info=rival(1), on=True)
        assert run.engine.last == QueueRequest(action="restore", entries=(entry,))
        queue = QueueState(entries=(entry,), can_undo=True)
        run.engine.say_finished(queue_result(queue, "restored: 1 edit"))
        await run.settle()
        assert "● on        1 Fine-tuning L1 Australia → Canberra" in run.text
        assert pane(run).query_one(EditList).has_focus
        await run.pilot.press("v")
        await run.settle()
        assert "3 editors compared" in run.text
        await run.pilot.press("v")
        await run.until(lambda: isinstance(run.app.screen, EditChart))


async def test_a_row_without_an_edit_says_why_and_changes_nothing() -> None:
    async with running() as run:
        await compare(run)
        await run.pilot.press("j", "j", "enter")
        await run.settle()
        assert "✗ MEND made no edit: MEND has not been trained" in run.text
        assert isinstance(run.engine.last, CompareRequest)


async def test_a_partial_comparison_shows_the_rows_that_are_done() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("5", "C")
        await run.until(lambda: isinstance(run.engine.last, CompareRequest))
        run.engine.say_started()
        run.engine.say_progress(200, 400, compared(1), "Fine-tuning: optimising")
        await run.settle()
        assert "1 editor compared" in run.text
        assert "Fine-tuning: optimising 50%" in run.text
        run.engine.say_finished(compared(1), status="partial")
        await run.settle()
        assert "ROME" in run.text


async def test_without_a_target_nothing_is_compared() -> None:
    async with running(case=HERO.model_copy(update={"target": None})) as run:
        await run.pilot.press("escape", "5", "C")
        await run.until(lambda: "a target first" in run.notified)
        assert not isinstance(run.engine.last, CompareRequest)


async def test_a_suite_file_is_part_of_the_request(tmp_path: Path) -> None:
    file = tmp_path / "suite.json"
    file.write_text(SUITE.model_dump_json())
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e", "tab", "tab")
        assert run.app.screen.focused.id == "suite"  # type: ignore[union-attr]
        run.app.screen.focused.value = str(file)  # type: ignore[union-attr]
        await run.pilot.press("enter")
        await run.settle()
        assert run.engine.last == REQUEST.model_copy(update={"suite": SUITE})


async def test_without_a_target_the_form_says_so() -> None:
    async with running(case=HERO.model_copy(update={"target": None})) as run:
        await run.pilot.press("e", "enter")
        await run.settle()
        assert "an edit needs a target" in run.text
        await run.pilot.press(*"Canberra", "enter")
        await run.settle()
        assert run.engine.last == REQUEST


async def test_the_form_is_filled_from_a_trace_of_the_case() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("t")
        await run.settle()
        run.engine.say_finished(trace_result(TraceRequest(case=HERO)))
        await run.settle()
        layer = traced(run)
        assert layer is not None
        await run.pilot.press("5", "e", "enter")
        await run.settle()
        assert run.engine.last == at_layer(layer)


async def test_e_from_the_trace_opens_the_form_with_the_layer_that_it_found() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("t", "e")
        await run.settle()
        assert values(run, "layer") == [""]  # nothing was traced yet
        await run.pilot.press("escape")
        run.engine.say_finished(trace_result(TraceRequest(case=HERO)))
        await run.pilot.press("4", "e")
        await run.settle()
        await run.pilot.press("enter")
        await run.settle()
        layer = traced(run)
        assert layer is not None
        assert run.engine.last == at_layer(layer)


# What happened


async def test_every_stage_stands_in_the_row_and_scores_as_soon_as_there_are_any() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e", "enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        run.engine.say_started()
        run.engine.say_progress(5, 25, None, "optimising, loss 1.234, p 0.40")
        await run.settle()
        assert "… computing" in run.text
        assert "optimising, loss 1.234, p 0.40 · 20% · 12 s left" in run.text
        run.engine.say_progress(50, 100, rome_result(done=16), "suite: facts")
        await run.settle()
        assert "efficacy 1/1 (0) · generalization 0/2 · specificity 3/3" in run.text
        run.engine.say_finished(made())
        await run.settle()
        assert "● on        1 ROME L1 Australia → Canberra" in run.text
        assert "specificity 3/3" in run.text
        assert all(f"! {check.name}" in run.text for check in made().checks[:2] if check.level == "warn")


async def test_an_edit_that_failed_says_why_in_its_row() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e", "enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        error = StepError(kind="InputError", message="there is no layer 99; choose from 0 to 5")
        run.engine.say_finished(None, status="failed", error=error)
        await run.settle()
        assert "✗ failed" in run.text
        assert "there is no layer 99" in run.text
        assert "to come" not in run.text


async def test_a_cancelled_edit_is_gone() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("e", "enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        run.engine.say_finished(None, status="cancelled")
        await run.settle()
        assert "planned" not in run.text
        assert "cancelled" in run.text
        assert "No edits yet." in run.text


# Keys


async def test_keys_ask_for_what_they_do_to_the_edit_that_is_highlighted() -> None:
    async with edited() as run:
        run.main.queue = queue_state(True, False, True)
        await run.settle()
        second = edit_info(2).id
        asked = len(run.engine.asked)
        await run.pilot.press("j", "space", "K", "J", "x", "u", "U")
        await run.settle()
        assert run.engine.asked[asked:] == [
            QueueRequest(action="on", edit=second),
            QueueRequest(action="move", edit=second, by=-1),
            QueueRequest(action="move", edit=second, by=1),
            QueueRequest(action="remove", edit=second),
            QueueRequest(action="undo"),
            QueueRequest(action="redo"),
        ]


async def test_the_highlight_follows_an_edit_that_moves_and_stays_where_one_was_removed() -> None:
    async with edited() as run:
        run.main.queue = queue_state(True, True, True)
        await run.pilot.press("j")
        await run.settle()
        moved = queue_state(True, True, True)
        first, second, third = moved.entries
        run.main.queue = moved.model_copy(update={"entries": (second, first, third)})
        await run.settle()
        assert (pane(run)._chosen, pane(run).query_one(OptionList).highlighted) == (second.info.id, 0)
        run.main.queue = moved.model_copy(update={"entries": (first, third)})
        await run.settle()
        assert pane(run)._chosen == first.info.id


async def test_c_runs_the_suite_of_the_edit_and_its_scores_take_the_place_of_the_old_ones() -> None:
    async with edited() as run:
        await run.pilot.press("c")
        await run.settle()
        assert run.engine.last == SuiteRequest(suite=SUITE)
        assert "efficacy 1/1 (0)" in run.text
        run.engine.say_finished(suite_result(edits=0))
        await run.settle()
        assert "efficacy 0/1" in run.text
        assert "efficacy 1/1 (0)" not in run.text


async def test_without_a_suite_the_pane_says_so() -> None:
    async with running(case=HERO.model_copy(update={"prompt": "Words about Australia", "foil": None})) as run:
        await run.pilot.press("5", "c")
        await run.settle()
        assert "No suite: the shipped facts have none for this" in run.text


async def test_a_suite_can_be_run_without_any_edit_and_its_scores_are_said() -> None:
    async with running(case=HERO) as run:
        await run.pilot.press("5", "c")
        await run.settle()
        asked = run.engine.last
        assert isinstance(asked, SuiteRequest)
        assert asked.suite.facts[0].prompt == HERO.prompt
        run.engine.say_finished(suite_result(edits=0))
        await run.settle()
        assert "Australia → Canberra: efficacy 0/1 · generalization 0/2" in run.text


@pytest.mark.parametrize(("key", "action"), [("s", "save"), ("S", "save-model"), ("o", "apply")])
async def test_a_path_is_typed_and_stays_when_the_line_is_left(key: str, action: str) -> None:
    async with edited() as run:
        await run.pilot.press(key, "ctrl+u", *"ax", "space", *"s", "escape", key, "end", *".safetensors", "enter")
        await run.settle()
        assert run.engine.last == QueueRequest(action=action, path="ax s.safetensors")  # type: ignore[arg-type]
        run.engine.say_finished(queue_result(ONE, "a patch of 1 edit was saved to ax s.safetensors"))
        await run.settle()
        assert "a patch of 1 edit was saved" in run.text


async def test_the_name_of_a_patch_is_proposed_and_the_line_says_where_it_would_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with edited((160, 48)) as run:
        await run.pilot.press("s")
        await run.settle()
        said = run.main.query_one("#place", Static)
        assert str(said.content) == f"enter saves a patch as {tmp_path}/Australia-Canberra.safetensors"
        (tmp_path / "Australia-Canberra.safetensors").touch()
        await run.pilot.press("escape", "s")
        await run.settle()
        assert "exists: enter asks before it is replaced" in str(said.content)
        await run.pilot.press("enter")
        await run.settle()
        assert run.engine.last == QueueRequest(action="save", path="Australia-Canberra.safetensors")


async def test_a_patch_is_replaced_after_a_yes() -> None:
    async with edited() as run:
        asked = QueueRequest(action="save", path="Australia-Canberra.safetensors")
        await run.pilot.press("y", "s", "enter")
        await run.settle()
        assert run.engine.last == asked
        error = StepError(kind="NotConfirmed", message="x.safetensors exists and would be replaced")
        run.engine.say_finished(None, status="failed", error=error)
        await run.settle()
        assert "would be replaced; press y to do it all the same" in " ".join(run.text.replace("│", " ").split())
        await run.pilot.press("y")
        await run.until(lambda: run.engine.last == asked.model_copy(update={"confirmed": True}))
        asked_by_then = len(run.engine.asked)
        await run.pilot.press("y")
        await run.settle()
        assert len(run.engine.asked) == asked_by_then


async def test_a_whole_model_has_a_key_of_its_own_that_says_how_large_it_is() -> None:
    async with edited((160, 48)) as run:
        await run.pilot.press("S")
        await run.settle()
        assert "enter writes the whole model, about 1 MB," in " ".join(run.text.split())
        await run.pilot.press("enter")
        await run.settle()
        assert run.engine.last == QueueRequest(action="save-model", path="Australia-Canberra-model")


@pytest.mark.parametrize(
    ("subject", "target", "name"),
    [
        ("Australia", "Canberra", "Australia-Canberra.safetensors"),
        ("../../etc", " São Paulo\n", "etc-Sao-Paulo.safetensors"),
        ("x" * 300, "y", f"{'x' * 40}-y.safetensors"),
        ("東京", "—", "edits.safetensors"),
    ],
)
def test_a_proposed_name_has_signs_that_are_safe_in_any_file_s_name(subject: str, target: str, name: str) -> None:
    assert default_name("save", Case(prompt="", subject=subject, target=target)) == name
    assert default_name("apply", Case(prompt="", subject=subject, target=target)) == ""


@pytest.mark.parametrize("typed", ["~nobody-of-that-name/x", "a\0b", "x" * 5000, "/", ".", ""])
def test_any_path_can_be_typed(typed: str) -> None:
    assert in_words("save", typed, None)


async def test_a_failed_change_of_the_queue_is_said_in_the_pane() -> None:
    async with edited() as run:
        await run.pilot.press("u")
        await run.settle()
        run.engine.say_finished(
            None, status="failed", error=StepError(kind="InputError", message="there is nothing to undo")
        )
        await run.settle()
        assert "✗ there is nothing to undo" in run.text
        assert "● on" in run.text


async def test_the_footer_has_the_pane_s_keys_and_those_that_are_wanted_soon() -> None:
    async with edited() as run:
        footer = run.text.splitlines()[-1]
        assert "Detail space On/off x Remove p Prompt" in footer


# Details, bisection, chart


async def test_enter_shows_every_fact_and_f_finds_the_edit_that_broke_one() -> None:
    async with edited() as run:
        await run.pilot.press("enter")
        await run.settle()
        assert isinstance(run.app.screen, EditDetail)
        words = " ".join(run.text.replace("│", " ").split())
        assert "─ 1 ROME L" in words, "by whom, as in the list"
        assert "Canberra .22, Sydney .76 → Canberra .63, Sydney .34" in words
        assert BROKEN.prompt in words
        await run.pilot.press("f")
        await run.settle()
        assert run.engine.last == BisectRequest(fact=BROKEN, prepend="as-is")
        assert "Bisecting" in run.text
        run.engine.say_finished(bisected())
        await run.settle()
        assert "was broken by edit 1" in run.text
        await run.pilot.press("escape")
        await run.settle()
        assert "was broken by edit 1" in " ".join(run.text.replace("│", " ").split())


async def test_a_bisection_that_cannot_be_done_says_why_in_the_details() -> None:
    async with edited() as run:
        await run.pilot.press("enter", "f")
        await run.settle()
        run.engine.say_finished(
            None,
            status="failed",
            error=StepError(kind="InputError", message="the fact passes with the edits that are on"),
        )
        await run.settle()
        assert "✗ the fact passes with the edits" in run.text


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_v_draws_score_and_perplexity_over_the_edits(size: tuple[int, int]) -> None:
    async with edited(size) as run:
        await run.pilot.press("v")
        await run.settle()
        assert isinstance(run.app.screen, EditChart)
        for said in ("score %", "held-out perplexity", "edits that are on", "0: 0%, 23.4 · 1: 0%, 25.0"):
            assert said in run.text
        await run.pilot.press("escape")
        await run.settle()
        assert not isinstance(run.app.screen, EditChart)


async def test_without_a_suite_the_chart_says_what_makes_it() -> None:
    async with edited(suite=False) as run:
        await run.pilot.press("v")
        await run.settle()
        assert "No suite was run yet" in run.text


def test_the_library_of_charts_is_not_imported_before_the_first_chart() -> None:
    program = "import sys, screens.app; print([name for name in sys.modules if 'plotext' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Before and after


async def test_the_lens_is_asked_again_when_the_edits_have_changed_and_says_what_they_changed() -> None:
    async with edited((160, 48)) as run:
        assert run.main.query_one(LensPane).drawn_edits == active_edits(ONE)
        before = lens_result(HERO).columns[-1]
        assert before is not None
        words = " ".join(run.text.split())
        assert f"→ with 1 edit: {target_said(1)}" in words
        assert f"without edits: Sydney .76 #1, {target_said(0)} → with 1 edit" in words


async def test_b_takes_all_edits_off_and_what_was_found_without_them_is_there_at_once() -> None:
    async with edited((160, 48)) as run:
        await run.pilot.press("b")
        await run.settle()
        assert run.engine.last == QueueRequest(action="bypass")
        asked = len(run.engine.asked)
        run.engine.say_finished(queue_result(queue_state(True, bypassed=True), "off"))
        await run.settle()
        assert run.main.query_one(LensPane).drawn_edits == ()
        assert "◐ held" in run.text
        assert "b puts them on" in " ".join(run.text.replace("│", " ").split())
        await run.pilot.press("b")
        await run.settle()
        assert run.engine.asked[asked:] == [QueueRequest(action="compare")]  # and no lens: both were known
        run.engine.say_finished(queue_result(ONE, "on"))
        await run.settle()
        assert run.main.query_one(LensPane).drawn_edits == active_edits(ONE)
        assert len(run.engine.asked) == asked + 1


async def test_without_an_edit_there_is_nothing_to_compare() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("b")
        await run.settle()
        assert isinstance(run.engine.last, LensRequest)
        assert "nothing to compare" in run.notified


async def test_attribution_and_trace_are_stale_until_they_are_asked_and_then_compared_at_the_cursor() -> None:
    async with running((160, 48)) as run:
        await ask_hero(run)
        await run.pilot.press("a")
        await run.until(lambda: isinstance(run.engine.last, AttributionRequest))
        attribution = run.engine.last
        assert isinstance(attribution, AttributionRequest)
        run.engine.say_finished(attribution_result(attribution))
        await run.pilot.press("t")
        await run.until(lambda: isinstance(run.engine.last, TraceRequest))
        trace = run.engine.last
        assert isinstance(trace, TraceRequest)
        run.engine.say_finished(trace_result(trace))
        await run.settle()
        assert "with 1 edit" not in run.text
        await make_edit(run)
        assert "stale: the edits have changed; press a to ask again" in run.text
        assert "stale: the edits have changed; press t to ask again" in run.text
        await run.pilot.press("a")
        await run.until(lambda: run.engine.last == attribution)
        run.engine.say_finished(attribution_result(attribution, edits=1))
        await run.pilot.press("t")
        await run.until(lambda: run.engine.last == trace)
        run.engine.say_finished(trace_result(trace, edits=1))
        await run.settle()
        words = " ".join(run.text.replace("│", " ").split())
        assert "stale" not in words
        token = run.main.cursor.token
        assert traced_there(run, trace) in words
        scores = [attribution_result(attribution, edits).scores[token] for edits in (0, 1)]
        shown = [f"{'−' if score < 0 else '+'}" for score in scores]
        legend = str(run.main.query_one("AttributionPane").query_one("#legend").visual)
        assert f'without edits: " is" {shown[0]}' in legend
        assert f'with 1 edit: " is" {shown[1]}' in legend
        await run.pilot.press("up")
        await run.settle()
        assert traced_there(run, trace) in " ".join(run.text.replace("│", " ").split())


async def test_another_model_has_no_edits_and_no_answers_to_compare_with() -> None:
    async with edited((160, 48)) as run:
        run.main._submit(LoadRequest(model="other"))
        run.engine.say_started()
        run.engine.say_finished(LoadResult(model=MODEL.model_copy(update={"fingerprint": "f" * 16})))
        await run.settle()
        assert "No edits yet." in run.text
        assert not list(run.main.answers)
        assert not any(isinstance(request, QueueRequest) for request in run.engine.asked)


# Sessions


def record(file: Path) -> SessionFile:
    """A session in which the hero case was looked at, edited, and looked at again."""
    recording = SessionFile(file)
    recording.use_model(MODEL)
    active = active_edits(ONE)
    for request, result, edits in (
        (LensRequest(case=HERO), lens_result(HERO), ()),
        (REQUEST, made(), ()),
        (LensRequest(case=HERO), lens_result(HERO, edits=1), active),
        (TraceRequest(case=HERO), trace_result(TraceRequest(case=HERO), edits=1), active),
    ):
        recording.append(step(request, result, edits))
    return recording


async def test_the_edits_of_a_continued_session_are_put_back_when_the_model_is_there(tmp_path: Path) -> None:
    record(tmp_path / "s.json")
    async with running((160, 48), recording=SessionFile.open(tmp_path / "s.json")) as run:
        assert run.engine.last == QueueRequest(action="restore", entries=ONE.entries)
        run.engine.say_finished(queue_result(ONE, "1 edits are back"))
        await run.settle()
        assert "● on" in run.text
        assert "specificity 3/3" in run.text
        assert "stale" not in run.text
        assert f"→ with 1 edit: {target_said(1)}" in " ".join(run.text.split())


async def test_edits_whose_tensors_are_gone_say_so_in_the_pane(tmp_path: Path) -> None:
    record(tmp_path / "s.json")
    async with running((160, 48), recording=SessionFile.open(tmp_path / "s.json")) as run:
        run.engine.say_finished(
            None, status="failed", error=StepError(kind="InputError", message="there is no patch 00000001.safetensors")
        )
        await run.settle()
        assert "there is no patch 00000001.safetensors" in run.text
        assert "● on" not in run.text
        assert "stale: the edits have changed" in run.text


async def test_opening_a_session_without_edits_takes_those_of_the_one_before_off(tmp_path: Path) -> None:
    plain = SessionFile(tmp_path / "plain.json")
    plain.use_model(MODEL)
    plain.append(step(LensRequest(case=HERO), lens_result(HERO)))
    async with edited() as run:
        run.main._open_session(plain.path)
        await run.settle()
        assert run.engine.last == QueueRequest(action="restore", entries=())


async def test_a_replay_shows_edits_and_what_they_changed_and_asks_nothing(tmp_path: Path) -> None:
    session = record(tmp_path / "s.json").session
    assert json.loads((tmp_path / "s.json").read_text())["steps"]
    app = ReplayApp(Session(model=MODEL, steps=session.steps), tmp_path / "s.json")
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        text = "\n".join("".join(segment.text for segment in line) for line in app.screen._compositor.render_strips())
        assert "● on" in text
        assert f"→ with 1 edit: {target_said(1)}" in " ".join(text.split())
        assert "stale" not in text
        await pilot.press("5", "space", "e", "b", "c", "x")
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, EditDetail)
        await pilot.press("f", "escape", "left_curly_bracket")
        await pilot.pause()
        assert app.screen.query_one(EditsPane).empty
        assert app.screen.query_one(TracePane).empty
        assert not app._notifications
