"""What there is to see, and to type into, before the rest of the program has been imported."""

from __future__ import annotations

from collections.abc import Mapping

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widgets import Static

from screens.sized import Sized
from screens.typeahead import Waiting
from screens.widgets.prompt_fields import PromptFrame, TypedCase

EDITING = frozenset(
    ("backspace", "delete", "left", "right", "home", "end", "tab", "shift+tab", "ctrl+u", "ctrl+w", "ctrl+k", "ctrl+z")
)
"""Keys that mean the same here as later. All others wait for the main screen, and with them what comes after."""


class OpeningPrompt(PromptFrame):
    """The prompt pane as it will be, but that it knows nothing yet."""

    BORDER_TITLE = "1 Prompt"

    DEFAULT_CSS = """
    OpeningPrompt {
        height: auto; border: round $border; border-title-color: $text; border-title-style: bold; background: $surface;
    }
    OpeningPrompt #frame { height: 1; color: $text-muted; padding: 0 1; }
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self._texts = texts

    def compose(self) -> ComposeResult:
        """The fields, and what is being done."""
        yield from self.compose_fields(self._texts)
        yield Static("opening the rest …", id="frame")

    def on_mount(self) -> None:
        """Ready to type."""
        self.area.focus()


class OpeningScreen(Sized):
    """The prompt alone, where it will stand on the main screen."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self._given = bool(texts["prompt"])
        self._prompt = OpeningPrompt(texts)

    def compose(self) -> ComposeResult:
        """As on the main screen."""
        with Container(id="panes"):
            with Vertical(id="left"):
                yield self._prompt
            yield Vertical(id="right")

    @property
    def typed(self) -> TypedCase | None:
        """What was typed; none where a prompt was given, which is asked about at once."""
        return None if self._given else self._prompt.typed

    def holds(self, event: Waiting) -> bool:
        """Whether an event has to wait for the main screen. A prompt that was given stays as it is."""
        if self._given:
            return True
        return isinstance(event, events.Key) and not (event.is_printable or event.key in EDITING)
