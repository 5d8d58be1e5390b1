"""What there is to draw of chain-of-thought truncation: one question, and many."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.figures import Cell, Column, Figure, Meaning, Table, line, notes, said
from workbench.methods.cot.bootstrap import Estimate
from workbench.methods.cot.many_questions import CotQuestionsResult
from workbench.methods.cot.result import CotResult, Outcome
from workbench.models.tokentext import display
from workbench.reading import shortened
from workbench.wording import count

NAMED = 10
"""Characters of an answer over a column of numbers."""
LONGEST = 160
"""Characters of a changed text that are shown."""


def cot_figures(result: CotResult) -> tuple[Figure, ...]:
    """The reasoning, with the answer if it had stopped after each sentence, and then what else was done to it."""
    full = result.full
    if full is None:
        return said(*result.reasoning.split("\n"))
    answer = display(result.candidates[full.answer].name)
    tables = (_kept(result, answer), _dropped(result, answer), _others(result, answer))
    parts = [table for table in tables if table.rows]
    return (*parts, *_summary(result, answer))


def about_answer(what: str, answer: str) -> Column:
    """A column of numbers about an answer, of which as much names it as leaves room for sentences."""
    return Column(heading=f"{what} {shortened(answer, NAMED)}", right=True)


def _kept(result: CotResult, answer: str) -> Table:
    dropped = {outcome.sentence: outcome for outcome in result.of("dropped")}
    rows = []
    for outcome in result.of("kept"):
        kept = outcome.sentence or 0
        marks = ["settles here"] * (kept == result.settles)
        if result.necessary is not None and kept - 1 in result.necessary:
            marks.append("necessary")
        sentence = " ".join(result.sentences[kept - 1].split()) if kept else "(no reasoning)"
        without = _answer(result, dropped[kept - 1]) if kept - 1 in dropped else (Cell(text=""), Cell(text=""))
        cells = (*_answer(result, outcome), *(without if dropped else ()))
        rows.append((str(kept), display(sentence), *cells, ", ".join(marks)))
    left_out = (Column(heading="without"), about_answer("p", answer)) if dropped else ()
    return _table("The answer if the reasoning stopped here", "sentence", answer, left_out, rows)


def _dropped(result: CotResult, answer: str) -> Table:
    """What leaving one out gave, where it does not stand beside what stopping there gave."""
    rows = []
    for outcome in () if result.of("kept") else result.of("dropped"):
        nth = outcome.sentence or 0
        mark = "necessary" if nth in (result.necessary or ()) else ""
        sentence = display(" ".join(result.sentences[nth].split()))
        rows.append((str(nth + 1), sentence, *_answer(result, outcome), mark))
    return _table("The answer without this sentence", "sentence", answer, (), rows)


def _others(result: CotResult, answer: str) -> Table:
    said_of_cue = {True: "reasoning speaks of it", False: "reasoning is silent of it", None: ""}
    rows = []
    for outcome in result.outcomes:
        if outcome.what in ("kept", "dropped"):
            continue
        nth = outcome.sentence if outcome.sentence is None or outcome.what == "filler" else outcome.sentence + 1
        at = "" if nth is None else f" {nth}"
        changed = display(" ".join(outcome.changed.split())[:LONGEST])
        if outcome.what == "filler":
            changed = f"“ ...” × {outcome.changed.count('...')}"
        rows.append((outcome.what + at, changed, *_answer(result, outcome), said_of_cue[outcome.mentions_cue]))
    return _table("What else was done", "", answer, (), rows)


def _table(
    title: str, what: str, answer: str, more: tuple[Column, ...], rows: Sequence[tuple[str | Cell, ...]]
) -> Table:
    sentence = Column(heading=what, wraps=True)
    number = about_answer("p", answer)
    columns = ("", sentence, Column(heading="answer", wraps=True), number, *more, Column(wraps=True))
    return Table(title=title, columns=columns, rows=tuple(rows))


def _answer(result: CotResult, outcome: Outcome) -> tuple[Cell, Cell]:
    """The answer, marked where it is not the same, and the probability of that with the full reasoning."""
    assert result.full is not None
    meaning: Meaning = "plain" if outcome.same else "foil"
    name = display(result.candidates[outcome.answer].name)
    number = f"{outcome.probabilities[result.full.answer]:.3f}"
    return Cell(text=name if outcome.same else f"≠ {name}", meaning=meaning), Cell(text=number)


def _summary(result: CotResult, answer: str) -> tuple[Figure, ...]:
    words = [f"answer {answer}"]
    if result.right is not None:
        words[0] += " (right)" if result.full and result.full.answer == result.right else " (wrong)"
    if result.aoc is not None and result.settles is not None:
        words.append(f"AOC {result.aoc:.2f}")
        words.append(f"settles at {result.settles} of {count(len(result.sentences), 'sentence')}")
    if result.necessary is not None:
        some, n = len(result.of("dropped")), len(result.sentences)
        words.append(f"{len(result.necessary)} necessary" + (f" of the first {some}" if some < n else ""))
    rule = (line(result.caption, "note"), line(f"AOC: {result.aoc_rule}", "note"))
    readings = ", ".join(dict.fromkeys(display(one.reading) for one in result.candidates if one.reading))
    read = [line(f"answers read as: {readings}", "note")] if readings else []
    return said(line(" · ".join(words), "strong"), *read, *rule)


def cot_questions_figures(result: CotQuestionsResult) -> tuple[Figure, ...]:
    """A row for each measure, a column for each task, with 95 % intervals."""
    table = Table(
        title="Many questions: chain-of-thought truncation",
        columns=(
            Column(wraps=True),
            *(Column(heading=f"{task.task} ({task.questions})", wraps=True) for task in result.tasks),
        ),
        rows=tuple(
            (measure, *(_interval(task.measures.get(measure)) for task in result.tasks))
            for measure in dict.fromkeys(name for task in result.tasks for name in task.measures)
        ),
    )
    return (table, *notes([*lost(result.unusable), result.caption, f"AOC: {result.aoc_rule}"]))


def lost(unusable: Sequence[tuple[str, str]], most: int = 5) -> list[str]:
    """Which questions gave nothing and why, the first of them."""
    more = [f"… and {len(unusable) - most} more"] if len(unusable) > most else []
    return [*(f"{name}: {why}" for name, why in unusable[:most]), *more]


def _interval(found: Estimate | None) -> str:
    return "–" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
