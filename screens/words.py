"""The whole text of what stands around a pane's picture, and what its signs mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.cells import cell_len
from textual.binding import Binding, BindingType
from textual.content import Content

from screens.dialog import FramedText
from screens.keys import Key
from screens.signs import Sign

DIM = "$foreground 65%"


EVERYWHERE = (
    Sign("!", "a check that failed, or something to mind before the result is believed"),
    Sign("…", "something is cut here; this text has all of it"),
)
"""What every pane may show."""


class WordsScreen(FramedText):
    """Legend and trust strip in full, then the signs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(f"escape,enter,{Key.WORDS}", "close", "Close", id="words.close", tooltip="Back to the pane"),
    ]

    def __init__(self, title: str, legend: Content, trust: tuple[Content, ...], signs: Iterable[Sign]) -> None:
        super().__init__()
        self._title, self._legend, self._trust, self._signs = title, legend, trust, tuple(signs)

    def text(self, width: int) -> tuple[str, Content]:
        """The title, and all of it."""
        return self._title, in_full(self._legend, self._trust, self._signs, width)


def in_full(legend: Content, trust: tuple[Content, ...], signs: Iterable[Sign], width: int) -> Content:
    """Sections that have something in them, in lines of ``width`` cells; a piece of the trust strip is a line."""
    signs = (*signs, *EVERYWHERE)
    column = min(max(cell_len(each.sign) for each in signs), max(1, width // 3))
    explained = []
    for each in signs:
        first, *others = Content(each.meaning).wrap(max(8, width - column - 3))
        explained.append(Content.assemble((each.sign, "bold"), " " * (column - cell_len(each.sign) + 3), first))
        explained += [Content.assemble(" " * (column + 3), line) for line in others]
    sections = (
        ("Above the picture", legend.wrap(width) if legend.plain else []),
        ("How far to believe it", [line for piece in trust for line in piece.wrap(width)]),
        ("Signs", explained),
    )
    return Content("\n\n").join(
        Content("\n").join([*Content.styled(name, DIM).wrap(width), *lines]) for name, lines in sections if lines
    )
