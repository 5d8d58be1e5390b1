"""Thousands of seeded keys, clicks and pastes in bursts, while results arrive at any time: nothing may end the app.

WORKBENCH_SOAK=1 pytest tests/screens/test_monkey.py      twenty thousand keys, in place of four hundred
WORKBENCH_MONKEY=SEED pytest tests/screens/test_monkey.py  one run again
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from textual import events
from textual.app import App
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.screen import Screen

from screens.app import WorkbenchApp
from screens.live import LiveScreen
from screens.replay import ReplayApp
from tests.screens.asked import HERO, SUITE, TOM, erasure_request
from tests.screens.played import BusyEngine
from tests.screens.test_replay import STORY, record
from workbench.editing.edit import EditRequest
from workbench.editing.suite.regression import SuiteRequest
from workbench.events import LoadRequest
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.interventions import Early
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import Request
from workbench.session import load_session

SOAK = bool(os.environ.get("WORKBENCH_SOAK"))
KEYS = 20_000 if SOAK else 400
RUNS = 40 if SOAK else 2
REPLAYS = 10 if SOAK else 1
"""Among which the keys are divided, each a new app; so many of them are replays."""
BURST = 25
"""Keys that come without a pause; also the most escapes that it may take to get back to the main screen."""
pytestmark = [pytest.mark.soak] if SOAK else []
SIZES = ((80, 24), (120, 30), (40, 12), (20, 5))

NAMED = [
    *("tab", "shift+tab", "enter", "escape", "up", "down", "left", "right", "pageup", "pagedown", "home", "end"),
    *("space", "backspace", "delete", "f1"),
    *(f"ctrl+{letter}" for letter in "cgjloprtqaekuwxz"),
]
LETTERS = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", "[", "]", "{", "}", ".", "ß", "界"]
PHRASES = (
    "ctrl+l enter enter",
    "ctrl+l down pagedown enter enter",
    "ctrl+o down enter enter",
    "ctrl+o tab x enter enter",
    "ctrl+p e pagedown",
    "ctrl+p t h e m e enter enter down enter",
    "ctrl+g a ctrl+g s",
    "ctrl+g ctrl+g z",
    "enter enter enter escape escape",
    "p T h e space c a p i t a l tab t h e tab C a n tab S y d enter",
    "r tab 7 enter",
    "e tab tab tab x enter backspace tab down enter",
    "z tab down down tab 2 enter",
    "e A u s tab C a n enter 5 enter r c enter b B",
    "a a t t z enter g G escape",
    "2 enter j j l l k enter",
    "3 enter 4 enter 5 enter 6 enter",
)

EVERYTHING: tuple[Request, ...] = (
    LensRequest(case=HERO),
    AttributionRequest(case=HERO),
    TraceRequest(case=HERO),
    CotRequest(question=TOM, interventions=(Early(),)),
    EditRequest(case=HERO),
    SuiteRequest(suite=SUITE),
    erasure_request("leace", concept="gender").model_copy(update={"case": HERO}),
    ContinueRequest(case=HERO),
)
"""What a replay is played with."""


def burst(dice: Random) -> list[str]:
    """Keys by name."""
    keys: list[str] = []
    while len(keys) < BURST:
        kind = dice.random()
        if kind < 0.2:
            keys += dice.choice(PHRASES).split()
        elif kind < 0.6:
            keys.append(dice.choice(NAMED))
        else:
            keys.append(dice.choice(LETTERS))
    return keys


def send(app: App[None], key: str) -> None:
    """As the driver's thread does."""
    character = " " if key == "space" else key if len(key) == 1 else None
    event = events.Key(_character_to_key(key) if len(key) == 1 else key, character)
    event.set_sender(app)
    app.post_message(event)


def click(app: App[None], dice: Random) -> None:
    """Somewhere."""
    x, y = dice.randrange(app.size.width), dice.randrange(app.size.height)
    for kind in (events.MouseDown, events.MouseUp):
        event = kind(None, x, y, 0, 0, 1, False, False, False, x, y)
        event.set_sender(app)
        app.post_message(event)


class Monkey:
    """Plays with an app, and remembers what it did."""

    def __init__(self, app: App[None], pilot: Pilot[None], main: Screen[None], dice: Random, seed: int) -> None:
        self.app, self.pilot, self.main, self.dice, self.seed = app, pilot, main, dice, seed
        self.did: list[str] = []

    async def play(self, keys: int, between: Callable[[], None]) -> None:
        """Press so many keys; ``between`` is called now and then among them."""
        done = 0
        while done < keys:
            pressed = burst(self.dice)
            for key in pressed:
                self.did.append(key)
                send(self.app, key)
                if self.dice.random() < 0.1:
                    between()
            done += len(pressed)
            if self.dice.random() < 0.3:
                self.did.append("click")
                click(self.app, self.dice)
            if self.dice.random() < 0.2:
                self.did.append("paste")
                self.app.post_message(events.Paste("pasted\x1b[31m [b]text[/b]\nof two lines"))
            await self.settled()
            between()
            if self.dice.random() < 0.15:
                size = self.dice.choice(SIZES)
                self.did.append(f"{size[0]}x{size[1]}")
                await self.pilot.resize_terminal(*size)
            if self.dice.random() < 0.3:
                await self.go_back()

    async def settled(self) -> None:
        """Wait until everything is handled; fail as soon as the app has."""
        await self.pilot.pause()
        if self.app._exception is not None or not self.app.is_running:
            self.fail("the app ended")

    async def go_back(self) -> None:
        """From wherever it is, escape leads to the main screen."""
        for _ in range(BURST):
            if self.app.screen is self.main:
                return
            self.did.append("escape")
            send(self.app, "escape")
            await self.settled()
        self.fail(f"no way back from {self.app.screen}")

    def fail(self, what: str) -> None:
        """Say how to do it again."""
        last = " ".join(self.did[-80:])
        raise AssertionError(f"{what}; seed {self.seed}, after {len(self.did)}, the last: {last}") from (
            self.app._exception
        )


def seeds(runs: int) -> list[int]:
    """Of the runs; one, if it is named."""
    named = os.environ.get("WORKBENCH_MONKEY")
    return [int(named)] if named else list(range(1, runs + 1))


def harmless(monkeypatch: pytest.MonkeyPatch, app: type[App[None]], folder: Path) -> None:
    """Leaving, and what would write files or stop the process, is for other tests."""

    async def stay(_: App[None]) -> None:
        pass

    monkeypatch.setattr(app, "action_quit", stay)
    monkeypatch.setattr(app, "action_suspend_process", lambda _: None)
    monkeypatch.setattr(app, "deliver_screenshot", lambda _, *__: None)
    monkeypatch.chdir(folder)  # where the paths lead that it types


@pytest.mark.parametrize("seed", seeds(RUNS - REPLAYS))
async def test_no_key_ends_the_app_and_escape_leads_back(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless(monkeypatch, WorkbenchApp, tmp_path)
    dice = Random(seed)
    engines: list[BusyEngine] = []

    def make(*hooks: object) -> BusyEngine:
        engines.append(BusyEngine(*hooks))
        engines[-1].dice = dice
        return engines[-1]

    app = WorkbenchApp(lambda: LiveScreen(LoadRequest(model="tiny"), HERO, engine=make))  # type: ignore[arg-type]
    async with app.run_test(size=dice.choice(SIZES), notifications=True) as pilot:
        monkey = Monkey(app, pilot, app._main, dice, seed)
        await monkey.play(KEYS // RUNS, lambda: engines[-1].advance() if engines else None)
        await monkey.go_back()


@pytest.mark.parametrize("seed", seeds(REPLAYS))
async def test_no_key_ends_a_replay_and_escape_leads_back(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless(monkeypatch, ReplayApp, tmp_path)
    file = tmp_path / "session.json"
    dice = Random(seed)
    answering = BusyEngine(lambda _: None, lambda step: step)
    answers = ((request, answering.answer(request)) for request in EVERYTHING)
    record(file, *STORY, *((request, "done", result, None) for request, result in answers))
    app = ReplayApp(load_session(file), file)
    async with app.run_test(size=dice.choice(SIZES), notifications=True) as pilot:
        monkey = Monkey(app, pilot, app._screen, dice, seed)
        await monkey.play(KEYS // RUNS, lambda: None)
        await monkey.go_back()
