"""Another text in the place of one, for no more bytes than it takes."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


def update_in_place(static: Static, text: Content) -> None:
    """Show another text, which every key may bring.

    The screen is laid out anew, which paints all scrollbars, only where the text takes another number of lines.
    """
    seen = static.content_size
    lines = len(text.wrap(seen.width)) if seen.width else 0
    static.update(text, layout=lines != seen.height)
