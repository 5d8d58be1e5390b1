"""Whatever is open looks the same, however the terminal came to be as large as it is."""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import Path

from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.geometry import Size
from textual.widgets import Label
from textual.widgets.option_list import Option

from screens.jump import JumpScreen
from screens.widgets.options import Options
from tests.screens.test_app import Running, ask_hero, running
from tests.screens.test_edits_pane import make_edit
from tests.waiting import is_done
from workbench.session import SessionFile

NARROW, WIDE = Size(80, 24), Size(160, 48)

TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")

OPENED = {
    "f1": "all keys",
    "ctrl+o": "sessions",
    "I": "in words",
    "X": "export",
    "N": "notes",
    "number_sign": "the form of a sweep",
    "T": "the form of patching",
    "e": "the form of an edit",
}
"""Dialogs and forms, by their keys."""


async def test_dialogs_and_forms_look_resized_as_they_look_opened_at_that_size(tmp_path: Path) -> None:
    opened, resized = dict[Size, list[list[str]]](), dict[Size, list[list[str]]]()
    for size, other in permutations((NARROW, WIDE)):
        async with running(size, recording=SessionFile(tmp_path / f"{size.width}" / "session.json")) as run:
            opened[size], resized[other] = await shown_at(run, size, other)
    for size in opened:
        for what, before, after in zip(OPENED.values(), opened[size], resized[size], strict=True):
            assert after == before, f"{what} at {size}"


async def shown_at(run: Running, size: Size, other: Size) -> tuple[list[list[str]], list[list[str]]]:
    """What the screen shows when each is opened, and then at the other size."""
    opened, resized = [], []
    await ask_hero(run)
    await make_edit(run)
    for key in OPENED:
        await run.pilot.press(key)
        opened.append(text(run))
        await run.pilot.resize_terminal(*other)
        resized.append(text(run))
        await run.pilot.press("escape")
        await run.pilot.resize_terminal(*size)
    return opened, resized


def text(run: Running) -> list[str]:
    """What the terminal shows, with what shows through, but for the time."""
    app = run.app
    update = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
    lines = Segment.split_lines(app.console.render(update))
    return [TIME.sub("now", "".join(part.text for part in line if not part.control)) for line in lines]


async def test_letters_on_everything_go_where_what_they_stand_on_goes() -> None:
    async with running(NARROW) as run:
        await ask_hero(run)
        await run.pilot.press("ctrl+g")
        letters = run.app.screen
        assert isinstance(letters, JumpScreen)
        for size in (NARROW, WIDE, NARROW):
            await run.pilot.resize_terminal(*size)
            await run.settle()
            places = {letter: widget.region.offset for letter, widget in letters._targets.items() if widget.region}
            shown = {str(label.content): label.region.offset for label in letters.query(Label) if label.display}
            assert shown == places, size
            assert len(shown) > 2
        await run.pilot.resize_terminal(*WIDE)
        await run.pilot.press("a")
        assert run.app.screen is run.main


async def test_a_pilot_waits_for_what_is_beneath_a_dialog_too() -> None:
    async with running() as run:
        await run.pilot.press("f1")
        run.main._layout_required = True
        assert not is_done(run.app)
        await run.settle()
        assert not run.main._layout_required


class ListApp(App[None]):
    """A list that is too long by a few options."""

    CSS = "Options { border: none; padding: 0; scrollbar-size: 1 1; }"

    def compose(self) -> ComposeResult:
        yield Options(*(Option(f"twelve cells {number}") for number in range(12)))


async def test_a_scrollbar_hides_no_text_of_a_list() -> None:
    async with ListApp().run_test(size=(len("twelve cells 9"), 10)) as pilot:
        await pilot.pause()
        lines = ["".join(segment.text for segment in line) for line in pilot.app.screen._compositor.render_strips()]
        assert [line.strip("▅ ") for line in lines[:4]] == ["twelve cells", "0", "twelve cells", "1"]
