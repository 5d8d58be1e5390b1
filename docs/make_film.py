"""Make docs/pictures/film.svg, the moving picture of the README, from recorded sessions: ``python docs/make_film.py``.

Every scene is a screen of the app as it replays a step, which was computed by the model, once, and is in the files. The
scenes lie upon each other, each shown for its share of the time: no script, so that it moves as a mere image, too.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from dataclasses import dataclass
from html import escape

from make_pictures import FOLDER, Picture, drawn

SECONDS = 4
"""How long each scene is shown."""

CAPTION = 60
"""Height of the line under the screen, in the unit of the pictures: 12.2 a column, 24.4 a row."""

SIZE = (104, 30)


@dataclass(frozen=True)
class Scene:
    """What is said below a picture of the app."""

    caption: str
    picture: Picture


SCENES = (
    Scene(
        "It says Sydney. The logit lens: at no layer does Canberra lead.",
        Picture("", "australia", 1, ("2", "end"), SIZE),
    ),
    Scene(
        "With a separator prepended Canberra overtakes Sydney at layer 28.",
        Picture("", "australia", 5, ("2", "end"), SIZE),
    ),
    Scene(
        "Which tokens of the prompt pull? Three methods, side by side.",
        Picture("", "australia", 9, ("3", "end", "v"), SIZE),
    ),
    Scene(
        "Which states carry the answer? The causal trace.",
        Picture("", "eiffel", 3, ("4", "."), SIZE),
    ),
    Scene(
        "An edit is a hypothesis: ROME writes Canberra, and a regression suite says what else it did.",
        Picture("", "canberra", 2, ("5",), SIZE),
    ),
    Scene(
        "Repaired, with the model as it was beside it; one key takes the edit back, to the bit.",
        Picture("", "canberra", 7, ("2", "end"), SIZE),
    ),
)


def main() -> None:
    """Write the film, with times in UTC whoever makes it."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    file = FOLDER / "film.svg"
    file.write_text(film([asyncio.run(drawn(scene.picture)) for scene in SCENES]), encoding="utf-8")
    print(file)


def film(screens: list[str]) -> str:
    """One SVG of all screens, shown one after the other for ever, with their captions."""
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', screens[0]).groups())  # type: ignore[union-attr]
    share = 100 / len(screens)
    scenes = "\n".join(
        f'<g class="scene" style="animation-delay: {SECONDS * number}s">\n{_part(screen, width, height)}\n'
        f'<text class="caption" x="{width / 2}" y="{height + CAPTION * 0.6}">{escape(scene.caption)}</text>\n</g>'
        for number, (scene, screen) in enumerate(zip(SCENES, screens, strict=True))
    )
    return f"""<svg viewBox="0 0 {width} {height + CAPTION}" xmlns="http://www.w3.org/2000/svg">
<style>
.scene {{ visibility: hidden; animation: shown {SECONDS * len(screens)}s step-end infinite }}
.scene:first-of-type {{ visibility: visible }}
@keyframes shown {{ 0% {{ visibility: visible }} {share:.3f}% {{ visibility: hidden }} 100% {{ visibility: hidden }} }}
.caption {{ font: 22px sans-serif; fill: #57a5e2; text-anchor: middle }}
</style>
{scenes}
</svg>
"""


def _part(screen: str, width: float, height: float) -> str:
    """A picture as a part of another: in its own size, and without fonts, as an image loads none from elsewhere."""
    sized = screen.replace("<svg ", f'<svg width="{width}" height="{height}" ', 1)
    return re.sub(r"\s*@font-face \{.*?\n    \}", "", sized, flags=re.DOTALL)


if __name__ == "__main__":
    main()
