"""Colours of figures on paper: two ramps that colour-blind people can read, and text that stands out on each.

Colour is never the only carrier: every cell of a picture says its number too, at least when it is pointed at, and all
numbers stand in a table.
"""

from __future__ import annotations

import math

from workbench.figures import Meaning, Scale

INK, QUIET, PAPER = "#1d2330", "#5b6475", "#ffffff"
TARGET, FOIL = "#1f5fa8", "#b35400"
"""Blue and orange, which differ for everybody; both are dark enough to be read as text (WCAG 2.1, 4.5 : 1)."""

MEANINGS: dict[Meaning, str] = {
    "plain": INK,
    "strong": INK,
    "heading": INK,
    "muted": QUIET,
    "note": QUIET,
    "good": "#226b3a",
    "warning": "#8a5a00",
    "bad": "#a8201a",
    "target": TARGET,
    "foil": FOIL,
    "subject": INK,
}

DARK = 0.2
"""White is easier to read than ink on what is darker (relative luminance)."""

_DARKEST = (31, 45, 92)
_POSITIVE, _NEGATIVE = (31, 95, 168), (179, 84, 0)
_NEUTRAL = (246, 246, 243)
UNKNOWN = "#e3e3e3"

SERIES = (TARGET, FOIL, "#226b3a", "#7b3f98", "#5b6475", "#a8201a")
"""For curves, one after the other; each has dashes of its own besides."""


def fill(scale: Scale, value: float | None) -> tuple[str, str]:
    """The colour of a value, and one that can be read on it."""
    share = scale.share(value)
    if math.isnan(share):
        return UNKNOWN, INK
    strength = min(1.0, abs(share)) if scale.ramp == "signed" else min(1.0, max(0.0, share))
    towards = _DARKEST if scale.ramp == "sequential" else _POSITIVE if share > 0 else _NEGATIVE
    mixed = [round(least + (most - least) * strength) for least, most in zip(_NEUTRAL, towards, strict=True)]
    return "#" + "".join(f"{part:02x}" for part in mixed), PAPER if _luminance(mixed) < DARK else INK


def _luminance(colour: list[int]) -> float:
    """The relative luminance of WCAG 2.1, 0 … 1."""
    shares = (part / 255 for part in colour)
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)
