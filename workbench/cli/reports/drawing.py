"""What drawings on the command line are made of: tables, notes, numbers, heatmaps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from workbench.cli.console import Console, Text

BARS = "▁▂▃▄▅▆▇█"
GREYS = ("grey35", "grey42", "grey50", "grey58", "grey66", "grey74", "grey85", "grey93")


def table(title: str, *headings: str, right: Sequence[str] = ()) -> Table:
    """A table without lines; ``right`` are the headings whose columns hold numbers, which are never cut."""
    found = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    found.title = Text(title) if title else None
    for heading in headings:
        if heading in right:
            found.add_column(Text(heading), justify="right", no_wrap=True)
        else:  # wrapping lets such a column give way first, and what is one word is cut and not wrapped
            found.add_column(Text(heading), max_width=14, overflow="ellipsis")
    return found


def notes(sentences: Sequence[str]) -> list[Text]:
    """Sentences for the person, a line each."""
    return [Text(f"· {note}", style="dim") for note in sentences]


def signed(value: float, digits: int) -> str:
    """A number with its sign, a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def count(number: int, thing: str) -> str:
    """A number and what there is so many of."""
    return f"{number} {thing}{'s' * (number != 1)}"


def heatmap(rows: Sequence[tuple[str, Sequence[float | None]]]) -> list[Text]:
    """Labelled rows of shares, 0 … 1; what lies outside saturates, what is not known is a question mark."""
    n_layers = max((len(shares) for _, shares in rows), default=0)
    wide = 2 if 18 + 2 * n_layers <= Console().width else 1
    lines = []
    for label, shares in rows:
        line = Text(f"{label[:16]:>16} ")
        for share in shares:
            if share is not None and not math.isfinite(share):
                share = None
            level = 0 if share is None else min(len(BARS) - 1, max(0, int(share * len(BARS))))
            line.append(("?" if share is None else BARS[level]) * wide, style=GREYS[level])
        lines.append(line)
    ticks = "".join(f"{layer:<{5 * wide}}" for layer in range(0, n_layers, 5))
    lines.append(Text(f"{'layer':>16} {ticks}", style="dim"))
    return lines
