"""The form of a request's settings, for panes that are only a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from screens.widgets.settings_fields import SettingsFields
from workbench.case import Case
from workbench.protocol import Request

HINT = "enter asks · ↑ ↓ choose · esc closes · empty: the default"
CHANGED = "the prompt has changed; look this over, then enter"


class RequestForm(Vertical):
    """A field for every setting. What was typed stays for as long as the app runs.

    A setting that is another prompt begins with the one on screen, to be changed where it is to differ.
    """

    DEFAULT_CSS = """
    RequestForm {
        height: auto; display: none; padding: 0 1; background: $surface;
        &.-open { display: block; }
        & #hint { height: auto; color: $foreground 60%; }
        & #hint.-problem { color: $text-error; }
    }
    """

    @dataclass
    class Submitted(Message):
        """This is what stands in the fields."""

        typed: Mapping[str, str]

    def __init__(self, request: type[Request]) -> None:
        super().__init__()
        self._request = request
        self._about: str | None = None  # the prompt that it was looked over for

    def compose(self) -> ComposeResult:
        """The fields, and a line that says what to do or what is wrong."""
        yield SettingsFields((self._request,))
        yield Static(HINT, id="hint", markup=False)

    def on_mount(self) -> None:
        """Show the defaults."""
        self._fields.show(self._request)

    @property
    def is_open(self) -> bool:
        """Whether it is shown."""
        return self.has_class("-open")

    def is_ready(self, case: Case | None) -> bool:
        """Whether it can be asked as it is: all is there that must be typed, and was typed for this prompt."""
        required = [setting for setting in self._fields.settings if setting.required]
        typed = self._fields.typed()
        about = case.prompt if case else None
        return not required or (self._about == about and all(typed[setting.name].strip() for setting in required))

    def open(self, case: Case | None) -> None:
        """Show it, with the keyboard in what must be typed, or in the first field."""
        prompt = case.prompt if case else ""
        changed = self._about not in (None, prompt)
        for setting in self._fields.settings:
            field = self._fields.field(setting.name)
            if setting.kind == "prompt" and not field.value.strip():
                field.value = prompt
        self._about = prompt or None
        self.say("", CHANGED if changed else "")
        self._fields.fit(self.screen.size.height)
        self.add_class("-open")
        first = next((each for each in self._fields.settings if each.required), self._fields.settings[0])
        self._fields.field(first.name).focus()

    def close(self) -> None:
        """Hide it; what was typed stays."""
        self.remove_class("-open")

    def say(self, problem: str, hint: str = "") -> None:
        """What is wrong; or, by an empty ``problem``, what to do."""
        line = self.query_one("#hint", Static)
        line.update(Content(f"✗ {problem}" if problem else hint or HINT))
        line.set_class(bool(problem), "-problem")

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted | None = None) -> None:
        """Ask for what the fields say."""
        if message is not None:
            message.stop()
        self.post_message(self.Submitted(self._fields.typed()))

    @property
    def _fields(self) -> SettingsFields:
        return self.query_one(SettingsFields)
