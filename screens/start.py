"""Before the first question: what the program is for, cases to try it on, and the recent sessions, in one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets.option_list import Option

from screens.keys import Key
from screens.messages import CaseChosen
from screens.sessions import SessionList
from workbench.case import Case

PURPOSE = "Find out why a model gets a prompt wrong, and mend it."

INVITATION = "Type one, or press down and enter for one of these:"


@dataclass(frozen=True)
class Sample:
    """A case that the documentation follows with the default model."""

    title: str
    case: Case


SAMPLES = (
    Sample(
        "A wrong capital",
        Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney"),
    ),
    Sample(
        "A fact, found",
        Case(prompt="The Eiffel Tower is located in the city of", subject="Eiffel Tower", target="Paris", foil="Rome"),
    ),
    Sample(
        "A passage, misread",
        Case(
            prompt="Peter lives in Berlin. Emma lives in Oslo. Question: Where does Peter live? Answer: Peter lives in",
            subject="Peter",
            target="Berlin",
            foil="Oslo",
        ),
    ),
    Sample(
        "A sum, gone wrong",
        Case(
            prompt="Tom has 3 apples and buys 4 more. How many apples does he have? Let's think step by step.",
            subject="apples",
            target="7",
            foil="10",
        ),
    ),
)
"""README.md (the first two), docs/passage.md and docs/chain-of-thought.md."""


class StartList(SessionList):
    """The samples, one of which is asked about when it is chosen, and below them the recent sessions."""

    BORDER_TITLE = "Start"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.CHOOSE, "select", "Choose", id="start.choose", tooltip="Ask about the case, or open the session"),
    ]

    DEFAULT_CSS = """
    StartList { text-wrap: nowrap; text-overflow: ellipsis; }
    StartList > .option-list--option-disabled { color: $text-muted; }
    """

    def __init__(self, folders: Sequence[Path], *, id: str | None = None) -> None:  # noqa: A002 - as in Textual
        super().__init__(folders, id=id)
        self._samples = {str(place): sample for place, sample in enumerate(SAMPLES)}
        widest = max(len(sample.title) for sample in SAMPLES)
        self.add_options([Option(PURPOSE, disabled=True), Option(INVITATION, disabled=True)])
        self.add_options(Option(_row(sample, widest), id=place) for place, sample in self._samples.items())

    def focus_content(self) -> None:
        """Take the keyboard, with the first sample under it."""
        self.focus()
        self.action_first()

    def show_sessions(self, sessions: list[Option]) -> None:
        """Sessions come below what is there already, and whoever has chosen a row keeps it."""
        if sessions:
            self.add_options([Option("Recent sessions", disabled=True), *sessions])

    def choose(self, option: Option) -> None:
        """A sample is put into the prompt and asked about."""
        if sample := self._samples.get(option.id or ""):
            self.post_message(CaseChosen(sample.case))
        else:
            super().choose(option)


def _row(sample: Sample, widest: int) -> Text:
    return Text(f"{sample.title:{widest}}  ").append(sample.case.prompt, style="dim")
