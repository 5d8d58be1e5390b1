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

from screens.answers import active_edits
from screens.app import WorkbenchApp
from tests.screens.fake import FakeEngine, lens_result, queue_result, queue_state, suite_result
from tests.screens.test_app import HERO, Running, ask_hero
from tests.screens.test_edits_pane import make_edit
from workbench.engine import LoadRequest
from workbench.methods.edit_queue import QueueRequest
from workbench.methods.logit_lens import LensRequest
from workbench.methods.regression import SuiteRequest
from workbench.methods.rome import RomeRequest
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


async def no_edits(run: Running) -> None:
    """The edits pane before the first edit."""
    await ask_hero(run)
    await run.pilot.press("5")


async def edit_form(run: Running) -> None:
    """An edit is being filled in, and a layer is wrong."""
    await ask_hero(run)
    await run.pilot.press("e", "tab", *"five", "enter")


async def edit_computing(run: Running) -> None:
    """One edit is computed, another waits."""
    await ask_hero(run)
    await run.pilot.press("e", "enter", "e", *"Perth", "enter")
    await run.until(lambda: sum(isinstance(request, RomeRequest) for request in run.engine.asked) == 2)
    run.engine.asked.pop()
    run.engine.say_progress(9, 25, None, "optimising, loss 1.234, p 0.40")


async def edit_on(run: Running) -> None:
    """Two edits, one of them off, and the suite of the first."""
    await ask_hero(run)
    await make_edit(run)
    await run.pilot.press("space")
    run.engine.say_finished(queue_result(queue_state(True, False), "L5 Eiffel Tower → Rome is off"))


async def edit_detail(run: Running) -> None:
    """Every fact of the suite."""
    await ask_hero(run)
    await make_edit(run)
    await run.pilot.press("enter", "j")


async def edit_chart(run: Running) -> None:
    """Three edits, with the last of which perplexity grows too much."""
    await ask_hero(run)
    await make_edit(run)
    for number, perplexity in ((2, 20.8), (3, 23.5)):
        run.main.queue = queue_state(*[True] * number)
        run.engine.edits = active_edits(run.main.queue)
        await run.pilot.press("r")
        await run.until(lambda: isinstance(run.engine.last, SuiteRequest))
        run.engine.say_finished(suite_result(perplexity=perplexity))
        await run.settle()
    await run.pilot.press("c")


async def before_after(run: Running) -> None:
    """All edits are off again, and the lens says what they changed."""
    await ask_hero(run)
    await make_edit(run)
    await run.pilot.press("b")
    await run.until(lambda: isinstance(run.engine.last, QueueRequest))
    run.engine.say_finished(queue_result(queue_state(True, bypassed=True)))
    await run.settle()
    await run.pilot.press("2")


STATES = (start, running, table, grid, detail, failed)
EDITS = (no_edits, edit_form, edit_computing, edit_on, edit_detail, edit_chart, before_after)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["narrow", "wide"])
@pytest.mark.parametrize("state", [*STATES, *EDITS], ids=lambda state: state.__name__)
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
