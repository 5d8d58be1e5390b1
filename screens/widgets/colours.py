"""Colours for values: two quantised ramps that colour-blind people can read, and a readable text colour on each.

A model names a `Shade`; the widget that draws turns it into colours for a dark or a light theme. Sixteen levels are
what 256 terminal colours can tell apart, and few enough that neighboring cells often share one escape sequence.
Colour is never the only carrier: `workbench.blocks` has the same values as characters.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from textual.color import Color, Gradient

LEVELS = 16
"""Levels of a ramp. The signed one has half of them on either side of neutral."""


class Shade(NamedTuple):
    """A level of a ramp: 0 … LEVELS − 1. Signed shades are neutral in the middle and positive above it."""

    ramp: Literal["sequential", "signed"]
    level: int


class Fill(NamedTuple):
    """What to draw with, as hex colours: ``quiet`` for what may be overlooked, such as a badge."""

    background: str
    foreground: str
    quiet: str


def sequential(fraction: float) -> Shade | None:
    """The shade of a fraction of the scale; outside 0 … 1 it saturates. None for a value that is not finite."""
    if not math.isfinite(fraction):
        return None
    return Shade("sequential", min(LEVELS - 1, max(0, int(fraction * LEVELS))))


def signed(fraction: float) -> Shade | None:
    """The shade of a signed fraction of the scale, −1 … 1. None for a value that is not finite."""
    if not math.isfinite(fraction):
        return None
    return Shade("signed", round((min(1.0, max(-1.0, fraction)) + 1) / 2 * (LEVELS - 2)))


def fill(shade: Shade, dark: bool = True) -> Fill:
    """The colours of a shade. On a light theme both ramps run the other way, so that much is what stands out."""
    return _RAMPS[shade.ramp, dark][shade.level]


def block(shade: Shade, dark: bool = True) -> tuple[str, str]:
    """Foreground and background for block characters that fill a cell: its colour, on half of it.

    So a higher block is also more of the colour; the other half is that of the ramp's quietest level.
    """
    quietest = shade._replace(level=0 if shade.ramp == "sequential" else (LEVELS - 2) // 2)
    own, least = Color.parse(fill(shade, dark).background), Color.parse(fill(quietest, dark).background)
    return own.hex, own.blend(least, 0.5).hex


def contrast(one: Color, other: Color) -> float:
    """The contrast ratio of WCAG 2.1 (1 … 21); text wants 4.5."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Color) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _ramp(anchors: tuple[str, ...], levels: int) -> tuple[Fill, ...]:
    stops = [(index / (len(anchors) - 1), Color.parse(anchor)) for index, anchor in enumerate(anchors)]
    gradient = Gradient(*stops, quality=256)
    colours = [gradient.get_color(level / (levels - 1)) for level in range(levels)]
    return tuple(_fill_of(colour) for colour in colours)


def _fill_of(background: Color) -> Fill:
    text = _readable_on(background)
    return Fill(background.hex, text.hex, background.blend(text, 0.5).hex)


def _readable_on(background: Color) -> Color:
    """White or black: one of them always reaches the contrast that text wants, softer ones do not."""
    pair = (Color.parse("#FFFFFF"), Color.parse("#000000"))
    return max(pair, key=lambda colour: contrast(colour, background))


# Both ramps change in lightness all the way, hence survive colour blindness and grey screens. The first goes from
# violet by green to yellow, after matplotlib's viridis but starting near a dark background.
_VALUES = ("#221D2E", "#352F55", "#34507A", "#2C6F80", "#338F7C", "#6DAE62", "#CDCB5A")
_SIGNED_DARK = ("#E59A45", "#A8662A", "#5B4028", "#2B2B2E", "#26425F", "#3A74AB", "#7DB8EC")
_SIGNED_LIGHT = ("#9A4A00", "#D98632", "#F3CFA4", "#EDEDED", "#B4D3F2", "#4D8FCF", "#0B4A8F")
_RAMPS = {
    ("sequential", True): _ramp(_VALUES, LEVELS),
    ("sequential", False): tuple(reversed(_ramp((*_VALUES, "#F5F3D8"), LEVELS))),
    ("signed", True): _ramp(_SIGNED_DARK, LEVELS - 1),
    ("signed", False): _ramp(_SIGNED_LIGHT, LEVELS - 1),
}
