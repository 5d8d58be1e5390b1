"""What is on screen is what is asked; what belongs to another case says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from screens.history import load_history
from screens.panes.attribution.pane import AttributionPane
from screens.panes.cot.pane import CotPane
from screens.panes.edits.form import EditForm
from screens.panes.lens.pane import LensPane
from screens.panes.trace.pane import TracePane
from screens.widgets.closing_input import ClosingInput
from screens.widgets.prompt_fields import PromptArea
from screens.widgets.token_strip import TokenStrip
from tests.screens.asked import FRANCE
from tests.screens.recorded import attribution_result, continuation, lens_result, trace_result
from tests.screens.test_app import HERO, Running, ask_hero, running
from tests.waiting import until_timers_end
from workbench.case import Case
from workbench.editing.edit import EditRequest
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import Request
from workbench.session import StepError

SENT: dict[str, tuple[str, ...]] = {"r": ("enter",), "e": ("enter",), "z": ("enter",)}
"""What sends the form that a key opens."""
EDITORS = {"e": "rome", "z": "leace"}
"""By which a form edits at first."""
CASE_OF: dict[type[Request], Callable[[Any], object]] = {
    AttributionRequest: lambda request: request.case,
    TraceRequest: lambda request: request.case,
    ContinueRequest: lambda request: request.case,
    EditRequest: lambda request: request.case,
    CotRequest: lambda request: request.question,
}


async def type_another(run: Running, case: Case = FRANCE) -> None:
    """Type another case over the one that was asked about, and leave the prompt without asking."""
    run.main.prompt.put(case)
    run.main.prompt.focus_content()
    await run.pilot.press("escape")
    await run.settle()


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a", AttributionRequest),
        ("t", TraceRequest),
        ("g", ContinueRequest),
        ("r", CotRequest),
        ("e", EditRequest),
        ("z", EditRequest),
    ],
)
async def test_a_key_asks_about_what_is_typed_and_has_it_asked_first(key: str, kind: type[Request]) -> None:
    async with running() as run:
        await ask_hero(run)
        asked = len(run.engine.asked)
        await type_another(run)
        assert len(run.engine.asked) == asked
        await run.pilot.press(key, *SENT.get(key, ()))
        await run.until(lambda: isinstance(run.engine.last, kind))
        assert [type(request) for request in run.engine.asked[asked:]] == [LensRequest, kind]
        lens, last = run.engine.asked[asked:]
        assert lens.case == FRANCE  # type: ignore[attr-defined]
        assert CASE_OF[kind](last) == (FRANCE.prompt if kind is CotRequest else FRANCE)
        assert getattr(last, "editor", EDITORS.get(key)) == EDITORS.get(key)
        assert load_history(run.main._history)[-1] == FRANCE


async def test_what_was_asked_about_is_not_asked_again_first() -> None:
    async with running() as run:
        await ask_hero(run)
        asked = len(run.engine.asked)
        await run.pilot.press("a")
        await run.settle()
        assert [type(request) for request in run.engine.asked[asked:]] == [AttributionRequest]


async def test_the_commands_of_the_palette_ask_about_what_is_typed_too() -> None:
    async with running() as run:
        await ask_hero(run)
        await type_another(run)
        commands = {command.title: command for command in run.app.get_system_commands(run.app.screen)}
        commands["Causal trace"].callback()
        await run.until(lambda: isinstance(run.engine.last, TraceRequest))
        assert run.engine.last == TraceRequest(case=FRANCE)


async def test_an_emptied_prompt_asks_nothing_about_the_one_before() -> None:
    async with running() as run:
        await ask_hero(run)
        asked = len(run.engine.asked)
        await type_another(run, Case(prompt=" "))
        await run.pilot.press("a", "t", "r", "e", "g", "4", "n", "5", "n", "6", "n")
        await run.settle()
        assert len(run.engine.asked) == asked
        assert "Type a prompt first" in run.notified
        await run.pilot.press("z", "enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        assert run.engine.last.case is None  # type: ignore[attr-defined]


async def test_a_method_of_another_prompt_is_asked_about_the_one_on_screen() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("a")
        await run.settle()
        run.engine.say_finished(attribution_result(AttributionRequest(case=HERO, position=4)))
        await run.settle()
        longer = Case(prompt="Everybody knows that the large capital of France is", target="Paris")
        await type_another(run, longer)
        await run.pilot.press("3", "m")
        await run.until(lambda: isinstance(run.engine.last, AttributionRequest))
        asked = run.engine.last
        assert (asked.case, asked.method, asked.position) == (longer, "input-x-gradient", None)  # type: ignore[attr-defined]


async def test_an_open_form_that_is_of_another_prompt_is_filled_anew_before_it_asks() -> None:
    async with running((160, 48)) as run:
        await ask_hero(run)
        await run.pilot.press("e")
        await run.settle()
        run.main.prompt.put(FRANCE)
        await run.settle()
        await run.pilot.press("enter")
        await run.settle()
        assert not isinstance(run.engine.last, EditRequest)
        assert "the prompt has changed" in run.text
        form = run.main.query_one(EditForm)
        assert [form.query_one(f"#{name}", ClosingInput).value for name in ("subject", "target")] == ["France", "Paris"]
        await run.pilot.press("enter")
        await run.until(lambda: isinstance(run.engine.last, EditRequest))
        assert run.engine.last == EditRequest(case=FRANCE)


async def test_a_continuation_is_kept_for_the_prompt_that_it_continues_and_for_no_other() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("g")
        await run.settle()
        await type_another(run)
        run.engine.say_finished(continuation())  # when another prompt is typed already
        await run.settle()
        await run.pilot.press("G")
        await run.settle()
        assert run.main.prompt.query_one(PromptArea).text == FRANCE.prompt
        assert "This prompt has no continuation" in run.notified
        assert run.main.prompt.query_one(TokenStrip).stale
        assert str(run.main.prompt._border_subtitle) == "", "nobody has counted the tokens of what is typed now"
        run.main.prompt.put(HERO)
        await run.until(lambda: str(run.main.prompt._border_subtitle) == "5 tokens")
        await run.pilot.press("G")
        await run.settle()
        assert run.main.prompt.query_one(PromptArea).text == HERO.prompt + continuation().text


# What belongs to another case says so


async def test_every_picture_is_stale_as_soon_as_another_prompt_is_typed_and_not_when_it_is_back() -> None:
    async with running((160, 48)) as run:
        await ask_hero(run)
        await run.pilot.press("a")
        await run.until(lambda: isinstance(run.engine.last, AttributionRequest))
        run.engine.say_finished(attribution_result(run.engine.last))  # type: ignore[arg-type]
        await run.pilot.press("t")
        await run.until(lambda: isinstance(run.engine.last, TraceRequest))
        run.engine.say_finished(trace_result(run.engine.last))  # type: ignore[arg-type]
        await run.settle()
        panes = [run.main.query_one(kind) for kind in (LensPane, AttributionPane, TracePane)]
        assert not any("stale" in str(pane._border_subtitle) for pane in panes)
        await type_another(run)
        assert all("stale: the prompt has changed" in str(pane._border_subtitle) for pane in panes)
        await type_another(run, HERO)
        assert not any("stale" in str(pane._border_subtitle) for pane in panes)


@pytest.mark.parametrize("status", ["partial", "failed", "cancelled"])
async def test_what_was_not_finished_and_is_of_another_prompt_says_both(status: Any) -> None:
    async with running() as run:
        await ask_hero(run)
        run.main.prompt.put(HERO)
        run.main.prompt.focus_content()
        await run.pilot.press("enter")
        await run.settle()
        error = StepError(kind="InputError", message="no") if status == "failed" else None
        run.engine.say_finished(lens_result(HERO, done=1) if status == "partial" else None, status=status, error=error)
        await run.settle()
        said = "partial: 1 of 5 tokens" if status == "partial" else status
        pane = run.main.query_one(LensPane)
        assert said in str(pane._border_subtitle)
        assert "the prompt has changed" not in str(pane._border_subtitle)
        await type_another(run)
        assert str(pane._border_subtitle) == f"{said} · stale: the prompt has changed"


async def test_what_failed_with_nothing_to_show_says_that_it_was_about_another_prompt() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("t")
        await run.settle()
        run.engine.say_finished(None, "failed", StepError(kind="InputError", message="the subject is no part of it"))
        await type_another(run)
        assert "failed · stale: the prompt has changed" in run.text


async def test_a_running_job_about_another_prompt_is_marked_while_it_runs() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("t")
        await run.settle()
        run.engine.say_started()
        await type_another(run)
        assert "running … · stale: the prompt has changed" in run.text


async def test_a_trace_that_waits_for_a_yes_does_not_run_when_another_prompt_is_on_screen() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("t")
        await run.settle()
        run.engine.say_finished(None, "failed", StepError(kind="NotConfirmed", message="it would take hours"))
        await run.settle()
        asked = len(run.engine.asked)
        await type_another(run)
        await run.pilot.press("4", "y")
        await run.settle()
        assert len(run.engine.asked) == asked
        await type_another(run, HERO)
        await run.pilot.press("4", "y")
        await run.settle()
        assert run.engine.last == TraceRequest(case=HERO, confirmed=True)


async def test_more_tokens_of_a_cell_are_not_asked_for_when_another_prompt_is_on_screen() -> None:
    async with running() as run:
        await ask_hero(run)
        asked = len(run.engine.asked)
        await type_another(run)
        await run.pilot.press("2", "enter")
        await run.settle()
        assert "The prompt has changed since this result" in run.text
        await until_timers_end(run.pilot, run.main.query_one(LensPane))  # the cursor has rested
        assert len(run.engine.asked) == asked


async def test_nothing_is_done_to_a_reasoning_about_another_question() -> None:
    from tests.screens.test_cot_pane import ask_tom

    async with running() as run:
        await ask_tom(run)
        asked = len(run.engine.asked)
        await type_another(run)
        assert "stale: the prompt has changed" in str(run.main.query_one(CotPane)._border_subtitle)
        await run.pilot.press("6", "f")
        await run.settle()
        assert len(run.engine.asked) == asked
        assert "The prompt has changed since" in run.notified
