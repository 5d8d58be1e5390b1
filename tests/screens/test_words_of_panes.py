"""Legend, trust strip and signs of a pane, in words."""

from __future__ import annotations

import pytest
from textual.content import Content

from screens.keys import Key
from screens.panes import PANES
from screens.panes.picture import PicturePane
from screens.signs import Sign
from screens.words import WordsScreen, in_full
from tests.screens.recorded import lens_result
from tests.screens.test_app import HERO, ask_hero, running
from workbench.protocol import Check


@pytest.mark.parametrize("number", range(2, len(PANES) + 2))
async def test_one_key_says_in_every_pane_what_its_signs_mean(number: int) -> None:
    async with running() as run:
        await ask_hero(run)
        run.main.action_pane(number)
        await run.settle()
        await run.pilot.press(Key.WORDS)
        await run.settle()
        assert isinstance(run.app.screen, WordsScreen)
        pane = run.main.panes[number - 1]
        assert isinstance(pane, PicturePane)
        assert pane.SIGNS
        assert pane.SIGNS[0].sign in run.text
        await run.pilot.press("escape")
        await run.settle()
        assert run.app.screen is run.main


async def test_a_check_that_is_cut_in_the_strip_is_whole_in_words() -> None:
    async with running() as run:
        await ask_hero(run)
        long = "a long sentence that no strip of one line at eighty columns has room for, to its very end"
        result = lens_result(HERO)
        checks = (*result.checks, Check(name="something", text=long, level="info"))
        run.main.prompt.focus_content()
        await run.pilot.press("enter")
        await run.settle()
        run.engine.say_finished(result.model_copy(update={"checks": checks}))
        await run.settle()
        assert "its very end" not in run.text
        await run.pilot.press(Key.WORDS)
        await run.settle()
        words = " ".join(run.text.replace("│", " ").split())
        assert long in words
        assert all(f"{check.name} {check.text}" in words for check in result.checks)
        assert "Above the picture" in words


def test_every_sign_that_is_hard_to_guess_is_explained() -> None:
    explained = {sign.sign for pane in PANES if issubclass(pane, PicturePane) for sign in pane.SIGNS}
    for sign in ("(0)", "AOC", "▁≠", ".82/.77", "⇄", "◆"):
        assert any(sign in each for each in explained), sign


def test_no_line_is_wider_than_the_frame() -> None:
    for width in (20, 40, 120):
        text = in_full(Content("word " * 40), (Content("piece " * 30),), (Sign("◆", "a long meaning " * 6),), width)
        assert all(len(line.plain.rstrip()) <= width for line in text.split("\n"))
        assert " ".join(text.plain.split()).count("a long meaning") == 6
    assert "Above the picture" not in in_full(Content(""), (), (), 40).plain
