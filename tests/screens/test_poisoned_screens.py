"""Every screen with poison in what it shows: of the bytes that a terminal is sent none is raw, nothing is markup."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.color import Color
from textual.content import Content
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Input, Label, Static, TextArea

from screens.app import WorkbenchApp
from screens.base import BaseApp
from screens.door import VisibleText
from screens.history import remember
from screens.live import LiveScreen
from screens.replay import ReplayApp
from screens.widgets.prompt_fields import CaseField, PromptArea
from tests.poison import MARK, POISON, POISON_NAME, poisoned_session, raw_in, write
from tests.screens.played import PlayedEngine
from workbench import paths
from workbench.case import Case
from workbench.events import LoadRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.models.store import folders as store
from workbench.session import SessionFile, StepError, load_session

RECORDED = sorted((Path(__file__).parent.parent.parent / "sessions").glob("*.json"))
SIZES = [(80, 24), (160, 48)]


@pytest.fixture(autouse=True)
def no_markup_of_others(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Poison that is read as markup ends the test, wherever that is."""
    for kind in (Content, Text):
        parse = kind.from_markup

        def watched(markup: object, *args: Any, parse: Any = parse, **settings: Any) -> Any:
            assert MARK not in str(markup), "read as markup"
            return parse(markup, *args, **settings)

        monkeypatch.setattr(kind, "from_markup", watched)
    return


class Watched:
    """An app under test, and all that it would have sent to a terminal."""

    def __init__(self, app: BaseApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot
        self.seen = ""

    async def look(self) -> str:
        """What the screen that is on top is drawn with, byte by byte."""
        await self.pilot.pause()
        written = self.app.screen._compositor.render_full_update().render_segments(self.app.console)
        assert not raw_in(written), raw_in(written)
        self.seen += written
        return written

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.look()


@asynccontextmanager
async def watching(app: BaseApp, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Watched]:
    async with app.run_test(size=size, notifications=True, tooltips=True) as pilot:
        watched = Watched(app, pilot)
        await watched.look()
        yield watched


def poisoned_file(recorded: Path, folder: Path) -> Path:
    session = poisoned_session(recorded.read_text(encoding="utf-8"))
    return write(folder / f"{recorded.stem}{POISON_NAME}.json", json.dumps(session))


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
async def test_a_poisoned_session_is_replayed_in_every_pane(recorded: Path, tmp_path: Path) -> None:
    file = poisoned_file(recorded, tmp_path)
    app = ReplayApp(load_session(file), file)
    async with watching(app, SIZES[RECORDED.index(recorded) % 2]) as watched:
        await watched.press("right_square_bracket", "right_curly_bracket")
        for pane in range(1, len(app._screen.others) + 2):
            await watched.press(str(pane), "enter")
            await watched.pilot.press("escape")
    assert MARK in watched.seen


@asynccontextmanager
async def running(
    case: Case | None = None, recording: Path | None = None, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[Watched, PlayedEngine]]:
    engines: list[PlayedEngine] = []

    def make(*hooks: Any) -> Any:
        engines.append(PlayedEngine(*hooks))
        return engines[0]

    file = SessionFile.open(recording) if recording else None
    async with watching(
        WorkbenchApp(lambda: LiveScreen(LoadRequest(model="tiny"), case, file, engine=make)), size
    ) as watched:
        while not engines:
            await watched.look()
        yield watched, engines[0]


@pytest.fixture
def poisoned_home(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with poison in its name, its history, its sessions and its models."""
    home = own_home.with_name(f"home{POISON_NAME}")
    monkeypatch.setenv(paths.HOME_VARIABLE, str(home))
    remember(home / "history.jsonl", Case(prompt=POISON, subject=POISON, target=POISON, foil=POISON))
    for recorded in RECORDED:
        poisoned_file(recorded, paths.sessions_folder())
    write(paths.sessions_folder() / f"damaged{POISON_NAME}.json", "{")
    key = {"format": "lm-workbench-session", "version": 1, f"x{POISON}": 1}
    write(paths.sessions_folder() / "key.json", json.dumps(key))
    write(paths.sessions_folder() / f"\udc9d{POISON_NAME}.json", "{")
    made = paths.models_folder() / "made"
    made.mkdir(parents=True)
    store.install_reference(made, "listed", home / f"model{POISON_NAME}")
    return home


async def test_the_start_screen_lists_poisoned_sessions_and_the_last_case(poisoned_home: Path) -> None:
    async with running(size=(80, 24)) as (watched, _):
        while MARK not in await watched.look():
            pass
        await watched.press("up", "up", "down", "ctrl+t")
        assert MARK in await watched.look()


async def test_sessions_and_models_are_chosen_from_poisoned_lists(poisoned_home: Path) -> None:
    async with running() as (watched, _):
        await watched.press("escape", "ctrl+o")
        while MARK not in await watched.look():
            pass
        await watched.press("down", "down", "escape", "ctrl+l")
        await watched.press("down", "down", "tab")
        watched.app.screen.query_one(Input).value = POISON
        assert MARK in await watched.look()


async def test_a_poisoned_session_is_continued(poisoned_home: Path) -> None:
    file = paths.sessions_folder() / f"{RECORDED[0].stem}{POISON_NAME}.json"
    async with running(recording=file) as (watched, _):
        await watched.press("escape", "2", "enter", "escape")
        assert MARK in watched.seen


async def test_errors_and_notifications_are_text(poisoned_home: Path) -> None:
    case = Case(prompt="The capital of Australia is")
    async with running(case) as (watched, engine):
        wrong = StepError(kind="InputError", message=f"wrong {POISON}")
        engine.say_finished(None, "failed", error=wrong, job=1)  # loading
        assert MARK in await watched.look()
        watched.app.clear_notifications()
        engine.submit(LensRequest(case=case))
        engine.say_started()
        engine.say_progress(1, 2, None, stage=f"reading {POISON}")
        assert MARK in await watched.look()
        engine.say_finished(None, "failed", error=wrong, unsaved=f"the session {POISON} cannot be written")
        assert MARK in await watched.look()
        for severity in ("information", "warning", "error"):
            watched.app.notify(POISON, title=POISON, severity=severity)
            watched.app.screen.notify(POISON, title=POISON, severity=severity, markup=True)
        assert MARK in await watched.look()
        watched.app._main._open_session(Path("/nothing") / POISON)
        await watched.look()


async def test_what_is_typed_or_pasted_is_shown_visibly(poisoned_home: Path) -> None:
    async with running() as (watched, _):
        area = watched.app._main.query_one(PromptArea)
        area.text = f"{POISON}\n\tnext"
        for field in watched.app._main.query(CaseField):
            field.value = POISON
        written = await watched.look()
        assert MARK in written


async def test_a_path_with_brackets_does_not_end_the_app(own_home: Path) -> None:
    path = own_home / "[" / "x]" / "a.json"
    async with running(Case(prompt="The capital of"), recording=path) as (watched, engine):
        assert watched.app._main._recording.path == path
        engine.record = lambda step: step  # the engine has tried
        engine.say_finished(None, "failed", unsaved=f"{path} cannot be written", error=StepError(kind="a", message="b"))
        assert "[/x]" in await watched.look()


class Everything(BaseApp):
    """Every way by which a text can get onto a screen."""

    CSS_PATH = None

    def compose(self) -> ComposeResult:
        framed = Static(Content(POISON), markup=False)
        framed.styles.border = ("round", "white")
        framed.border_title = Content(POISON)
        framed.border_subtitle = Content(POISON)
        yield framed
        yield Label(Text(POISON))
        yield Input(POISON)
        yield Input(placeholder=POISON)
        yield TextArea(POISON)
        yield Static(Text("here", style="link http://elsewhere.example/"))


async def test_no_widget_needs_to_think_of_it() -> None:
    async with watching(Everything()) as watched:
        written = await watched.look()
        assert written.count(MARK) >= 6
        assert "elsewhere" not in written


def test_a_line_stays_as_long_as_it_was_laid_out() -> None:
    line = Strip([Segment("a\x1bb\n日\u202e"), Segment("end")])
    drawn = line.apply_filter(VisibleText(), Color(0, 0, 0))
    assert sum(segment.cell_length for segment in drawn) == line.cell_length
    assert drawn.text.startswith("a␛b⏎日")


def test_a_line_that_is_safe_is_passed_on_as_it_is() -> None:
    segments = [Segment("The capital"), Segment(" of ⠀ é\u00a0", Style(bold=True))]
    assert VisibleText().apply(segments, Color(0, 0, 0)) is segments
