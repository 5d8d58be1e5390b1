"""Small things that a person meets in the first hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from screens.messages import CaseChosen
from screens.widgets.hinted_input import HintedInput
from screens.widgets.prompt_fields import CaseField, PromptArea
from tests.screens.asked import FRANCE
from tests.screens.recorded import MODEL, continuation, trace_result
from tests.screens.test_app import HERO, ask_hero, running
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest


async def test_ctrl_u_clears_the_whole_prompt_and_ctrl_z_brings_it_back() -> None:
    async with running() as run:
        await run.type("one\ntwo\nthree")
        await run.pilot.press("up", "ctrl+u")
        await run.settle()
        area = run.main.prompt.query_one(PromptArea)
        assert area.text == ""
        await run.pilot.press("ctrl+z")
        await run.settle()
        assert area.text == "one\ntwo\nthree"


@pytest.mark.parametrize("width", [40, 60, 80, 160])
async def test_a_hint_in_a_field_is_shown_whole_or_not_at_all(width: int) -> None:
    async with running((width, 24)) as run:
        for field in run.main.prompt.query(CaseField):
            assert len(field.placeholder) < field.size.width or not field.placeholder
        assert ("of the fact" in run.text) == (width > 60)


async def test_a_hint_is_drawn_where_the_field_was_not_told_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HintedInput, "on_resize", lambda _: None)
    async with running() as run:
        assert "of the fact" in run.text


async def test_who_has_named_a_subject_is_not_told_to() -> None:
    async with running() as run:
        await run.pilot.press("escape", "4")
        await run.settle()
        assert "Name a subject" in run.text
        run.main.asking.put(HERO)
        await run.settle()
        assert "Name a subject" not in run.text
        assert "Press t" in run.text


@pytest.mark.parametrize("key", ["escape", "f1"])
async def test_help_has_the_pane_s_keys_first_in_whole_lines_and_stops_nothing(key: str) -> None:
    async with running(case=HERO) as run:
        await run.pilot.press("escape", "f1")
        await run.settle()
        lines = run.text.splitlines()
        assert "In Logit lens" in lines[2]
        assert any("v  " in line and "Table/grid: Switch between one token and all" in line for line in lines[3:8])
        cancelled = run.engine.cancelled
        await run.pilot.press(key)
        await run.settle()
        assert "In Logit lens" not in run.text
        assert run.engine.cancelled == cancelled


async def test_a_screenshot_goes_to_the_working_folder_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with running() as run:
        run.app.action_screenshot()
        await run.until(lambda: bool(list(tmp_path.glob("*.svg"))) and ".svg" in run.notified)
        assert str(next(tmp_path.glob("*.svg"))) in run.notified
        assert "[" not in run.notified


@pytest.mark.parametrize("measured", [False, True])
async def test_the_form_of_an_edit_says_which_layer_it_will_be_and_where_the_trace_peaks(measured: bool) -> None:
    async with running() as run:
        await ask_hero(run)
        if measured:
            run.main.model = MODEL.model_copy(update={"architecture": "llama", "layers": 30, "d_model": 576})
        await run.pilot.press("t")
        await run.settle()
        run.engine.say_finished(trace_result(TraceRequest(case=HERO)))
        await run.pilot.press("e")
        await run.settle()
        assert "the trace peaks at layer" in run.text
        field = run.main.query_one("EditForm #layer")
        assert field.placeholder == ("5" if measured else "1, 20% of the depth")
        assert bool(field.value) != measured, "of a model that was measured the trace proposes nothing"


async def test_what_a_pane_puts_into_the_prompt_is_taken_back_by_one_key() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("6")
        run.main.look_at(CaseChosen(FRANCE))
        await run.settle()
        assert (run.main.on_screen, run.main.active) == (FRANCE, 2)
        assert "backspace goes back" in run.notified
        await run.pilot.press("backspace")
        await run.settle()
        assert (run.main.on_screen, run.main.active) == (HERO, 6)
        assert run.engine.last == LensRequest(case=HERO)


async def test_one_key_asks_everything_again_about_a_changed_prompt() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("t")
        await run.settle()
        run.engine.say_finished(trace_result(TraceRequest(case=HERO)))
        await run.settle()
        run.main.asking.put(FRANCE)
        before = len(run.engine.asked)
        await run.pilot.press("Y")
        await run.settle()
        asked = run.engine.asked[before:]
        assert [type(request) for request in asked] == [LensRequest, TraceRequest]
        assert all(request.case == FRANCE for request in asked)
        await run.pilot.press("escape")


async def test_what_the_model_says_with_edits_and_without_stands_one_above_the_other() -> None:
    async with running() as run:
        await ask_hero(run)
        request = ContinueRequest(case=HERO)
        for text, edits in ((" Sydney.", ()), (" Canberra.", ("0a1b2c3d",))):
            result = continuation(HERO).model_copy(update={"text": text})
            run.engine.edits = edits
            await run.pilot.press("g")
            await run.settle()
            assert run.engine.last == request
            run.engine.say_finished(result)
            await run.settle()
        assert "without edits  … Sydney." in run.text
        assert "with 1 edit  … Canberra." in run.text
