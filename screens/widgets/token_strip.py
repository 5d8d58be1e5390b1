"""Tokens as the model sees them: wrapped like text, each with a boundary, one of them under the cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

HERE = Style(meta={"cursor": True})
"""Looks like nothing, and marks the token under the cursor."""


@dataclass(frozen=True)
class StripToken:
    """One token's display text and what marks it: its role and, for generated ones, its probability."""

    text: str
    role: str = "prompt"  # prompt, frame, subject, generated
    probability: float | None = None


class TokenStrip(Widget):
    """Alternating backgrounds show where one token ends and the next begins, brackets where there is no colour.

    Generated tokens are coloured by probability: the surer, the brighter. ``stale`` dims all of it: the prompt has
    been edited since. Of more lines than there are rows those are drawn that the cursor is in.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "token-strip--even",
        "token-strip--odd",
        "token-strip--frame",
        "token-strip--subject",
        "token-strip--cursor",
        "token-strip--sure",
        "token-strip--likely",
        "token-strip--unsure",
        "token-strip--stale",
    }

    DEFAULT_CSS = """
    TokenStrip { height: auto; }
    TokenStrip > .token-strip--even { background: $surface-lighten-1; color: $text; }
    TokenStrip > .token-strip--odd { background: $panel-lighten-1; color: $text; }
    TokenStrip > .token-strip--frame { color: $text-muted; text-style: italic; }
    TokenStrip > .token-strip--subject { text-style: underline; color: $text-accent; }
    TokenStrip > .token-strip--cursor { text-style: reverse bold; }
    TokenStrip > .token-strip--sure { color: $text-success; }
    TokenStrip > .token-strip--likely { color: $text-warning; }
    TokenStrip > .token-strip--unsure { color: $text-error; }
    TokenStrip > .token-strip--stale { text-style: dim; }
    """

    cursor: reactive[int | None] = reactive[int | None](None)
    stale: reactive[bool] = reactive(False)

    def __init__(self, tokens: Sequence[StripToken] = (), *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._tokens = tuple(tokens)

    @property
    def tokens(self) -> tuple[StripToken, ...]:
        """What is shown."""
        return self._tokens

    def show(self, tokens: Sequence[StripToken]) -> None:
        """Show other tokens."""
        if tuple(tokens) != self._tokens:
            self._tokens = tuple(tokens)
            self.refresh(layout=True)

    def render(self) -> Text:
        """The tokens as one wrapped text, from the line on that is to be seen."""
        text = self._text()
        width, rows = self.content_size
        lines = list(text.wrap(self.app.console, width)) if 0 < rows < len(text) and width else []
        if len(lines) <= rows:
            return text
        at = next((number for number, line in enumerate(lines) if any(span.style is HERE for span in line.spans)), 0)
        first = min(at, len(lines) - rows)
        return Text("\n").join(lines[first : first + rows])

    def _text(self) -> Text:
        """Built from parts, so that markup in a token stays what it is."""
        text = Text(overflow="fold", no_wrap=False)
        for index, token in enumerate(self._tokens):
            text.append(token.text, style=self._style(index, token))
            if index == self.cursor:
                text.stylize(HERE, len(text) - len(token.text))
            if token.text.endswith("⏎"):
                text.append("\n")
        return text

    def _style(self, index: int, token: StripToken) -> Style:
        style = self.get_component_rich_style(f"token-strip--{'odd' if index % 2 else 'even'}")
        if token.role in ("frame", "subject"):
            style += self.get_component_rich_style(f"token-strip--{token.role}", partial=True)
        if token.probability is not None:
            sure = "sure" if token.probability >= 0.5 else "likely" if token.probability >= 0.1 else "unsure"
            style += self.get_component_rich_style(f"token-strip--{sure}", partial=True)
        if self.stale:
            style += self.get_component_rich_style("token-strip--stale", partial=True)
        if index == self.cursor:
            style += self.get_component_rich_style("token-strip--cursor", partial=True)
        return style
