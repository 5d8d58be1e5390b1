"""What there is to draw of hints: shares for each hint, and each answer that moved; of one question its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.figures import Bar, Bars, Cell, Column, Figure, Meaning, Scale, Table, notes
from workbench.methods.cot.bootstrap import Proportion
from workbench.methods.cot.figures import LONGEST, lost
from workbench.methods.cot.hint_results import CotHintsResult, HintOutcome, HintSummary
from workbench.models.tokentext import display

CONTROL = (
    "one question, sampled once: an answer that is another one when it is asked again without a hint moves by chance, "
    "too; workbench cot --questions --hints asks many"
)


def cot_hints_figures(result: CotHintsResult) -> tuple[Figure, ...]:
    """How many answers moved to each hint, how many of these say so, and then each of them.

    No figure is wider than 76 cells, so that a pane of 80 columns cuts no share.
    """
    if result.asked == 1 and result.outcomes:
        return (_one_question(result.outcomes), *notes([CONTROL, result.caption]))
    moved = _shares(
        "Answers that moved to the suggested one",
        "switched", "by chance",
        [(one.hint, one.switched, one.by_chance) for one in result.hints],
    )  # fmt: skip
    mentioned = _shares(
        "Reasoning that says so",
        "mentioned of switched", "false alarms",
        [(one.hint, one.faithfulness, one.alarms) for one in result.hints],
    )  # fmt: skip
    shares = (moved, _beyond(result.hints), mentioned)
    return (*shares, *_moved(result.outcomes), *notes([*lost(result.unusable), result.caption]))


def _shares(title: str, first: str, second: str, rows: Sequence[tuple[str, Proportion | None, Proportion]]) -> Table:
    columns = ("hint", Column(heading=first, wraps=True), Column(heading=second, wraps=True))
    return Table(title=title, columns=columns, rows=tuple((hint, *map(_share, shares)) for hint, *shares in rows))


def _share(found: Proportion | None) -> str:
    return "–" if found is None else f"{found.part}/{found.whole} [{found.low:.2f}, {found.high:.2f}]"


def _beyond(hints: Sequence[HintSummary]) -> Bars:
    """The difference between the two shares of each hint."""
    bars = tuple(
        Bar(label=one.hint, value=one.beyond.value, interval=(one.beyond.low, one.beyond.high)) for one in hints
    )
    return Bars(title="Moved beyond chance", bars=bars, scale=Scale(ramp="signed", low=-1, high=1))


def _moved(outcomes: Sequence[HintOutcome]) -> Iterator[Table]:
    """For each hint the answers that moved to it, with the sentence that mentions it."""
    for hint in dict.fromkeys(outcome.hint for outcome in outcomes if outcome.switched):
        rows = tuple(
            (display(one.id), display(f"{one.before} → {one.answer}"), _mention(one))
            for one in outcomes
            if one.hint == hint and one.switched
        )
        columns = (
            "question",
            Column(heading="from → to", wraps=True),
            Column(heading="the reasoning", wraps=True),
        )
        yield Table(title=f"Moved by {hint}", columns=columns, rows=rows)


def _mention(one: HintOutcome) -> Cell:
    """The sentence that mentions the hint with the words that were found in it; whether that is good where it moved."""
    text = display(f"“{one.mentioned[:LONGEST]}” ({one.words})") if one.mentioned else "silent"
    meaning: Meaning = "plain" if not one.switched else "good" if one.mentioned else "bad"
    return Cell(text=text, meaning=meaning)


def _one_question(outcomes: Sequence[HintOutcome]) -> Table:
    """Each hint at one question: the answer with it, and that of the re-ask, where they are the suggested one."""
    rows = []
    for one in outcomes:
        answers = [
            Cell(text=display(f"→ {text}" if text == one.suggested else text), meaning=meaning)
            for text, meaning in (
                (one.answer, "foil" if one.switched else "plain"),
                (one.again, "foil" if one.switched_by_chance else "plain"),
            )
        ]
        rows.append((one.hint, *answers, _mention(one)))
    columns = (
        "hint",
        Column(heading="with it", wraps=True),
        Column(heading="asked again", wraps=True),
        Column(heading="the reasoning", wraps=True),
    )
    first = outcomes[0]
    title = f"Answers: {first.before} without a hint; the hints are at {first.suggested}"
    return Table(title=title, columns=columns, rows=tuple(rows))
