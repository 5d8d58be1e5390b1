"""Shares of a scale as characters, so that no value is told by colour alone."""

from __future__ import annotations

import math

BARS = "▁▂▃▄▅▆▇█"
DOTS = "░▒▓"
"""The same, coarser, for what is estimated."""

NEUTRAL = 1 / 14
"""A signed share that is smaller is neither: it lies in the neutral middle of fifteen colours."""


def bar(share: float) -> str:
    """A block character as high as the share of 0 … 1; ``?`` where it is not known."""
    return _level(BARS, share)


def dots(share: float) -> str:
    """A dotted block, the denser the higher the share."""
    return _level(DOTS, share)


def sign(share: float) -> str:
    """``+`` or ``−``, doubled in weight where a share of −1 … 1 is more than half of the scale."""
    if not math.isfinite(share):
        return "?"
    if abs(share) < NEUTRAL:
        return "·"
    if share > 0:
        return "▲" if share > 0.5 else "+"
    return "▼" if share < -0.5 else "−"


def horizontal_bar(share: float, width: int) -> str:
    """A bar of at most ``width`` cells, to an eighth of a cell; anything above nothing shows at least a sliver."""
    if not math.isfinite(share) or share <= 0:
        return ""
    eighths = max(1, round(min(1.0, share) * width * 8))
    parts: tuple[str, ...] = ("", *"▏▎▍▌▋▊▉")
    return "█" * (eighths // 8) + parts[eighths % 8]


def _level(characters: str, share: float) -> str:
    if not math.isfinite(share):
        return "?"
    return characters[min(len(characters) - 1, max(0, int(share * len(characters))))]
