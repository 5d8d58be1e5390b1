"""Make docs/pictures/*.svg from the recorded session: ``python docs/make_pictures.py``.

The app itself is driven, by keys, on a replay: what a picture shows was computed by the model, once, and is in the
file.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from screens.replay import ReplayApp
from workbench.session import load_session

SESSION = Path(__file__).parent.parent / "sessions" / "australia.json"
FOLDER = Path(__file__).parent / "pictures"

TO_LAST_TOKEN = ("2", "end")


@dataclass(frozen=True)
class Picture:
    """A file's name, the keys that lead to what it shows, and the terminal's size in columns and rows."""

    name: str
    keys: tuple[str, ...]
    size: tuple[int, int] = (100, 36)


PICTURES = (
    Picture("lens", ("{", *TO_LAST_TOKEN)),
    Picture("document", ("{", "]", "]", *TO_LAST_TOKEN)),
    Picture("grid", ("{", *TO_LAST_TOKEN, "v")),
    Picture("detail", ("{", *TO_LAST_TOKEN, "enter")),
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


async def drawn(picture: Picture) -> str:
    """The screen as SVG, after the keys."""
    app = ReplayApp(load_session(SESSION), Path(SESSION.name))
    async with app.run_test(size=picture.size) as pilot:
        await pilot.pause()
        for key in picture.keys:
            await pilot.press(key)
            await pilot.pause(0.1)
        return app.export_screenshot(title=" ")


if __name__ == "__main__":
    main()
