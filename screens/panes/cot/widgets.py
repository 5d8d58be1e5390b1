"""What the reasoning pane is made of: the form of a question, and the line of one intervention."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Checkbox, Input, Label, Static

from screens.widgets.closing_input import ClosingInput
from screens.widgets.form import Form
from workbench.datasets.questions import check_choices, choice_named
from workbench.errors import InputError
from workbench.methods.cot.interventions import Cue, Early, Intervention, Mistake, Paraphrase
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.truncation import CotRequest

LinePurpose = Literal["mistake", "paraphrase", "cue"]

TEXTS = (("choices", "one; another; … or nothing for a free answer"), ("right", "if known"))
LEAD = (("lead-in", "Answer:"),)
SAMPLING = (("temperature", "0"), ("top-p", "1"), ("seed", "1"), ("tokens", "256"))
HINT = (
    "enter reasons (greedily at temperature 0) · escape closes · The prompt is the question; it goes through the chat "
    "template, whatever the prompt's own switch says."
)
CHANGED = "the prompt has changed, and so has this form: look it over, then enter"
HINTS: dict[LinePurpose, str] = {
    "mistake": "A mistake in {}, reasoning on from there; empty or unchanged: its last number is made one more",
    "paraphrase": "{} in other words, reasoning on from there; empty or unchanged: the model rewords it",
    "cue": "Which answer is suggested in the question? Empty: another choice than the model's own",
}


class Tick(Checkbox):
    """A box whose state shows without colour, too."""

    BUTTON_INNER = " "

    def watch_value(self) -> None:
        """Put the cross in, or take it out."""
        self.BUTTON_INNER = "X" if self.value else " "
        super().watch_value()


class CotForm(Form):
    """Choices, the right answer and how to reason. Each question keeps the choices that were typed for it."""

    HINT = HINT

    DEFAULT_CSS = """
    CotForm {
        & Horizontal Label { width: auto; padding: 0 1 0 0; }
        & #choices { width: 3fr; }
    }
    """

    @dataclass
    class Submitted(Message):
        """The form is complete: this is what it asks."""

        request: CotRequest

    def __init__(self) -> None:
        super().__init__()
        self._question = ""
        self._typed: dict[str, tuple[str, str]] = {}

    def fields(self) -> ComposeResult:
        """Three rows of fields, and a line that says what to do or what is wrong."""
        with Horizontal():
            for name, placeholder in TEXTS:
                yield Label(name)
                yield ClosingInput("", placeholder, id=name)
        with Horizontal():
            for name, placeholder in SAMPLING:
                yield Label(name)
                yield ClosingInput("", placeholder, id=name)
            yield Tick("letters", id="letters", compact=True, tooltip="List the choices as (A), (B) …, read letters")
        with Horizontal():
            for name, placeholder in LEAD:
                yield Label(name)
                yield ClosingInput("", placeholder, id=name)
        yield Static(HINT, id="hint", markup=False)

    def open(self, question: str, last: CotRequest | None, problem: str = "") -> None:
        """Show it for a question, filled from what was typed for it, or else from what was asked about it."""
        self.unfold(lambda: self._begin(question, last, problem))

    def _begin(self, question: str, last: CotRequest | None, problem: str) -> None:
        if question != self._question:
            asked = last is not None and last.question == question
            recorded = ("; ".join(last.choices), last.answer or "") if last is not None and asked else ("", "")
            self.keep()
            self._field("choices").value, self._field("right").value = self._typed.get(question, recorded)
            if last is not None and asked:
                self._fill(last)
        self._question = question
        self.say(problem)
        self._field("choices").focus()

    def keep(self) -> None:
        """The choices and the answer belong to the question."""
        self._typed[self._question] = self._field("choices").value, self._field("right").value

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Ask, or say what is wrong."""
        message.stop()
        try:
            self.post_message(self.Submitted(self._request()))
        except InputError as error:
            self.say(str(error))

    def _request(self) -> CotRequest:
        choices = (
            tuple(choice.strip() for choice in self._value("choices").split(";")) if self._value("choices") else ()
        )
        check_choices(choices)
        right, letters = self._value("right"), self.query_one(Checkbox).value
        if choices and right and choice_named(right, choices) is None:
            raise InputError(f"the right answer “{right}” is none of the choices; copy one of them, or its letter")
        if letters and not choices:
            raise InputError("letters can be read only for choices; give some, or take letters off")
        sampling = Sampling(
            temperature=self._number("temperature", 0.0),
            top_p=self._number("top-p", 1.0),
            seed=self._whole("seed", 1),
            tokens=self._whole("tokens", 256),
        )
        sampling.check()
        return CotRequest(
            question=self._question,
            choices=choices,
            answer=right or None,
            read="letters" if letters else "texts",
            lead_in=self._value("lead-in") or None,
            sampling=sampling,
            interventions=(Early(),),
        )

    def _number(self, name: str, default: float) -> float:
        try:
            return float(self._value(name) or default)
        except ValueError:
            raise InputError(f"“{self._value(name)}” is no number; type one for {name}") from None

    def _whole(self, name: str, default: int) -> int:
        value = self._value(name)
        if value and not value.isdecimal():
            raise InputError(f"“{value}” is no whole number; type one for {name}")
        return int(value) if value else default

    def _fill(self, last: CotRequest) -> None:
        sampling = last.sampling
        numbers = (sampling.temperature, sampling.top_p, sampling.seed, sampling.tokens)
        for (name, _), number in zip(SAMPLING, numbers, strict=True):
            self._field(name).value = f"{number:g}" if isinstance(number, float) else str(number)
        self._field("lead-in").value = last.lead_in or ""
        self.query_one(Checkbox).value = last.read == "letters"

    def _field(self, name: str) -> ClosingInput:
        return self.query_one(f"#{name}", ClosingInput)

    def _value(self, name: str) -> str:
        return self._field(name).value.strip()


class CotLine(Form):
    """A mistake, other words or a cue, typed into one line; each keeps what was typed for its sentence."""

    @dataclass
    class Submitted(Message):
        """This is to be done."""

        intervention: Intervention

    def __init__(self) -> None:
        super().__init__()
        self._purpose: LinePurpose = "mistake"
        self._sentence = 0
        self._own = ""
        self._key: Hashable = None
        self._typed: dict[Hashable, str] = {}

    def fields(self) -> ComposeResult:
        """What to type, and where."""
        yield Static(id="hint", markup=False)
        with Horizontal():
            yield ClosingInput(id="typed")
            yield Tick("by its position", id="position", compact=True)

    def open(self, purpose: LinePurpose, sentence: int, own: str, about: str, positions: bool = False) -> None:
        """Show it for a sentence (from 0), which is ``own``, of the reasoning ``about``; or for an answer to suggest.

        ``positions`` is whether the choices are listed, so that one can be suggested by its place.
        """
        self.close()
        self._purpose, self._sentence, self._own = purpose, sentence, own
        self._key = purpose, sentence, about
        self.unfold(lambda: self._begin(positions))

    def _begin(self, positions: bool) -> None:
        field, position = self.query_one(ClosingInput), self.query_one(Checkbox)
        field.value = self._typed.get(self._key, self._own)
        position.display = positions
        position.value = position.value and positions
        self.say("", HINTS[self._purpose].format(f"sentence {self._sentence + 1}"))
        field.focus()

    def keep(self) -> None:
        """Each sentence keeps its line."""
        self._typed[self._key] = self.query_one(ClosingInput).value

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Do it, by itself where nothing else was typed."""
        message.stop()
        typed = message.value.strip()
        text = None if typed in ("", self._own) else typed
        intervention: Intervention
        if self._purpose == "mistake":
            intervention = Mistake(sentence=self._sentence, text=text)
        elif self._purpose == "paraphrase":
            intervention = Paraphrase(sentence=self._sentence, text=text)
        else:
            by = self.query_one(Checkbox).value
            intervention = Cue(answer=typed or None, by="position" if by else "opinion")
        self.post_message(self.Submitted(intervention))
