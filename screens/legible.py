"""Colours as the terminal will show them: text that can be read, and few colours where there are few.

A terminal with 16 colours (the Linux console, a plain `screen`) rounds every other one to the nearest of them, and
greys to three. Here backgrounds become the eight that every terminal has, and text whatever is nearest to what was
meant and stands out. With more colours, text that would stand out too little is made lighter or darker until it does.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color, rgb_to_lab
from textual.filter import LineFilter

from screens.widgets.colours import contrast

TEXT = 4.5
"""The least contrast of text (WCAG 2.1, 1.4.3)."""

PICTURE = 3.0
"""And of what is drawn (1.4.11): blocks as high as a value, lines of a chart. Asked of sixteen colours only: with
more of them the colour itself is what is seen."""

DRAWN = re.compile(r" *[\u2500-\u259f\u2800-\u28ff][ \u2500-\u259f\u2800-\u28ff]*")
"""Boxes, blocks and dots of braille."""

TextPiece = Literal["text", "drawn", "blank"]

SYSTEMS = {"standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT}


def _palette(*colours: str) -> tuple[Color, ...]:
    return tuple(Color.parse(f"#{each}") for each in colours)


CONSOLE = (
    *_palette("000000", "aa0000", "00aa00", "aa5500", "0000aa", "aa00aa", "00aaaa", "aaaaaa"),
    *_palette("555555", "ff5555", "55ff55", "ffff55", "5555ff", "ff55ff", "55ffff", "ffffff"),
)
"""The sixteen as the Linux console has them."""

XTERM = (
    *_palette("000000", "cd0000", "00cd00", "cdcd00", "0000ee", "cd00cd", "00cdcd", "e5e5e5"),
    *_palette("7f7f7f", "ff0000", "00ff00", "ffff00", "5c5cff", "ff00ff", "00ffff", "ffffff"),
)
"""And as xterm does, whose are as far from those as any."""

BLACK, RED, BLUE, CYAN, WHITE = 0, 1, 4, 6, 7


class Legible(LineFilter):
    """Keeps text apart from its background, in whatever colours the terminal has; until that is said, in all."""

    def __init__(self) -> None:
        super().__init__()
        self._system: ColorSystem | None = None

    def use(self, system: str | None) -> None:
        """The terminal's colours, by Rich's name for them."""
        self._system = SYSTEMS.get(system or "")

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same line in colours that can be told apart; of few colours, neighbors that look the same as one."""
        system = self._system
        found = [
            segment
            if segment.style is None or segment.control
            else Segment(segment.text, legible(segment.style, _piece(segment.text), background, system))
            for segment in segments
            if segment.text or segment.control or system is None
        ]
        return found if system is None else list(Segment.simplify(found))


def _piece(text: str) -> TextPiece:
    if DRAWN.fullmatch(text):
        return "drawn"
    return "text" if text.strip() else "blank"


@lru_cache(4096)
def legible(style: Style, piece: TextPiece, background: Color, system: ColorSystem | None) -> Style:
    """A style in the colours of a terminal."""
    found = _apart(style, piece, background, system)
    if system is not ColorSystem.EIGHT_BIT:
        return found
    return found + Style.from_color(*map(_of_256, (found.color, found.bgcolor)))  # so that what looks the same is equal


def _apart(style: Style, piece: TextPiece, background: Color, system: ColorSystem | None) -> Style:
    """A style whose text stands apart from its background."""
    if style.color is None or style.color.is_default or (style.bgcolor is not None and style.bgcolor.is_default):
        return style
    behind = background if style.bgcolor is None else Color.from_rich_color(style.bgcolor)
    text = Color.from_rich_color(style.color)
    if system is ColorSystem.STANDARD:
        number, ground = _of_sixteen(text, behind, piece == "drawn")
        return style + Style(color=RichColor.from_ansi(number), bgcolor=RichColor.from_ansi(ground))
    if piece != "text" or contrast(*_shown(text, behind, system)) >= TEXT:
        return style
    return style + Style(color=_lifted(text, behind, system).rich_color)


def _of_256(colour: RichColor | None) -> RichColor | None:
    if colour is None or colour.is_default:
        return colour
    number = colour.downgrade(ColorSystem.EIGHT_BIT).number
    return None if number is None else RichColor.from_ansi(number)


def _shown(text: Color, behind: Color, system: ColorSystem | None) -> tuple[Color, Color]:
    if system is None:
        return text, behind
    return tuple(Color.from_rich_color(each.rich_color.downgrade(system)) for each in (text, behind))  # type: ignore[return-value]


def _lifted(text: Color, behind: Color, system: ColorSystem | None) -> Color:
    """Towards black or white, whichever is farther from the background, no farther than it must be."""
    ground = _shown(behind, behind, system)[0]
    end = max((Color(0, 0, 0), Color(255, 255, 255)), key=lambda each: contrast(each, ground))
    for step in range(1, 10):
        lifted = text.blend(end, step / 10)
        if contrast(*_shown(lifted, behind, system)) >= TEXT:
            return lifted
    return end


@lru_cache(4096)
def _of_sixteen(text: Color, behind: Color, drawn: bool) -> tuple[int, int]:
    """The numbers of a text's colour and its background's."""
    ground = _ground(behind, drawn)
    least = PICTURE if drawn else TEXT
    able = [
        number
        for number in range(16)
        if all(contrast(palette[number], palette[ground]) >= least for palette in (CONSOLE, XTERM))
    ]
    return min(able, key=lambda number: _distance(text, CONSOLE[number])), ground


def _ground(behind: Color, drawn: bool) -> int:
    """Warm and cold colours stay apart, as more and less of a signed ramp; of others it counts how light they are."""
    lightness, a, b = _lab(behind)
    if drawn:
        return BLACK if lightness < 50 else WHITE
    if lightness < 22 or (a * a + b * b < 64 and lightness < 50):
        return BLACK
    if lightness > 82 or a * a + b * b < 64:
        return WHITE
    if a > 4 and b > 0:
        return RED
    if lightness < 48:
        return BLUE
    return CYAN if lightness < 68 or b < 0 else WHITE


def _distance(one: Color, other: Color) -> float:
    return sum((a - b) ** 2 for a, b in zip(_lab(one), _lab(other), strict=True))


@lru_cache(1024)
def _lab(colour: Color) -> tuple[float, float, float]:
    found = rgb_to_lab(colour)
    return found.L, found.a, found.b
