"""The line under a result that says how far to believe it."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import Widget

from workbench.models.info import ModelInfo
from workbench.protocol import Check

LINES = 2
"""Lines that the strip may take while nobody asks for all of it, unless its owner has more room."""

SEPARATOR = Content.styled(" · ", "$foreground 30%")


class TrustStrip(Widget, can_focus=True):
    """Warnings of the method's own checks · dtype · device · attention kernel · edits · then what else its checks say.

    Takes one line, and up to ``lines`` where it is narrow. What does not fit is in its tooltip, and shown while it
    has the focus.
    """

    DEFAULT_CSS = """
    TrustStrip { height: auto; padding: 0 1; background: $panel; }
    TrustStrip:focus { background: $primary 25%; }
    """

    lines: reactive[int] = reactive(LINES, layout=True)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.display = False
        self._pieces: tuple[Content, ...] = ()

    def show(self, model: ModelInfo | None, edits: tuple[str, ...] = (), checks: Iterable[Check] = ()) -> None:
        """Say what the result was made with, and what its checks found. Nothing to say leaves no line."""
        said = pieces(model, edits, checks)
        if said == self._pieces:
            return
        lines, self._pieces = len(self._lines(self.size.width)), said
        self.tooltip = Content("\n").join(self._pieces) if self._pieces else None
        self.display = bool(self._pieces)
        self.refresh(layout=len(self._lines(self.size.width)) != lines or not self.size)

    @property
    def pieces(self) -> tuple[Content, ...]:
        """All that it has to say."""
        return self._pieces

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As many lines as are shown."""
        return len(self._lines(width))

    def render(self) -> Content:
        """The lines."""
        return Content("\n").join(self._lines(self.size.width))

    def on_resize(self) -> None:
        """Something to read by focus only where something is cut."""
        self.can_focus = len(arranged(self._pieces, self.size.width)) > self.lines

    def on_focus(self) -> None:
        """Make room for everything."""
        self.refresh(layout=True)

    def on_blur(self) -> None:
        """And give it back."""
        self.refresh(layout=True)

    def _lines(self, width: int) -> list[Content]:
        lines = arranged(self._pieces, width)
        if len(lines) <= self.lines or self.has_focus:
            return lines
        cut = lines[self.lines - 1].truncate(max(1, width - 2), ellipsis=False)
        return [*lines[: self.lines - 1], Content.assemble(cut, (" …", "$text-muted"))]


def pieces(model: ModelInfo | None, edits: tuple[str, ...], checks: Iterable[Check]) -> tuple[Content, ...]:
    """What the strip says, one piece for each fact: warnings first, as what is cut off should not be one of them.

    A warning carries "!" as well as its colour.
    """
    checks = tuple(checks)
    found = [
        Content.styled(f"! {check.name} {check.text}", "bold $text-warning")
        for check in checks
        if check.level == "warn"
    ]
    if model is not None:
        found += map(_plain, (model.dtype, model.device, model.attention_kernel, *model.origin))
    if model is not None or checks:
        found.append(_plain(f"edits {len(edits)}"))
    found += [_plain(f"{check.name} {check.text}") for check in checks if check.level != "warn"]
    return tuple(found)


def arranged(pieces: tuple[Content, ...], width: int) -> list[Content]:
    """The pieces in lines of ``width`` cells; a piece is broken only where it is longer than a line."""
    lines: list[Content] = []
    for piece in pieces:
        joined = Content.assemble(lines[-1], SEPARATOR, piece) if lines else piece
        if joined.cell_length <= width:
            lines[-1:] = [joined]
        else:
            lines += piece.wrap(width) if 0 < width < piece.cell_length else [piece]
    return lines


def _plain(text: str) -> Content:
    return Content.styled(text, "$foreground 65%")
