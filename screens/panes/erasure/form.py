"""The form of an erasure: which concept, at which layers, how states are pooled, by which method."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, cast, get_args

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from screens.widgets.closing_input import ClosingInput
from workbench.case import Case
from workbench.datasets.concepts import shipped_concepts
from workbench.editing.editors.erasure.erasure import ErasureRequest, Method
from workbench.editing.editors.erasure.fit import Pool
from workbench.errors import InputError

FIELDS = (
    (("concept", "pronoun-gender", "a set, or a file"), ("layers", "all", "all; 5-12; 3,5")),
    (("pooling", "last", "last"), ("method", "leace", "leace"), ("texts", "", "all")),
    (("towards", "", "steering: the first class"), ("strength", "1", "steering: 1")),
)
"""By row: a field's name, what is in it at first, and what it says when nothing is."""

HINT = "enter erases · ↑ ↓ choose concept, pooling, method · escape closes"
READING = "reading the texts …"


class ChoiceField(ClosingInput):
    """A line with some values to go through; what is typed need not be one of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "turn(-1)", "Before", show=False, tooltip="The choice before", id="erasure_form.before"),
        Binding("down", "turn(1)", "Next", show=False, tooltip="The next choice", id="erasure_form.next"),
    ]

    def __init__(self, choices: tuple[str, ...], value: str, placeholder: str, name: str) -> None:
        super().__init__(value, placeholder=placeholder, compact=True, id=name)
        self._choices = choices

    def action_turn(self, by: int) -> None:
        """To the choice before or behind; to the first from none of them."""
        if not self._choices:
            return
        place = self._choices.index(self.value) + by if self.value in self._choices else 0
        self.value = self._choices[place % len(self._choices)]


class ErasureForm(Vertical):
    """Keeps what was typed for as long as the app runs."""

    DEFAULT_CSS = """
    ErasureForm {
        height: auto; display: none; padding: 0 1; background: $surface;
        &.-open { display: block; }
        & Horizontal { height: 1; }
        & Label { color: $foreground 60%; width: 9; }
        & ClosingInput {
            width: 1fr; height: 1; border: none; padding: 0; margin: 0 1 0 0; background: $surface-lighten-2;
        }
        & #concept { width: 2fr; }
        & ClosingInput:focus { background: $surface-lighten-3; }
        & #hint { height: auto; color: $foreground 60%; }
        & #hint.-problem { color: $text-error; }
    }
    """

    @dataclass
    class Submitted(Message):
        """The form is complete: this is what it asks, once the texts are read."""

        request: ErasureRequest

    def __init__(self) -> None:
        super().__init__()
        self._case: Case | None = None

    def compose(self) -> ComposeResult:
        """Rows for the data, the method and steering, and a line that says what to do or what is wrong."""
        choices: dict[str, tuple[str, ...]] = {
            "concept": shipped_concepts(),
            "pooling": get_args(Pool),
            "method": get_args(Method),
        }
        for row in FIELDS:
            with Horizontal():
                for name, value, placeholder in row:
                    yield Label(name)
                    yield ChoiceField(choices.get(name, ()), value, placeholder, name)
        yield Static(HINT, id="hint", markup=False)

    @property
    def is_open(self) -> bool:
        """Whether it is shown."""
        return self.has_class("-open")

    def open(self, case: Case | None) -> None:
        """Show it. ``case`` is watched, where there is one."""
        self._case = case if case is not None and case.prompt.strip() else None
        self.say("")
        self.add_class("-open")
        self._field("concept").focus()

    def close(self) -> None:
        """Hide it; what was typed stays."""
        self.remove_class("-open")

    def say(self, problem: str, hint: str = HINT) -> None:
        """What is wrong, or what to do."""
        line = self.query_one("#hint", Static)
        line.update(f"✗ {problem}" if problem else hint)
        line.set_class(bool(problem), "-problem")

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Ask for the erasure, or say what is wrong."""
        message.stop()
        try:
            request = self._request()
        except InputError as error:
            self.say(str(error))
        else:
            self.say("", READING)
            self.post_message(self.Submitted(request))

    def _request(self) -> ErasureRequest:
        """What the fields say. Raises `InputError`."""
        method = cast(Method, self._choice("method", get_args(Method)))
        settings: dict[str, Any] = {}
        if method == "steer":
            settings = {"towards": self._text("towards") or None, "strength": self._strength()}
        return ErasureRequest(
            **self._data(),
            layers=self._layers(),
            pool=cast(Pool, self._choice("pooling", get_args(Pool))),
            method=method,
            limit=self._limit(),
            start=self._case.start if self._case else "as-is",
            case=self._case,
            **settings,
        )

    def _data(self) -> dict[str, str]:
        """A shipped set by its name; what looks like a path is one."""
        text = self._text("concept")
        if text in shipped_concepts():
            return {"concept": text}
        if not any(sign in text for sign in "./\\"):
            named = ", ".join(shipped_concepts())
            raise InputError(f"There is no concept “{text}”: choose {named}, or name a file (.csv, .tsv, .jsonl).")
        return {"data": text}

    def _layers(self) -> tuple[int, ...] | None:
        from workbench.cli.edit_plans import (
            layers,  # comes with the command line's library, for which no first paint waits
        )

        text = self._text("layers")
        return None if text in ("", "all") else layers(text)

    def _choice(self, name: str, choices: tuple[str, ...]) -> str:
        text = self._text(name) or choices[0]
        if text not in choices:
            raise InputError(f"There is no {name} “{text}”: choose one of {', '.join(choices)}.")
        return text

    def _limit(self) -> int | None:
        text = self._text("texts")
        if text in ("", "all"):
            return None
        if not text.isdecimal() or int(text) < 1:
            raise InputError(f"“{text}” is no number of texts: type a whole number, or nothing for all of them.")
        return int(text)

    def _strength(self) -> float:
        text = self._text("strength").replace("−", "-")
        try:
            found = float(text or "1")
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise InputError(f"“{text}” is no strength: type a number, below 0 to steer away.")
        return found

    def _text(self, name: str) -> str:
        return self._field(name).value.strip()

    def _field(self, name: str) -> ChoiceField:
        return self.query_one(f"#{name}", ChoiceField)
