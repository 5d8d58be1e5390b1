"""What a case is typed into: the prompt's editor, and a field each for subject, target and foil."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Label, TextArea

from screens.keys import Key
from screens.widgets.hinted_input import HintedInput

HINTS = {"subject": "of the fact", "target": "wanted", "foil": "instead"}
FIELDS = ("prompt", *HINTS)
"""What is typed, in order."""


class PromptArea(TextArea):
    """The prompt's editor: enter asks, ctrl+j breaks the line, up and down at the edges walk the history."""

    DEFAULT_CSS = """
    PromptArea { height: auto; max-height: 8; min-height: 1; border: none; padding: 0 1; }
    PromptArea:focus { border: none; background: $surface-lighten-1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        # With priority, as the editor would take the key for a line break.
        Binding(Key.CHOOSE, "ask", "Ask", id="prompt.ask", tooltip="Run the logit lens on it", priority=True),
        Binding("ctrl+u", "clear_all", "Clear", id="prompt.clear", tooltip="Clear the whole prompt", show=False),
        Binding("ctrl+j", "new_line", "New line", id="prompt.new-line", tooltip="Break the line", show=False),
    ]

    HINTS = ("Type a prompt that the model gets wrong, then press enter", "Type a prompt, then press enter")

    def on_resize(self) -> None:
        """The hint that there is room for, of one that can be written to."""
        fits = (hint for hint in self.HINTS if len(hint) < self.size.width)
        self.placeholder = "" if self.read_only else next(fits, "")

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Nobody answers what cannot be edited."""
        return action != "ask" or not self.read_only

    @dataclass
    class Asked(Message):
        """Enter was pressed."""

    @dataclass
    class History(Message):
        """An earlier (−1) or later (+1) prompt is wanted."""

        step: int

    def action_ask(self) -> None:
        """Run the prompt."""
        self.post_message(self.Asked())

    def action_clear_all(self) -> None:
        """Take all of the text away, which ctrl+z brings back."""
        if not self.read_only:
            self.clear()

    def action_new_line(self) -> None:
        """Insert a line break, which enter does not."""
        self.insert("\n")

    def action_cursor_up(self, select: bool = False) -> None:
        """Up on the first row goes back in the history."""
        if not select and self.cursor_at_first_line:
            self.post_message(self.History(-1))
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """Down on the last row goes forward in the history."""
        if not select and self.cursor_at_last_line:
            self.post_message(self.History(+1))
        else:
            super().action_cursor_down(select)


class CaseField(HintedInput):
    """A one-line field of the case. Enter asks, as in the prompt."""

    DEFAULT_CSS = """
    CaseField { width: 1fr; border: none; height: 1; padding: 0; background: $surface; }
    CaseField:focus { background: $surface-lighten-2; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,down", "nothing", show=False),
    ]

    def __init__(self, value: str, hint: str, *, id: str, disabled: bool) -> None:  # noqa: A002
        super().__init__(value, hint, id=id, disabled=disabled)


@dataclass(frozen=True)
class TypedCase:
    """What stands in the fields, and where the keyboard is in which of them."""

    texts: Mapping[str, str]
    field: str
    cursor: Any


class CaseFields(Horizontal):
    """Subject, target and foil in one row."""

    DEFAULT_CSS = """
    CaseFields { height: 1; }
    CaseFields Label { color: $text-muted; padding: 0 1; }
    """


class PromptFrame(Widget):
    """The frame around these fields. A class that has another base names that first: Textual styles by the first."""

    def compose_fields(self, texts: Mapping[str, str], read_only: bool = False) -> ComposeResult:
        """The editor, and the fields in one row."""
        area = PromptArea(texts["prompt"], soft_wrap=True, highlight_cursor_line=False, read_only=read_only, id="text")
        area.cursor_blink = False  # a blinking one sends bytes for nothing
        yield area
        with CaseFields(id="fields"):
            for name, hint in HINTS.items():
                yield Label(name)
                yield CaseField(texts[name], hint, id=name, disabled=read_only)

    @property
    def area(self) -> PromptArea:
        """The editor."""
        return self.query_one(PromptArea)

    @property
    def texts(self) -> dict[str, str]:
        """What stands in the fields, by their names."""
        return {"prompt": self.area.text} | {field.id or "": field.value for field in self.query(CaseField)}

    def put_texts(self, texts: Mapping[str, str]) -> None:
        """Replace it."""
        self.area.text = texts["prompt"]
        self.area.move_cursor(self.area.document.end)
        for field in self.query(CaseField):
            field.value = texts[field.id or ""]

    @property
    def typed(self) -> TypedCase:
        """What stands in the fields, and where the keyboard is."""
        field = next((field for field in self.query(CaseField) if field.has_focus), None)
        if field is None:
            return TypedCase(self.texts, "text", self.area.selection)
        return TypedCase(self.texts, field.id or "", field.selection)

    def take_over(self, typed: TypedCase) -> None:
        """Go on where somebody was in other fields like these."""
        self.put_texts(typed.texts)
        field: Any = self.query_one(f"#{typed.field}")
        field.selection = typed.cursor
        field.focus()
