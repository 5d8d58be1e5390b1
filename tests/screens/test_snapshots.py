"""Pictures of the app in every state, narrow and wide. ``pytest --snapshot-update`` draws them anew: look at them.

Nothing in them may depend on the machine: the engine is a fake, the session file has a fixed name, nothing blinks
or slides, and the theme is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from screens.app import WorkbenchApp
from tests.screens.fake import FakeEngine, lens_result
from tests.screens.test_app import HERO, Running, ask_hero
from workbench.engine import LoadRequest
from workbench.methods.logit_lens import LensRequest
from workbench.session import SessionFile, StepError

State = Callable[[Running], Awaitable[None]]


async def start(run: Running) -> None:
    """The model is loaded, and nothing has been asked."""


async def asked(run: Running) -> None:
    """The hero case has been asked about."""
    run.main.prompt.put(HERO)
    run.main.prompt.focus_content()
    await run.pilot.press("enter")
    await run.until(lambda: run.engine.last == LensRequest(case=HERO))
    run.engine.say_started()


async def running(run: Running) -> None:
    """Two of five tokens are there."""
    await asked(run)
    run.engine.say_progress(2, 5, lens_result(HERO, done=2))


async def table(run: Running) -> None:
    """The lens at one token."""
    await ask_hero(run)


async def grid(run: Running) -> None:
    """The lens at all tokens, the cursor somewhere inside."""
    await ask_hero(run)
    await run.pilot.press("v", "j", "h")


async def detail(run: Running) -> None:
    """One cell in full, after the model has been asked for more tokens."""
    await ask_hero(run)
    await run.pilot.press("enter")
    await run.until(lambda: getattr(run.engine.last, "positions", None) == (4,))
    run.engine.say_finished(lens_result(HERO, done=1))


async def failed(run: Running) -> None:
    """There was no room for it."""
    await asked(run)
    sentence = "out of memory: one piece of the work needs about 900 MiB and does not fit; use a shorter prompt"
    run.engine.say_finished(None, status="failed", error=StepError(kind="OutOfMemory", message=sentence))


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["narrow", "wide"])
@pytest.mark.parametrize("state", [start, running, table, grid, detail, failed], ids=lambda state: state.__name__)
def test_the_app_looks_as_it_did(
    snap_compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State, size: tuple[int, int]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    engines: list[FakeEngine] = []

    def make(*hooks: Any) -> FakeEngine:
        engines.append(FakeEngine(*hooks))
        return engines[-1]

    recording = SessionFile(tmp_path / "snapshot.json")
    app = WorkbenchApp(LoadRequest(model="tiny"), recording=recording, engine=make)  # type: ignore[arg-type]
    app.animation_level = "none"

    async def go_there(pilot: Pilot[None]) -> None:
        app.theme = "textual-dark"
        for editor in (*app._main.query(TextArea), *app._main.query(Input)):
            editor.cursor_blink = False
        await pilot.pause(0.05)
        run = Running(app, engines[0], pilot)
        run.engine.say_loaded()
        await run.settle()
        await state(run)
        await run.settle()

    assert snap_compare(app, terminal_size=size, run_before=go_there)
