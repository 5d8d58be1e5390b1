"""Pictures of the app in every state, narrow and wide. ``pytest --snapshot-update`` draws them anew: look at them.

Nothing in them may depend on the machine: the engine's answers are recorded, the session file has a fixed name,
nothing blinks or slides, and the theme is given.
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
from screens.live import LiveScreen
from tests.screens.asked import FIRST, HERO, about
from tests.screens.played import PlayedEngine
from tests.screens.recorded import (
    cot_result,
    edit_info,
    erasure_queue,
    erasure_result,
    lens_result,
    queue_result,
    queue_state,
    recorded,
    suite_result,
)
from tests.screens.test_app import Running, ask_hero
from tests.screens.test_cot_pane import answer_last, ask_tom
from tests.screens.test_edits_pane import compare, make_edit
from tests.screens.test_erasure_pane import erase
from workbench.editing.edit import EditRequest
from workbench.editing.operations import QueueRequest
from workbench.editing.suite.regression import SuiteRequest
from workbench.events import LoadRequest
from workbench.methods.cot.interventions import LeaveOneOut, Mistake
from workbench.methods.lens.logit_lens import LensRequest, LensResult
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
    """One of five tokens is there."""
    await asked(run)
    run.engine.say_progress(1, 5, lens_result(HERO, done=1))


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
    run.engine.say_finished(recorded(run.engine.last, LensResult))


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
    await run.pilot.press("e", "tab", "tab", "tab", *"five", "enter")


async def edit_computing(run: Running) -> None:
    """One edit is computed, another waits."""
    await ask_hero(run)
    await run.pilot.press("e", "enter", "e", *"Perth", "enter")
    await run.until(lambda: sum(isinstance(request, EditRequest) for request in run.engine.asked) == 2)
    run.engine.asked.pop()
    run.engine.say_progress(9, 25, None, "optimising, loss 1.234, p 0.40")


async def edit_on(run: Running) -> None:
    """Two edits, one of them off, and the suite of the first."""
    await ask_hero(run)
    await make_edit(run)
    await run.pilot.press("space")
    run.engine.say_finished(queue_result(queue_state(True, False), f"{edit_info(2).title} is off"))


async def edit_detail(run: Running) -> None:
    """Every fact of the suite."""
    await ask_hero(run)
    await make_edit(run)
    await run.pilot.press("enter", "j")


async def edit_rivals(run: Running) -> None:
    """Three editors compared, of which one could not."""
    await compare(run)


async def edit_chart(run: Running) -> None:
    """Three edits, with the last of which perplexity grows too much."""
    await ask_hero(run)
    await make_edit(run)
    for number in (2, 3):
        run.main.queue = queue_state(*[True] * number)
        run.engine.edits = active_edits(run.main.queue)
        await run.pilot.press("c")
        await run.until(lambda: isinstance(run.engine.last, SuiteRequest))
        run.engine.say_finished(suite_result(edits=number))
        await run.settle()
    await run.pilot.press("v")


async def before_after(run: Running) -> None:
    """All edits are off again, and the lens says what they changed."""
    await ask_hero(run)
    await make_edit(run)
    await run.pilot.press("b")
    await run.until(lambda: isinstance(run.engine.last, QueueRequest))
    run.engine.say_finished(queue_result(queue_state(True, bypassed=True)))
    await run.settle()
    await run.pilot.press("2")


async def cot_form(run: Running) -> None:
    """A question is about to be asked, and its choices make no sense."""
    await ask_hero(run)
    await run.pilot.press("r", *"Perth; Perth Amboy", "enter")


async def cot_streaming(run: Running) -> None:
    """The model reasons."""
    await ask_tom(run, answer=False)
    run.engine.say_progress(24, 256, cot_result(FIRST, words=24), "reasoning")


async def cot_sentences(run: Running) -> None:
    """The answer, had the model stopped at the third of five sentences; one is necessary."""
    await ask_tom(run)
    await run.pilot.press("k", "x")
    await answer_last(run, LeaveOneOut)
    await run.pilot.press("k")


async def cot_mistake(run: Running) -> None:
    """A mistake was put in, another waits, and a third is typed."""
    await ask_tom(run)
    await run.pilot.press("M", "enter")
    await answer_last(run, Mistake)
    await run.pilot.press("k", "M", "enter", "end", "k")
    await run.until(lambda: run.engine.last == about(Mistake(sentence=3)))
    run.engine.say_started()
    await run.pilot.press("H")


async def cot_detail(run: Running) -> None:
    """What came of a mistake, in full."""
    await ask_tom(run)
    await run.pilot.press("M", "enter")
    await answer_last(run, Mistake)
    await run.pilot.press("end", "enter")


async def erasure_form(run: Running) -> None:
    """An erasure is being filled in, and there is no such concept."""
    await ask_hero(run)
    await run.pilot.press("z", *"s", "enter")


async def erasure_partial(run: Running) -> None:
    """Three layers are probed, and the edit is not there yet."""
    await ask_hero(run)
    request = await erase(run, answer=False, layers="1-4")
    run.engine.say_progress(30, 100, erasure_result(request, probed=3), "probes at layer 4")


async def erasure_chart(run: Running) -> None:
    """Probes before and after at every layer."""
    await ask_hero(run)
    await erase(run)


async def erasure_table(run: Running) -> None:
    """The numbers of the chart, and the edit is off."""
    await erasure_chart(run)
    request = next(each for each in run.engine.asked if isinstance(each, EditRequest))
    await run.pilot.press("space", "v", "k")
    await run.until(lambda: isinstance(run.engine.last, QueueRequest))
    run.engine.say_finished(queue_result(erasure_queue(request, on=False)))


async def erasure_steered(run: Running) -> None:
    """A direction was added in place of an erasure, and more of it is about to be asked for."""
    await ask_hero(run)
    await erase(run, answer=False, editor="steer")
    request = run.engine.last
    assert isinstance(request, EditRequest)
    run.engine.say_progress(90, 100, erasure_result(request), "layer 5")
    await run.pilot.press("plus")


async def erasure_detail(run: Running) -> None:
    """Everything about an erasure."""
    await erasure_chart(run)
    await run.pilot.press("enter")


STATES = (start, running, table, grid, detail, failed)
EDITS = (no_edits, edit_form, edit_computing, edit_on, edit_detail, edit_rivals, edit_chart, before_after)
ERASURES = (erasure_form, erasure_partial, erasure_chart, erasure_table, erasure_steered, erasure_detail)
COT = (cot_form, cot_streaming, cot_sentences, cot_mistake, cot_detail)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["narrow", "wide"])
@pytest.mark.parametrize("state", [*STATES, *EDITS, *COT, *ERASURES], ids=lambda state: state.__name__)
def test_the_app_looks_as_it_did(
    snap_compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State, size: tuple[int, int]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    engines: list[PlayedEngine] = []

    def make(*hooks: Any) -> PlayedEngine:
        engines.append(PlayedEngine(*hooks))
        return engines[-1]

    recording = SessionFile(tmp_path / "snapshot.json")
    app = WorkbenchApp(lambda: LiveScreen(LoadRequest(model="tiny"), recording=recording, engine=make))  # type: ignore[arg-type]
    app.animation_level = "none"

    async def go_there(pilot: Pilot[None]) -> None:
        app.theme = "textual-dark"
        for editor in (*app._main.query(TextArea), *app._main.query(Input)):
            editor.cursor_blink = False
        await pilot.pause()
        run = Running(app, engines[0], pilot)
        run.engine.say_loaded()
        await run.settle()
        await state(run)
        await run.settle()

    assert snap_compare(app, terminal_size=size, run_before=go_there)
