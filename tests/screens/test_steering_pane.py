"""The steering pane: which set is asked for, what is drawn of a sweep, and the edit of its best strength."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from screens.panes import PANES
from screens.panes.steering import SteeringPane
from tests.contrast_sets import REQUEST, behaviour, steered, sweep
from tests.screens.recorded import MODEL, STARTED
from tests.screens.test_figure_pane import PaneApp, Toy, until
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors.steering.steering import ContrastSettings
from workbench.editing.queue import QueueState
from workbench.editing.steer_sweep import SteerSweepRequest
from workbench.protocol import Request, Result
from workbench.session import Step


def step(request: Request, result: Result) -> Step:
    """A step that is done."""
    return Step.model_construct(
        id=1, started=STARTED, seconds=0.1, status="done", request=request, result=result, error=None, edits=()
    )


@asynccontextmanager
async def steering() -> AsyncIterator[tuple[Any, Pilot[None]]]:
    """The pane alone, before anything was asked."""
    app: Any = PaneApp(Toy())
    app.pane = SteeringPane()
    app.CSS = "SteeringPane { height: 100%; }"
    async with app.run_test(size=(100, 40)) as pilot:
        await pilot.pause()
        app.pane.model = MODEL
        yield app, pilot


def test_it_is_one_of_the_panes() -> None:
    assert SteeringPane in PANES


async def test_the_next_set_is_chosen_and_asked_for() -> None:
    async with steering() as (app, pilot):
        await until(pilot, lambda: "Press Z to steer along formality, m for another set." in app.text)
        app.pane.focus_content()
        app.pane.action_next()
        await until(pilot, lambda: "to steer along refusal" in app.text)
        app.pane.ask()
        await until(pilot, lambda: app.asked == [SteerSweepRequest(contrast="refusal")])


async def test_the_best_strength_of_a_sweep_becomes_an_edit() -> None:
    async with steering() as (app, pilot):
        assert not app.pane.check_action("switch", ())
        app.pane.show_step(step(REQUEST, sweep((0.5, behaviour(1)), (1, behaviour(2)), (2, behaviour(5, 90)))))
        await until(pilot, lambda: "best towards positive: 1 × at layer 2" in app.text)
        assert "Steering · formality" in app.text
        assert app.pane.check_action("switch", ())
        app.pane.action_switch()
        settings = ContrastSettings(
            contrast="sentiment", digest="d", by="pca", layers=(2,), strength=1, tokens=9, seed=3
        )
        await until(pilot, lambda: bool(app.asked))
        assert app.asked == [EditRequest(editor="contrast", settings=settings, test=False)]


async def test_nothing_is_steered_by_a_sweep_in_which_nothing_is_usable() -> None:
    async with steering() as (app, pilot):
        app.pane.show_step(step(REQUEST, sweep((2, behaviour(5, 90)))))
        await until(pilot, lambda: "no strength above 0 that was tried is usable" in app.text)
        assert not app.pane.check_action("switch", ())


async def test_an_edit_is_drawn_in_place_of_the_sweep() -> None:
    request = EditRequest(editor="contrast", settings=ContrastSettings(contrast="sentiment"), test=False)
    async with steering() as (app, pilot):
        assert app.pane.takes(request)
        assert not app.pane.takes(EditRequest(editor="leace", settings={}))  # type: ignore[arg-type]
        app.pane.show_step(step(request, EditResult(editor="contrast", details=steered(), queue=QueueState())))
        await until(pilot, lambda: "sentiment · towards positive, 1 ×" in app.text)
        assert "+2.00 (+1.00 … +4.00)" in app.text
