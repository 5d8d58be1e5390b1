"""The first screen: the prompt can be typed into before the rest of the program is there."""

from __future__ import annotations

import threading
from typing import Any

from screens.app import WorkbenchApp
from screens.live import LiveScreen
from screens.opening import OpeningScreen
from screens.widgets.prompt_fields import PromptArea
from tests import waiting
from tests.screens.asked import HERO
from tests.screens.played import PlayedEngine
from tests.screens.test_type_ahead import send
from workbench.errors import SessionError
from workbench.events import LoadRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest

EMPTY = {"prompt": "", "subject": "", "target": "", "foil": ""}


async def test_what_is_typed_before_the_main_screen_is_there_stands_in_it_and_other_keys_wait_for_it() -> None:
    engines: list[PlayedEngine] = []
    may_go_on = threading.Event()

    def engine(*hooks: Any) -> PlayedEngine:
        engines.append(PlayedEngine(*hooks))
        return engines[-1]

    def make() -> LiveScreen:
        assert may_go_on.wait(30)
        return LiveScreen(LoadRequest(model="tiny"), engine=engine)  # type: ignore[arg-type]

    app = WorkbenchApp(make, EMPTY)
    async with app.run_test(size=(80, 24)) as pilot:
        await waiting.until(pilot, lambda: isinstance(app.focused, PromptArea), lambda: "the prompt")
        assert isinstance(app.screen, OpeningScreen)
        await pilot.press(*HERO.prompt, "x", "backspace", "tab", *(HERO.subject or ""))
        await pilot.press("tab", *(HERO.target or ""), "tab", *(HERO.foil or "")[:3])
        send(app, (HERO.foil or "")[3:], "enter", "t")
        assert app.screen.query_one(PromptArea).text == HERO.prompt
        assert isinstance(app.screen, OpeningScreen), "enter waits"
        may_go_on.set()
        asked = [LensRequest, TraceRequest]
        await waiting.until(
            pilot,
            lambda: bool(engines) and [type(request) for request in engines[0].asked[1:]] == asked,
            lambda: str(engines and engines[0].asked),
        )
        assert engines[0].asked[1].case == HERO  # type: ignore[union-attr]
        assert engines[0].asked[2].case == HERO  # type: ignore[union-attr]
    app._save_and_stop(0.0)


async def test_what_comes_in_between_is_told_when_the_terminal_is_given_back() -> None:
    def make() -> LiveScreen:
        raise SessionError("the session is locked")

    app = WorkbenchApp(make, EMPTY)
    async with app.run_test() as pilot:
        await waiting.until(pilot, lambda: app._exit, lambda: "an end")
    assert str(app._wrong) == "the session is locked"
    assert app._save_and_stop(0.0)
