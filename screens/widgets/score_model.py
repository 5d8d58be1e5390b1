"""What a `screens.widgets.score_strip.ScoreStrip` draws: tokens with numbers, and how they are broken into lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from screens.widgets.colours import Shade


@dataclass(frozen=True)
class ScoreRow:
    """One number a token, as text with its colour; an empty text for a token without one."""

    label: str
    texts: tuple[str, ...]
    shades: tuple[Shade | None, ...]


@dataclass(frozen=True)
class Scores:
    """What is drawn: display-safe token texts, coloured by row ``main``, and rows of numbers under them.

    Labels stand before the rows where there are several. Tokens ``[start, stop)`` are underlined.
    """

    tokens: tuple[str, ...]
    rows: tuple[ScoreRow, ...]
    main: int = 0
    underlined: tuple[int, int] = (0, 0)

    @property
    def gutter(self) -> int:
        """Cells before a line."""
        return max(cell_len(row.label) for row in self.rows) + 1 if len(self.rows) > 1 else 0

    @property
    def height(self) -> int:
        """Lines that a line of tokens takes: with several rows a free one below."""
        return 1 + len(self.rows) + (1 if len(self.rows) > 1 else 0)

    def widths(self) -> list[int]:
        """Cells for each token: its text, or its widest number and a free cell before that."""
        return [
            max(cell_len(text), 1, *(cell_len(row.texts[index]) + 1 for row in self.rows))
            for index, text in enumerate(self.tokens)
        ]


def wrapped(tokens: Sequence[str], widths: Sequence[int], width: int) -> list[range]:
    """The tokens of each line: broken before a word, inside one only where it is longer than a line."""
    lines: list[range] = []
    start = used = 0
    for word in _words(tokens):
        length = sum(widths[index] for index in word)
        if used and used + length > width:
            lines.append(range(start, word.start))
            start, used = word.start, 0
        for index in word:
            if used and used + widths[index] > width:
                lines.append(range(start, index))
                start, used = index, 0
            used += widths[index]
        if tokens[word.stop - 1].endswith("⏎"):
            lines.append(range(start, word.stop))
            start, used = word.stop, 0
    if start < len(tokens):
        lines.append(range(start, len(tokens)))
    return lines


def _words(tokens: Sequence[str]) -> list[range]:
    """Runs of tokens between which a line may be broken."""
    starts = [
        index
        for index, text in enumerate(tokens)
        if not index or text.startswith((" ", "·", "⏎")) or tokens[index - 1].endswith("⏎")
    ]
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True)]
