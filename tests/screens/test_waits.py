"""What is asked while the engine does something else: a pane says at once what waits, for what, and what ends that."""

from __future__ import annotations

from textual.widgets import Static

from screens.panes.edits.pane import EditsPane
from screens.waits import after, waiting_for
from tests.screens.asked import HERO
from tests.screens.recorded import queue_result, queue_state, suite_result, trace_result
from tests.screens.test_app import Running
from tests.screens.test_edits_pane import edited
from workbench.editing.operations import QueueRequest
from workbench.editing.suite.regression import SuiteRequest
from workbench.events import LoadRequest, Started
from workbench.methods.tracing.causal_trace import TraceRequest

SUITE = "after “Regression suite”; esc cancels that"


async def run_suite(run: Running) -> int:
    """The suite of the edit is under way. Returns its job."""
    await run.pilot.press("5", "c")
    await run.until(lambda: isinstance(run.engine.last, SuiteRequest))
    run.engine.say_started()
    run.engine.say_progress(2, 8, None, "facts")
    await run.settle()
    return len(run.engine.asked)


def said(run: Running) -> str:
    """What stands above the queue."""
    static = run.main.query_one(EditsPane).query_one("#legend", Static)
    return str(static.content) if static.display else ""


async def test_keys_that_wait_for_a_suite_say_so_in_the_pane_until_they_are_done() -> None:
    async with edited() as run:
        suite = await run_suite(run)
        assert "esc" not in said(run)
        await run.pilot.press("space")
        await run.settle()
        assert said(run) == f"◌ switching ROME L1 Australia → Canberra off {SUITE}"
        assert "switching ROME L1 Australia → Canberra off" in run.text
        await run.pilot.press("u")
        await run.settle()
        assert f"Canberra off, undoing the last change of the queue {SUITE}" in said(run)
        run.engine.say_finished(suite_result(), job=suite)
        run.engine.listener(Started(suite + 1, run.engine.asked[suite]))
        await run.settle()
        assert said(run) == "◌ undoing the last change of the queue after “Edit queue”; esc cancels that"
        run.engine.say_finished(queue_result(queue_state(False), "it is off"), job=suite + 1)
        await run.settle()
        assert "esc cancels" not in said(run)


async def test_what_was_asked_twice_waits_until_it_has_begun_twice() -> None:
    async with edited() as run:
        suite = await run_suite(run)
        await run.pilot.press("u", "c", "u")
        await run.until(lambda: len(run.engine.asked) == suite + 3)
        undo, other = run.engine.asked[suite : suite + 2]
        run.engine.say_finished(suite_result(), job=suite)
        run.engine.listener(Started(suite + 1, undo))
        run.engine.say_finished(queue_result(queue_state(True)), job=suite + 1)
        run.engine.listener(Started(suite + 2, other))
        await run.settle()
        assert said(run) == f"◌ undoing the last change of the queue {SUITE}"


async def test_escape_cancels_what_is_waited_for_and_what_waits_is_done() -> None:
    async with edited() as run:
        suite = await run_suite(run)
        await run.pilot.press("b")
        await run.settle()
        assert said(run) == f"◌ taking all edits off {SUITE}"
        await run.pilot.press("escape")
        await run.settle()
        assert run.engine.cancelled_job == suite
        run.engine.say_finished(None, "cancelled", job=suite)
        await run.settle()
        assert said(run) == ""
        assert run.engine.last == QueueRequest(action="bypass")


async def test_from_another_pane_it_pops_up_where_the_edits_are_not_seen() -> None:
    async with edited((80, 24)) as run:
        await run_suite(run)
        await run.pilot.press("2", "b")
        await run.settle()
        assert run.notified == f"taking all edits off {SUITE}"
    async with edited((160, 48)) as run:
        await run_suite(run)
        await run.pilot.press("2", "b")
        await run.settle()
        assert not run.notified
        assert f"taking all edits off {SUITE}" in said(run)


async def test_a_picture_that_waits_says_for_what() -> None:
    async with edited() as run:
        await run_suite(run)
        await run.pilot.press("t")
        await run.until(lambda: isinstance(run.engine.last, TraceRequest))
        await run.settle()
        assert "Waiting for “Regression suite”; esc cancels that" in run.text
        run.engine.say_finished(trace_result(TraceRequest(case=HERO)))
        await run.settle()
        assert "Waiting" not in run.text


def test_before_a_model_is_there_nothing_else_is_waited_for() -> None:
    load = LoadRequest(model="tiny")
    assert waiting_for(load) == waiting_for(None) == "waiting for the model …"
    assert after(load) == "once the model is loaded"
