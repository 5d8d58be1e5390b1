"""Rich through the door: tables, drawings and bars of the command line. `Console` and `Text` take the place of Rich's.

A `Text` is visible from the start, so that columns are as wide as what is seen in them. `Console` makes sure of
whatever else it is given: no string is read as markup, and no segment that is not visible reaches the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rich.console
import rich.text
from rich.console import ConsoleOptions, RenderableType
from rich.progress import Progress, ProgressColumn
from rich.segment import Segment

from workbench.cli.output import remarks, results
from workbench.visible import ACTING, visible


class Text(rich.text.Text):
    """Rich's text, of visible characters."""

    def __init__(self, text: str = "", *args: Any, **kwargs: Any) -> None:
        super().__init__(visible(text), *args, **kwargs)

    def append(self, text: rich.text.Text | str, style: Any = None) -> rich.text.Text:
        """Add to the end."""
        return super().append(visible(text) if isinstance(text, str) else text, style)


class Console(rich.console.Console):
    """Draws on stdout, or on stderr where it is no result that is drawn."""

    def __init__(self, *, stderr: bool = False) -> None:
        door = remarks() if stderr else results()
        super().__init__(file=door.stream, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **how: Any) -> rich.text.Text:
        """A string is never markup, whatever it is part of."""
        return super().render_str(visible(text), **how | {"markup": False, "emoji": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of visible text, and links to nowhere."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or not (ACTING.search(text) or (style and style.link)):
                yield segment
            else:
                yield Segment(visible(text), style.update_link(None) if style else None)


def bars(*columns: ProgressColumn, transient: bool = False) -> Progress:
    """Bars on stderr. Streams are left alone: what is printed meanwhile goes through its door, not through Rich."""
    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=transient,
        redirect_stdout=False,
        redirect_stderr=False,
    )
