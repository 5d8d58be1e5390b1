"""Make docs/pictures/*.svg from the recorded sessions: ``python docs/make_pictures.py``.

The app itself is driven, by keys, on a replay: what a picture shows was computed by the model, once, and is in the
files.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from textual.app import App

from screens.panes.edits.chart import EditChart
from screens.replay import ReplayApp
from workbench.editing.sequence import SequencePoint
from workbench.session import load_session

SESSIONS = Path(__file__).parent.parent / "sessions"
FOLDER = Path(__file__).parent / "pictures"
SEQUENCE = Path(__file__).parent / "sequence.json"
"""The points of `workbench edit --facts FILE --limit 100 --sequence --json`, after that of the unedited model."""

TO_LENS, TO_ATTRIBUTION, TO_TRACE = ("2", "end"), ("3", "end"), ("4",)


@dataclass(frozen=True)
class Picture:
    """A file's name, the session and its step, the keys that lead to what it shows, and columns and rows."""

    name: str
    session: str
    step: int
    keys: tuple[str, ...]
    size: tuple[int, int] = (100, 36)

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Those that lead to the step, too."""
        return "{", *("]",) * (self.step - 1), *self.keys


PICTURES = (
    Picture("workbench", "australia", 10, (*TO_ATTRIBUTION, "v", "2"), size=(150, 48)),
    Picture("lens", "australia", 1, TO_LENS),
    Picture("grid", "australia", 1, (*TO_LENS, "v")),
    Picture("detail", "australia", 1, (*TO_LENS, "enter")),
    Picture("separator", "australia", 5, TO_LENS),
    Picture("pull", "australia", 3, TO_ATTRIBUTION, size=(100, 30)),
    Picture("attribution", "australia", 9, (*TO_ATTRIBUTION, "v"), size=(100, 32)),
    Picture("repaired", "canberra", 7, ("5",), size=(150, 40)),
    Picture("reasoning", "tom", 2, ("6", "home", "j", "j", "j"), size=(100, 30)),
    Picture("trace", "eiffel", 3, (*TO_TRACE, "."), size=(100, 34)),
    Picture("trace-kinds", "eiffel", 3, (*TO_TRACE, ".", "enter"), size=(119, 36)),
)


def main() -> None:
    """Write all pictures, with times in UTC whoever makes them."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    FOLDER.mkdir(exist_ok=True)
    for picture in PICTURES:
        file = FOLDER / f"{picture.name}.svg"
        file.write_text(asyncio.run(drawn(picture)), encoding="utf-8")
        print(file)
    points = TypeAdapter(list[SequencePoint]).validate_json(SEQUENCE.read_bytes())
    (FOLDER / "sequence.svg").write_text(asyncio.run(charted(points)), encoding="utf-8")


async def drawn(picture: Picture) -> str:
    """The screen as SVG, after the keys."""
    file = SESSIONS / f"{picture.session}.json"
    app = ReplayApp(load_session(file), Path(file.name))
    async with app.run_test(size=picture.size) as pilot:
        await pilot.pause()
        for key in picture.all_keys:
            await pilot.press(key)
            await pilot.pause(0.1)
        return app.export_screenshot(title=" ")


async def charted(points: list[SequencePoint]) -> str:
    """The chart of a sequence of edits as SVG."""
    app = App[None]()
    async with app.run_test(size=(110, 34)) as pilot:
        await app.push_screen(EditChart(points))
        await pilot.pause(0.3)
        return app.export_screenshot(title=" ")


if __name__ == "__main__":
    main()
