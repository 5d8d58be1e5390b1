"""What all forms and lines to type into have in common: they open over a picture, keep what was typed, and close."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static


class Form(Vertical):
    """Fields that are made when they are first needed, so that the start of the app does not wait for them.

    A form says in ``fields`` what is in it, with a `Static` named ``hint`` where it is to say what is wrong, and in
    ``keep`` what is to be kept when it closes.
    """

    HINT: ClassVar[str] = ""

    DEFAULT_CSS = """
    Form {
        height: auto; display: none; padding: 0 1; background: $surface;
        & Horizontal { height: 1; }
        & Horizontal Label { color: $foreground 60%; padding: 0 1 0 0; }
        & ClosingInput { width: 1fr; height: 1; border: none; padding: 0; background: $surface-lighten-2; }
        & ClosingInput:focus { border: none; background: $surface-lighten-3; }
        & Horizontal ClosingInput { margin: 0 1 0 0; }
        & Checkbox { background: $surface; }
        & #hint { height: auto; color: $foreground 60%; }
    }
    """

    @property
    def is_open(self) -> bool:
        """Whether it is shown. Not by a class, as that would style every field again."""
        return self.display

    def fields(self) -> ComposeResult:
        """What is in it."""
        raise NotImplementedError

    def keep(self) -> None:
        """It closes: whatever was typed and has to be kept elsewhere than in the fields."""

    def unfold(self, fill: Callable[[], None]) -> None:
        """Show it and fill it: at once, and the first time as soon as its fields are there."""
        self.display = True
        if self.children:
            fill()
        else:
            self.call_later(self._make_fields, fill)

    async def _make_fields(self, fill: Callable[[], None]) -> None:
        await self.mount_compose(self.fields())
        fill()

    def close(self) -> None:
        """Hide it; what was typed stays."""
        if self.is_open and self.children:
            self.keep()
        self.display = False

    def say(self, problem: str, hint: str = "") -> None:
        """What is wrong, or else a ``hint``; and what the keys do."""
        said = Content.styled(f"✗ {problem}", "$text-error") if problem else Content(hint)
        lines = (line for line in (said, Content(self.HINT)) if line.plain)
        self.query_one("#hint", Static).update(Content("\n" if problem else " · ").join(lines))
