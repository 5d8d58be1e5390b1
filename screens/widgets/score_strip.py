"""Tokens with numbers under them: wrapped at words as in the prompt, scrolled where they are many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from textwrap import wrap
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size, clamp
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from screens.widgets.colours import Shade, fill
from screens.widgets.grid_model import fit
from screens.widgets.score_model import Scores, wrapped


class ScoreStrip(ScrollView, can_focus=True, inherit_bindings=False):
    """Draws `Scores` by lines, so that a long prompt costs no more than what can be seen of it."""

    DEFAULT_CSS = """
    ScoreStrip {
        height: 1fr; scrollbar-size: 1 1; overflow-x: hidden; padding: 0 1; background: $surface;
        & > .score-strip--plain { color: $foreground; }
        & > .score-strip--dim { color: $foreground 55%; }
        & > .score-strip--label { color: $foreground 55%; }
        & > .score-strip--main-label { color: $foreground; text-style: bold; }
        & > .score-strip--cursor { color: $foreground; text-style: bold reverse; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"score-strip--{name}" for name in ("plain", "dim", "label", "main-label", "cursor")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("h,left", "move(-1)", "Left", tooltip="The token before", show=False, id="scores.left"),
        Binding("l,right", "move(1)", "Right", tooltip="The next token", show=False, id="scores.right"),
        Binding("k,up", "line(-1)", "Up", tooltip="One line up", show=False, id="scores.up"),
        Binding("j,down", "line(1)", "Down", tooltip="One line down", show=False, id="scores.down"),
        Binding("pageup", "page(-1)", "Page up", tooltip="One page up", show=False, id="scores.page_up"),
        Binding("pagedown", "page(1)", "Page down", tooltip="One page down", show=False, id="scores.page_down"),
        Binding("home", "edge(-1)", "First", tooltip="To the first token", show=False, id="scores.first"),
        Binding("end", "edge(1)", "Last", tooltip="To the last token", show=False, id="scores.last"),
        Binding("enter", "choose", "Ask here", tooltip="Ask again about this token", id="scores.choose"),
    ]

    @dataclass
    class Moved(Message):
        """The person moved the cursor: it is there already."""

        token: int

    @dataclass
    class Chosen(Message):
        """The person asked about a token."""

        token: int

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.cursor = 0
        self._scores: Scores | None = None
        self._placeholder = ""
        self._lines: list[range] = []
        self._widths: list[int] = []

    def show(self, scores: Scores, cursor: int) -> None:
        """Draw other scores."""
        self._scores = scores
        self.cursor = clamp(cursor, 0, len(scores.tokens) - 1)
        self._lay_out()

    def show_placeholder(self, text: str) -> None:
        """Say something in place of tokens."""
        self._placeholder, self._scores = text, None
        self._lay_out()

    def move_to(self, token: int) -> None:
        """Put the cursor on a token, without a message. Draws again only what that changes."""
        if self._scores is None:
            return
        token = clamp(token, 0, len(self._scores.tokens) - 1)
        if token == self.cursor:
            return
        lines = {self._line_of(self.cursor), self._line_of(token)}
        self.cursor = token
        before = self.scroll_offset
        self._scroll_to_cursor()
        if self.scroll_offset == before:
            height, width = self._scores.height, self._seen.width
            self.refresh(*(Region(0, line * height - before.y, width, height) for line in lines))

    def action_move(self, by: int) -> None:
        """Step the cursor."""
        self._go(self.cursor + by)

    def action_line(self, by: int) -> None:
        """To the token above or below."""
        if not self._lines:
            return
        line = self._line_of(self.cursor)
        start = sum(self._widths[index] for index in range(self._lines[line].start, self.cursor))
        tokens = self._lines[clamp(line + by, 0, len(self._lines) - 1)]
        if by and self._lines[line] != tokens:
            self._go(self._token_at(tokens, start))

    def action_page(self, direction: int) -> None:
        """As many lines as can be seen."""
        if self._scores is not None:
            self.action_line(direction * max(1, self.size.height // self._scores.height - 1))

    def action_edge(self, direction: int) -> None:
        """To the first or last token."""
        self._go(0 if direction < 0 else len(self._widths) - 1)

    def action_choose(self) -> None:
        """Ask about the cursor's token."""
        if self._scores is not None:
            self.post_message(self.Chosen(self.cursor))

    def on_click(self, event: Click) -> None:
        """Move the cursor to the token clicked on."""
        offset = event.get_content_offset(self)
        if self._scores is None or offset is None:
            return
        line = (offset.y + self.scroll_offset.y) // self._scores.height
        if line < len(self._lines):
            self._go(self._token_at(self._lines[line], offset.x - self._scores.gutter))

    def on_resize(self) -> None:
        """Lines break elsewhere."""
        self._lay_out()

    def watch_show_vertical_scrollbar(self) -> None:
        """A scrollbar that comes or goes is another width."""
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        """One line of what can be seen."""
        width = self._seen.width
        if self._scores is None:
            return self._placeholder_line(y, width)
        line, part = divmod(y + self.scroll_offset.y, self._scores.height)
        if line >= len(self._lines) or part > len(self._scores.rows):
            return Strip.blank(width, self._style("plain"))
        segments = [self._label(part)]
        for index in self._lines[line]:
            segments.append(self._token(index) if part == 0 else self._number(index, part - 1))
        return Strip(segments).simplify().adjust_cell_length(width, self._style("plain"))

    # Moving

    @property
    def _seen(self) -> Size:
        return self.scrollable_content_region.size

    def _go(self, token: int) -> None:
        if self._scores is None or token == self.cursor or not 0 <= token < len(self._scores.tokens):
            return
        self.move_to(token)
        self.post_message(self.Moved(token))

    def _line_of(self, token: int) -> int:
        return next((number for number, line in enumerate(self._lines) if token in line), 0)

    def _token_at(self, tokens: range, x: int) -> int:
        """The token of a line that covers a cell, or its last one."""
        for index in tokens:
            x -= self._widths[index]
            if x < 0:
                return index
        return tokens[-1]

    def _scroll_to_cursor(self) -> None:
        if self._scores is None or not self._seen:
            return
        height = self._scores.height
        top = self._line_of(self.cursor) * height
        y = min(max(self.scroll_offset.y, top + height - self._seen.height), top)
        if y != self.scroll_offset.y:
            self.scroll_to(y=y, animate=False)

    # Drawing

    def _lay_out(self) -> None:
        if self._scores is None:
            self._lines, self._widths = [], []
            self.virtual_size = Size(0, 0)
        else:
            room = max(1, self._seen.width - self._scores.gutter)
            self._widths = [min(width, room) for width in self._scores.widths()]
            self._lines = wrapped(self._scores.tokens, self._widths, room)
            self.virtual_size = Size(self._seen.width, len(self._lines) * self._scores.height)
            self._scroll_to_cursor()
        self.refresh()

    def _label(self, part: int) -> Segment:
        assert self._scores is not None
        text = self._scores.rows[part - 1].label if part else ""
        style = self._style("main-label" if part - 1 == self._scores.main else "label")
        return Segment(fit(text, self._scores.gutter - 1) + " " if self._scores.gutter else "", style)

    def _token(self, index: int) -> Segment:
        assert self._scores is not None
        style = self._shaded(self._scores.rows[self._scores.main].shades[index])
        if index == self.cursor:
            style = self._style("cursor")
        start, stop = self._scores.underlined
        if start <= index < stop:
            style += Style(underline=True)
        return Segment(fit(self._scores.tokens[index], self._widths[index]), style)

    def _number(self, index: int, row: int) -> Segment:
        assert self._scores is not None
        scores = self._scores.rows[row]
        return Segment(fit(scores.texts[index], self._widths[index], right=True), self._shaded(scores.shades[index]))

    def _shaded(self, shade: Shade | None) -> Style:
        return self._style("dim") if shade is None else _shade_style(shade, self.app.current_theme.dark)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"score-strip--{name}")

    def _placeholder_line(self, y: int, width: int) -> Strip:
        lines = [line for part in self._placeholder.splitlines() for line in wrap(part, max(1, width - 4)) or [""]]
        line = y - max(0, (self._seen.height - len(lines)) // 2)
        text = lines[line].center(width) if 0 <= line < len(lines) else ""
        return Strip([Segment(text, self._style("dim"))]).adjust_cell_length(width, self._style("dim"))


@lru_cache(64)
def _shade_style(shade: Shade, dark: bool) -> Style:
    background, foreground, _ = fill(shade, dark)
    return Style(color=foreground, bgcolor=background)
