"""Small things that a person meets in the first hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from screens.panes.prompt.pane import CaseField, PromptArea
from tests.screens.test_app import HERO, running


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


async def test_who_has_named_a_subject_is_not_told_to() -> None:
    async with running() as run:
        await run.pilot.press("escape", "4")
        await run.settle()
        assert "Name a subject" in run.text
        run.main._put(HERO)
        await run.settle()
        assert "Name a subject" not in run.text
        assert "Press t" in run.text


async def test_help_closes_with_escape_and_stops_nothing() -> None:
    async with running(case=HERO) as run:
        await run.pilot.press("escape", "f1")
        await run.settle()
        assert run.app.screen.query("HelpPanel")
        cancelled = run.engine.cancelled
        await run.pilot.press("escape")
        await run.settle()
        assert not run.app.screen.query("HelpPanel")
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
