"""The recorded answers are those that the script would record, and all that the panes take is among them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from screens.panes import OWN
from screens.panes.sweeps.pane import SweepPane
from tests.mutant_sessions import replaying
from tests.screens.parts import FOLDER, parts
from tests.screens.record import STORIES, Story, asks
from tests.screens.recorded import MODEL, steps
from workbench.editing.fix import FixRequest
from workbench.editing.steer_sweep import SteerSweepRequest
from workbench.methods.lens.patchscope import PatchscopeRequest
from workbench.methods.patching.pasting import PasteRequest
from workbench.methods.patching.patching import PatchRequest
from workbench.methods.watch.result import WatchRequest
from workbench.session import load_session


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_session_has_what_its_story_asks_in_order(story: Callable[[], Story]) -> None:
    session = load_session(FOLDER / f"{story.__name__}.json")
    answers = [step for step in session.steps if step.status != "partial"]
    assert session.model == MODEL
    assert {step.status for step in answers} == {"done"}
    wanted = []
    for ask, answer in zip(asks(story(), (step.result for step in answers)), answers, strict=True):
        wanted += [(ask.request, "partial", part) for part in ask.parts] + [(ask.request, "done", None)]
        assert answer.result is not None
    kept = [(step.request, step.status, parts(step.result)) for step in session.steps if step.result is not None]
    assert [(request, status, part if status == "partial" else None) for request, status, part in kept] == wanted


def test_every_request_that_a_pane_of_its_own_takes_was_recorded() -> None:
    elsewhere = {
        SteerSweepRequest,
        PatchscopeRequest,
        FixRequest,
        PatchRequest,
        PasteRequest,
        WatchRequest,
        *SweepPane.accepts,
    }  # whose own tests have results of them
    taken = {request for pane in OWN for request in pane.accepts}
    assert taken - elsewhere <= {type(step.request) for step in steps()}


def test_nothing_else_lies_beside_them_and_they_are_small() -> None:
    files = sorted(FOLDER.iterdir())
    assert [file.stem for file in files] == sorted(story.__name__ for story in STORIES)
    assert sum(file.stat().st_size for file in files) < 450_000


@pytest.mark.soak
async def test_all_of_it_can_be_replayed() -> None:
    async with replaying() as replay:
        for story in STORIES:
            await replay.show(load_session(FOLDER / f"{story.__name__}.json"))
