"""The pane of a method that has nothing but figures: a toy method, asked and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.message import Message
from textual.pilot import Pilot
from textual.widgets import Static

from screens.messages import Ask, Cursor, CursorMoved
from screens.panes.attribution.pane import AttributionPane
from screens.panes.figure_pane import FigurePane, figure_pane, figure_panes
from screens.widgets.figure import FigureView
from screens.widgets.trust_strip import TrustStrip
from tests.screens.recorded import MODEL, STARTED
from tests.screens.test_app import HERO
from tests.waiting import until
from workbench.case import Case
from workbench.events import Progressed
from workbench.figures import Axis, Figure, Heatmap, said
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.protocol import Check, Request, Result
from workbench.session import Status, Step, StepError

TOKENS = (*HERO.prompt.split(), "(")


class ToyRequest(Request):
    """A toy's question."""

    kind: Literal["toy"] = "toy"
    case: Case
    position: int | None = None
    strength: float = 1.0


class CaselessRequest(Request):
    """A question about no prompt."""

    kind: Literal["caseless"] = "caseless"
    position: int | None = None


class ToyResult(Result):
    """A toy's answer: one number for each layer and token."""

    kind: Literal["toy"] = "toy"
    scale: float
    checks: tuple[Check, ...] = (Check(name="toy parity", text="2e-06", level="ok"),)


def toy_figures(result: ToyResult) -> tuple[Figure, ...]:
    """Layers, the last on top, by tokens."""
    layers = range(MODEL.layers - 1, -1, -1)
    picture = Heatmap(
        title="Toy",
        rows=Axis(name="layer", labels=tuple(map(str, layers)), index="layer", first=MODEL.layers - 1, step=-1),
        columns=Axis(name="token", labels=TOKENS, index="token"),
        values=tuple(tuple(result.scale * (layer + token / 10) for token in range(len(TOKENS))) for layer in layers),
    )
    return (picture, *said("what the toy says"))


@dataclass(frozen=True)
class Toy:
    """What a pane needs of a method."""

    title: str = "Toy method"
    request: type[Request] = ToyRequest
    figures: Callable[[Any], tuple[Figure, ...]] = toy_figures
    key: str = "y"
    opens: Callable[[Any, Any, Any, tuple[int, int]], Request | None] | None = None
    follows: type[Request] | None = None


def step(
    request: Request,
    scale: float = 0.1,
    status: Status = "done",
    error: StepError | None = None,
    edits: tuple[str, ...] = (),
) -> Step:
    """A step of the toy."""
    result = ToyResult(scale=scale) if status in ("done", "partial") else None
    return Step.model_construct(
        id=1, started=STARTED, seconds=0.1, status=status, request=request, result=result, error=error, edits=edits
    )


class PaneApp(App[None]):
    """The pane alone; it moves the cursor as the main screen does, and notes what the pane says."""

    CSS = "FigurePane { height: 100%; }"

    def __init__(self, method: Toy) -> None:
        super().__init__()
        self.said: list[Message] = []
        self.pane = figure_pane(method)()

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.pane.number = 7
        self.pane.case, self.pane.model = HERO, MODEL

    def on_cursor_moved(self, message: CursorMoved) -> None:
        self.said.append(message)
        self.pane.cursor = message.cursor

    def on_ask(self, message: Ask) -> None:
        self.said.append(message)

    @property
    def text(self) -> str:
        """What the screen shows, without line breaks."""
        strips = self.screen._compositor.render_strips()
        lines = ("".join(segment.text for segment in strip) for strip in strips)
        return " ".join(" ".join(lines).replace("│", " ").split())

    @property
    def asked(self) -> list[Request]:
        return [message.request for message in self.said if isinstance(message, Ask)]

    @property
    def cursors(self) -> list[Cursor]:
        return [message.cursor for message in self.said if isinstance(message, CursorMoved)]


@asynccontextmanager
async def toy(
    method: Toy | None = None, size: tuple[int, int] = (90, 24)
) -> AsyncIterator[tuple[PaneApp, Pilot[None]]]:
    """The pane, before anything was asked."""
    app = PaneApp(method or Toy())
    async with app.run_test(size=(90, 24)) as pilot:
        await pilot.pause()
        yield app, pilot


async def test_an_empty_pane_says_by_which_key_it_is_asked() -> None:
    async with toy() as (app, pilot):
        await until(pilot, lambda: "Press y for: Toy method." in app.text)
        assert "7 Toy method" in app.text


async def test_it_asks_with_defaults_about_the_case_and_the_cursor() -> None:
    async with toy() as (app, pilot):
        app.pane.ask()
        app.pane.cursor = Cursor(2, 3)
        app.pane.ask()
        await until(pilot, lambda: len(app.asked) == 2)
        assert app.asked == [ToyRequest(case=HERO), ToyRequest(case=HERO, position=3)]


async def test_it_asks_about_what_is_on_screen_and_not_at_a_token_of_another_prompt() -> None:
    another = Case(prompt="Another")
    async with toy() as (app, pilot):
        app.pane.show_step(step(ToyRequest(case=HERO)))
        app.pane.cursor, app.pane.on_screen, app.pane.case_on_screen = Cursor(2, 3), another, lambda: another
        app.pane.ask()
        await until(pilot, lambda: app.asked == [ToyRequest(case=another)])


async def test_without_a_case_it_asks_only_what_takes_none() -> None:
    async with toy() as (app, pilot):
        app.pane.case = None
        app.pane.ask()
        await pilot.pause()
        assert app.asked == []
    async with toy(Toy(request=CaselessRequest)) as (app, pilot):
        assert not app.pane.ABOUT_PROMPT
        app.pane.case = None
        app.pane.ask()
        await until(pilot, lambda: app.asked == [CaselessRequest()])


async def test_the_last_step_is_drawn_with_its_trust_strip() -> None:
    async with toy() as (app, pilot):
        app.pane.show_step(step(ToyRequest(case=HERO)))
        await until(pilot, lambda: "what the toy says" in app.text)
        assert {"Toy", "0.50", "0.53", "Australia"} <= set(app.text.split())
        assert "toy parity 2e-06" in str(app.pane.query_one(TrustStrip).tooltip)
        app.pane.show_step(step(ToyRequest(case=HERO), scale=0.15))
        await until(pilot, lambda: "0.75" in app.text)


def opened(request: ToyRequest, result: ToyResult, figure: Figure, place: tuple[int, int]) -> Request | None:
    """A stronger question about the token; the first token has none."""
    assert isinstance(result, ToyResult)
    assert isinstance(figure, Heatmap)
    return ToyRequest(case=request.case, position=place[1], strength=2.0) if place[1] else None


async def test_enter_asks_what_a_place_opens_and_wants_the_answer_shown() -> None:
    async with toy(Toy(opens=opened)) as (app, pilot):
        app.pane.live = True
        app.pane.show_step(step(ToyRequest(case=HERO)))
        await until(pilot, lambda: "what the toy says" in app.text)
        app.pane.focus_content()
        await pilot.press("home", "enter")
        await until(pilot, lambda: any("no more about this place" in n.message for n in app._notifications))
        await pilot.press("l", "l", "enter")
        await until(pilot, lambda: bool(app.asked))
        assert app.asked == [ToyRequest(case=HERO, position=2, strength=2.0)]
        assert [message.show for message in app.said if isinstance(message, Ask)] == [True]


async def test_nothing_opens_of_another_prompt_or_in_a_replay_or_where_a_method_opens_nothing() -> None:
    async with toy(Toy(opens=opened)) as (app, pilot):
        app.pane.show_step(step(ToyRequest(case=HERO)))
        app.pane.live, app.pane.on_screen = True, Case(prompt="Another")
        await until(pilot, lambda: "what the toy says" in app.text)
        app.pane.focus_content()
        await pilot.press("l", "enter")
        await until(pilot, lambda: any("The prompt has changed" in n.message for n in app._notifications))
        app.pane.live, app.pane.on_screen = False, HERO
        await pilot.press("enter")
        await pilot.pause()
        assert app.asked == []
    async with toy() as (app, pilot):
        app.pane.show_step(step(ToyRequest(case=HERO)))
        await until(pilot, lambda: "what the toy says" in app.text)
        app.pane.focus_content()
        await pilot.press("l", "enter")
        await pilot.pause()
        assert app.asked == []
        assert not app._notifications


async def test_what_runs_fails_or_is_stopped_is_said_and_the_figures_stay() -> None:
    async with toy() as (app, pilot):
        request = ToyRequest(case=HERO)
        app.pane.waiting(request)
        await until(pilot, lambda: "Waiting for the model" in app.text)
        app.pane.show_progress(Progressed(1, request, 1, 4, "toying", ToyResult(scale=0.1), 12.0))
        await until(pilot, lambda: "toying 25%" in app.text and "0.52" in app.text)
        failed = StepError(kind="InputError", message="the toy is broken; mend it")
        app.pane.show_step(step(request, status="failed", error=failed))
        await until(pilot, lambda: "the toy is broken; mend it" in app.text)
        assert "0.52" in app.text
        app.pane.show_step(step(request, status="partial"))
        await until(pilot, lambda: "partial: stopped before the end" in app.text)


async def test_other_prompts_and_edits_make_the_figures_stale() -> None:
    async with toy() as (app, pilot):
        app.pane.show_step(step(ToyRequest(case=HERO)))
        await until(pilot, lambda: "0.52" in app.text)
        app.pane.on_screen = Case(prompt="Another")
        await until(pilot, lambda: "stale: the prompt has changed; press y to ask again" in app.text)
        app.pane.on_screen = HERO
        app.pane.show_step(step(ToyRequest(case=HERO), edits=("e1",)))
        await until(pilot, lambda: "stale: the edits have changed" in app.text)


async def test_the_cursor_is_everybodys() -> None:
    async with toy() as (app, pilot):
        app.pane.cursor = Cursor(4, 1)
        app.pane.show_step(step(ToyRequest(case=HERO)))
        await until(pilot, lambda: "layer 4 · token capital · 0.41" in app.text)
        app.pane.focus_content()
        await pilot.press("j", "l", "l")
        assert app.cursors == [Cursor(3, 1), Cursor(3, 2), Cursor(3, 3)]
        await until(pilot, lambda: "layer 3 · token Australia · 0.33" in app.text)
        app.pane.cursor = Cursor(-1, 0)  # the embedding is not among the rows: the nearest is
        await until(pilot, lambda: "layer 0 · token The · 0.00" in app.text)


async def test_it_can_be_emptied_for_another_place_in_a_session() -> None:
    async with toy() as (app, pilot):
        app.pane.show_step(step(ToyRequest(case=HERO)))
        await until(pilot, lambda: "0.52" in app.text)
        app.pane.live = False
        app.pane.clear()
        await until(pilot, lambda: "Nothing of this was recorded" in app.text)
        assert "0.52" not in app.text
        assert str(app.pane.query_one("#legend", Static).visual) == ""


async def test_another_theme_draws_the_legend_anew() -> None:
    async with toy() as (app, pilot):
        app.pane.show_step(step(ToyRequest(case=HERO)))
        await until(pilot, lambda: "0.52" in app.text)
        said = app.pane.query_one(FigureView).boxes[0].query_one(".said", Static)
        dark = said.visual
        assert isinstance(dark, Content)
        app.theme = "textual-light"
        await until(pilot, lambda: isinstance(said.visual, Content) and said.visual.spans != dark.spans)


def test_one_line_makes_a_pane_of_every_method_that_has_a_key_and_no_pane() -> None:
    methods = (
        Toy(),
        Toy(title="Without a key", key=""),
        Toy(title="Attribution", request=AttributionRequest, key="a"),
    )
    (pane,) = figure_panes(methods, (AttributionPane,))
    assert issubclass(pane, FigurePane)
    assert (pane.TITLE, pane.ASK_KEY, pane.accepts, pane.ABOUT_PROMPT) == ("Toy method", "y", (ToyRequest,), True)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_picture(snap_compare: Any, size: tuple[int, int]) -> None:
    async def answer(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, PaneApp)
        app.pane.show_step(step(ToyRequest(case=HERO)))
        await until(pilot, lambda: "0.52" in app.text)
        app.pane.focus_content()
        await pilot.pause()

    assert snap_compare(PaneApp(Toy()), terminal_size=size, run_before=answer)
