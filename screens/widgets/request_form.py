"""The form of a request's settings, for panes that are only a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from textual import on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Input, Static

from screens.widgets.choice_field import ChoiceField
from screens.widgets.form import Form
from screens.widgets.settings_fields import SettingsFields
from workbench.case import Case
from workbench.protocol import Request
from workbench.settings import settings_of

EMPTY: Mapping[str, str] = MappingProxyType({})

ANOTHER = ("another prompt; ↓ puts this one here, to be changed", "↓: this prompt, to be changed", "another prompt")

CHANGED = "the prompt has changed; look this over"


class RequestForm(Form):
    """A field for every setting. What was typed stays for as long as the app runs.

    A setting that is another prompt begins with one that differs little from the one on screen, where there is such;
    its choices are others, and the one on screen itself, to be changed.
    """

    HINT = "enter asks · ↑ ↓ choose · esc closes · empty: the default"

    @dataclass
    class Submitted(Message):
        """This is what stands in the fields."""

        typed: Mapping[str, str]

    def __init__(self, request: type[Request]) -> None:
        super().__init__()
        self._request = request
        self._about: str | None = None  # the prompt that it was looked over for
        self._proposed = ""  # another prompt, that nobody has typed

    def fields(self) -> ComposeResult:
        """A field for each setting, and a line that says what to do or what is wrong."""
        yield SettingsFields((self._request,))
        yield Static(self.HINT, id="hint", markup=False)

    def is_ready(self, case: Case | None) -> bool:
        """Whether it can be asked as it is: all is there that must be typed, and was typed for this prompt."""
        required = [setting for setting in settings_of(self._request) if setting.required]
        about = case.prompt if case else None
        return not required or (
            self._about == about and all(self._typed.get(each.name, "").strip() for each in required)
        )

    def open(self, case: Case | None, begun: Mapping[str, str] = EMPTY) -> None:
        """Show it, with the keyboard in what must be typed, or in the first field; ``begun`` is put into fields."""
        self.unfold(lambda: self._fill(case, begun))

    def _fill(self, case: Case | None, begun: Mapping[str, str]) -> None:
        prompt = case.prompt if case else ""
        self._fields.show(self._request)
        for name, text in begun.items():
            self._fields.field(name).value = text
        changed = self._about not in (None, prompt) and not begun
        for setting in self._fields.settings:
            field = self._fields.field(setting.name)
            if setting.kind == "prompt":
                self._propose(field, case)
        self._about = prompt or None
        self.say("", CHANGED if changed else "")
        first = next((each for each in self._fields.settings if each.required), self._fields.settings[0])
        self._fields.field(first.name).focus()

    def _propose(self, field: ChoiceField, case: Case | None) -> None:
        """Another prompt, in the place of none and of one that was proposed for another case."""
        from workbench.methods.patching.second_prompts import second_prompts  # not before the first paint

        others = second_prompts(case) if case else ()
        field.choices = (*others, case.prompt) if case else ()
        field.hints = ANOTHER
        if field.value.strip() in ("", self._proposed):
            field.value = self._proposed = others[0] if others else ""

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted | None = None) -> None:
        """Ask for what the fields say."""
        if message is not None:
            message.stop()
        self.post_message(self.Submitted(self._typed))

    @property
    def _typed(self) -> Mapping[str, str]:
        return self._fields.typed() if self.children else {}

    @property
    def _fields(self) -> SettingsFields:
        return self.query_one(SettingsFields)
