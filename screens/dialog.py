"""What lies over the main screen until it is dismissed: one base for all dialogs, framed ones, the command palette.

Textual's ``dismiss`` takes away whatever screen is on top: the second of two takes the one beneath, and leaves black.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.command import CommandInput, CommandPalette, SearchIcon
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import LoadingIndicator, Static

from screens.widgets.options import PaletteOptions

Dismissed = TypeVar("Dismissed")


class Dialog(ModalScreen[Dismissed]):
    """Base of our dialogs."""

    def dismiss(self, result: Dismissed | None = None) -> AwaitComplete:
        """Go, with a result for whoever opened it; nothing unless it is on top."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()


class Framed(Dialog[Dismissed]):
    """A dialog in a frame in the middle of the screen. Its `compose_inside` yields what stands in it.

    ``HINT`` stands in the frame's lower edge. The frame is ``SHARE`` % of the screen wide, but no more than ``WIDEST``
    cells; it is as tall as what is in it, and no taller than the screen.
    """

    HINT: ClassVar[str] = "escape closes"
    SHARE: ClassVar[int] = 95
    WIDEST: ClassVar[int] = 130
    FRAME: ClassVar[type[Widget]] = Vertical

    DEFAULT_CSS = """
    Framed {
        align: center middle;
        & > #frame {
            height: auto; max-height: 95%; border: round $border; padding: 0 1;
            background: $surface; border-title-color: $foreground; scrollbar-size: 1 1;
        }
    }
    """

    def compose(self) -> ComposeResult:
        """The frame, and in it what a dialog has to show."""
        with self.FRAME(id="frame") as frame:
            frame.styles.width, frame.styles.max_width = f"{self.SHARE}%", self.WIDEST
            frame.border_subtitle = self.HINT
            yield from self.compose_inside()

    def compose_inside(self) -> ComposeResult:
        """What stands in the frame."""
        raise NotImplementedError

    def entitle(self, title: str) -> None:
        """Put a title into the frame."""
        self.query_one("#frame").border_title = Content(title)

    @property
    def text_width(self) -> int:
        """Cells of a line in the frame, beside its edges and, where it scrolls, a scrollbar."""
        scrollbar = 1 if issubclass(self.FRAME, VerticalScroll) else 0
        return min(self.WIDEST, self.size.width * self.SHARE // 100) - 4 - scrollbar

    def action_close(self) -> None:
        """Close."""
        self.dismiss()


class FramedText(Framed[None]):
    """A text that scrolls. `text` makes it for a width; `write` shows it, at first and whenever there is another."""

    FRAME = VerticalScroll

    def compose_inside(self) -> ComposeResult:
        """The text."""
        yield Static(id="text")

    def on_mount(self) -> None:
        """Show what it was opened with."""
        self.write()

    def on_resize(self) -> None:
        """Bars are as long as there is room."""
        self.write()

    def text(self, width: int) -> tuple[str, Content]:
        """The frame's title, and what stands in it in lines of ``width`` cells."""
        raise NotImplementedError

    def write(self) -> None:
        """Show the text as it is now."""
        title, text = self.text(self.text_width)
        self.entitle(title)
        self.query_one("#text", Static).update(text)


class Palette(CommandPalette):
    """Textual's command palette, with a list that bears every key."""

    def compose(self) -> ComposeResult:
        """As Textual's."""
        with Vertical(id="--container"):
            with Horizontal(id="--input"):
                yield SearchIcon()
                yield CommandInput(placeholder=self._placeholder, select_on_focus=False)
            with Vertical(id="--results"):
                yield PaletteOptions()
                yield LoadingIndicator()

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Go; nothing unless it is on top."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()
