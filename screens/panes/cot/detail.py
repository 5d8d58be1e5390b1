"""One outcome in full: what was done, the reasoning that the answer was read after, every answer's probability."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from screens.dialog import FramedText
from screens.panes.cot.ledger import CotRun
from screens.panes.cot.resampled import importance
from screens.panes.cot.views import DIM, FULL, OTHER, OutcomeRow, answer_bars
from workbench.models.tokentext import display


class CotDetail(FramedText):
    """Shows a row of the list and asks its owner, by ``step(rows)``, for the neighboring ones.

    A modal's messages do not reach the screen beneath, hence a function in place of a message.
    """

    HINT = "j k rows · escape closes"
    WIDEST = 110

    # Before the frame's own, which scroll; pageup and pagedown are left to it.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "close", "Close", tooltip="Back to the list", id="cot_detail.close"),
        Binding("j,down", "step(1)", "Down", priority=True, tooltip="The next row", id="cot_detail.down"),
        Binding("k,up", "step(-1)", "Up", priority=True, tooltip="The row before", id="cot_detail.up"),
    ]

    def __init__(self, row: OutcomeRow, run: CotRun, step: Callable[[int], None]) -> None:
        super().__init__()
        self._row, self._run = row, run
        self._step = step

    def show(self, row: OutcomeRow, run: CotRun) -> None:
        """Show another row, or more about this one."""
        self._row, self._run = row, run
        self.write()

    def text(self, width: int) -> tuple[str, Content]:
        """All about the row."""
        return f"{self._row.sign} {self._row.done}", Content("\n").join(lines(self._row, self._run, width))

    def action_step(self, rows: int) -> None:
        """Ask for a neighboring row."""
        self._step(rows)


def lines(row: OutcomeRow, run: CotRun, width: int) -> list[Content]:
    """The whole text, bars ``width`` cells wide."""
    found = [Content.assemble(("question  ", DIM), safe(run.request.question.strip()))]
    result, outcome = row.result, row.outcome
    if result is None or outcome is None or result.full is None:
        return [*found, Content.styled("The answer here is not known yet.", DIM)]
    if outcome.changed and outcome.what != "filler":
        word = {"dropped": "left out", "cue": "suggested"}.get(outcome.what, "put in")
        found.append(Content.assemble((f"{word}  ", DIM), (safe(outcome.changed), "bold")))
    if outcome.mentions_cue is not None:
        spoken = "The reasoning speaks of the cue." if outcome.mentions_cue else "The reasoning is silent of the cue."
        found.append(Content.styled(spoken, OTHER if outcome.answer == outcome.suggested else DIM))
    found += [Content(""), *_reasoning(row), Content.styled(safe(result.lead_in.strip()), DIM), Content("")]
    found += answer_bars(result, outcome, width)
    name = display(result.candidates[result.compared_with(outcome)].name)
    all_of = "all" if outcome.against is None else "all of these sentences"
    said = (
        f"= the same answer as with {all_of}: {name}"
        if outcome.same
        else f"≠ another answer than with {all_of}: {name}"
    )
    found.append(Content.styled(said, FULL if outcome.same else OTHER))
    of_it = importance(run, row.place) if row.place is not None and outcome.what == "kept" else None
    if of_it is not None and of_it.disagreement:
        found.append(Content.styled(f"sentence {row.place}: {of_it.disagreement}", OTHER))
    found.append(Content(""))
    return [*found, Content.styled(f"AOC: {result.aoc_rule}.", DIM), Content.styled(f"This is {result.caption}.", DIM)]


def _reasoning(row: OutcomeRow) -> list[Content]:
    """The reasoning after which the answer was read; what the model wrote after the change stands out."""
    assert row.outcome is not None
    text, written = row.outcome.text, row.outcome.written
    if not text.strip():
        return [Content.styled("(no reasoning)", DIM)]
    if written is None:
        return [Content(safe(text.strip()))]
    kept = Content.assemble((safe(text[:written]), DIM), (safe(text[written:]), "bold"))
    legend = Content.assemble(("dim: what was given", DIM), " · ", ("bold: what the model then wrote", "bold"))
    return [kept, legend]


def safe(text: str) -> str:
    """Some text with its line breaks, safe to show."""
    return "\n".join(display(line).rstrip("·") for line in text.split("\n"))
