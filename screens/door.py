"""The door of the screens: every line of every widget goes through it before it is drawn."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from workbench.visible import ACTING, one_line


class VisibleText(LineFilter):
    """Makes what would act on the terminal visible, and takes links away: nobody else's text is one.

    A line stays as long as it was laid out, so what is not visible before that (`workbench.visible`) may cost it its
    end. Widgets whose texts come from elsewhere make them visible themselves; this is for those that forget it, and
    for what is typed or pasted into a field.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - as in Textual
        """The same line, drawn safely."""
        if all(map(_is_safe, segments)):
            return segments
        drawn = [segment if segment.control else _made_safe(segment) for segment in segments]
        return Segment.adjust_line_length(drawn, sum(cell_len(segment.text) for segment in segments))


def _is_safe(segment: Segment) -> bool:
    text, style, _ = segment
    return not (style and style.link) and (text.isprintable() or not (ACTING.search(text) or "\n" in text))


def _made_safe(segment: Segment) -> Segment:
    text, style, _ = segment
    return Segment(one_line(text), style.update_link(None) if style else None)
