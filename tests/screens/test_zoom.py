"""One pane alone on the screen."""

from __future__ import annotations

import pytest

from screens.keys import Key
from screens.panes import PANES
from screens.panes.pane import Pane
from tests.screens.test_app import HERO, Running, ask_hero, running
from tests.screens.test_room import LAYER, ask_deep


def shown(run: Running) -> list[str]:
    """The panes that can be seen."""
    return [pane.TITLE for pane in run.main.query(Pane) if pane.display and pane.parent.display and pane.region]


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (120, 16), (160, 48)])
async def test_one_key_shows_the_pane_alone_with_trust_strip_and_status_and_leaves(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await ask_deep(run)
        before, rows = shown(run), len(LAYER.findall(run.text))
        await run.pilot.press(Key.ZOOM)
        await run.settle()
        assert shown(run) == ["Logit lens"]
        assert run.main.panes[1].outer_size == (size[0], size[1] - 1)
        assert len(LAYER.findall(run.text)) > rows
        assert "float32 · cpu · sdpa" in run.text
        assert "this pane alone" in run.text
        await run.pilot.press(Key.ZOOM)
        await run.settle()
        assert shown(run) == before


async def test_escape_leaves_before_it_cancels() -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("a", Key.ZOOM)
        await run.settle()
        assert shown(run) == ["Attribution"]
        await run.pilot.press("escape")
        await run.settle()
        assert shown(run) == ["Prompt", "Attribution"]
        assert run.engine.cancelled == 0
        await run.pilot.press("escape")
        await run.settle()
        assert run.engine.cancelled == 1


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_another_pane_that_gets_the_keyboard_takes_the_place(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await ask_hero(run)
        await run.pilot.press(Key.ZOOM)
        for number, pane in list(enumerate(PANES, 2))[:6]:
            await run.pilot.press(str(number))
            await run.settle()
            assert shown(run) == [pane.TITLE]
        await run.pilot.press("p")
        await run.settle()
        assert shown(run) == ["Prompt"]
        assert HERO.prompt in run.text
        await run.pilot.press("enter")
        await run.settle()
        assert shown(run) == ["Logit lens"]
