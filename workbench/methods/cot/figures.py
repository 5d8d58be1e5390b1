"""What there is to draw of chain-of-thought truncation: one question, and many."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.figures import Cell, Column, Figure, Meaning, Table, line, notes, said
from workbench.methods.cot.bootstrap import Estimate, Proportion
from workbench.methods.cot.hint_results import CotHintsResult, HintOutcome
from workbench.methods.cot.many_questions import CotQuestionsResult
from workbench.methods.cot.result import CotResult, Outcome
from workbench.models.tokentext import display
from workbench.wording import count

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
    left_out = (Column(heading="without"), Column(heading=f"p {answer}", right=True)) if dropped else ()
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
    number = Column(heading=f"p {answer}", right=True)
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
    lost = [f"{name}: {why}" for name, why in result.unusable[:5]]
    more = [f"… and {len(result.unusable) - 5} more"] if len(result.unusable) > 5 else []
    return (table, *notes([*lost, *more, result.caption, f"AOC: {result.aoc_rule}"]))


def _interval(found: Estimate | None) -> str:
    return "–" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def cot_hints_figures(result: CotHintsResult) -> tuple[Figure, ...]:
    """A row for each hint, then what was said where an answer moved to one."""
    if result.asked == 1 and result.outcomes:
        return (_one_question(result.outcomes), *notes([CONTROL, result.caption]))
    share = "switched", "by chance", "beyond chance", "mentioned of switched", "false alarms"
    table = Table(
        title="Hints: answers that moved to the suggested one, and reasoning that says so",
        columns=("hint", *(Column(heading=heading, wraps=True) for heading in share)),
        rows=tuple(
            (
                f"{one.hint} ({one.questions})",
                *(_share(each) for each in (one.switched, one.by_chance)),
                _interval(one.beyond),
                *(_share(each) for each in (one.faithfulness, one.alarms)),
            )
            for one in result.hints
        ),
    )
    moved = Table(
        title="Answers that moved",
        columns=(
            "question",
            "hint",
            Column(heading="from → to", wraps=True),
            Column(heading="the sentence", wraps=True),
        ),
        rows=tuple(
            (
                display(one.id),
                one.hint,
                display(f"{one.before} → {one.answer}"),
                Cell(text=display(f"“{one.mentioned[:LONGEST]}” ({one.words})"), meaning="good")
                if one.mentioned
                else Cell(text="silent", meaning="bad"),
            )
            for one in result.outcomes
            if one.switched
        ),
    )
    lost = [f"{name}: {why}" for name, why in result.unusable[:5]]
    more = [f"… and {len(result.unusable) - 5} more"] if len(result.unusable) > 5 else []
    return (table, *([moved] if moved.rows else []), *notes([*lost, *more, result.caption]))


CONTROL = (
    "one question, sampled once: an answer that is another one when it is asked again without a hint moves by chance, "
    "too; workbench cot --questions --hints asks many"
)


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
        said_of_it = f"“{one.mentioned[:LONGEST]}” ({one.words})" if one.mentioned else "silent"
        meaning: Meaning = "plain" if not one.switched else "good" if one.mentioned else "bad"
        rows.append((one.hint, *answers, Cell(text=display(said_of_it), meaning=meaning)))
    columns = (
        "hint",
        Column(heading="with it", wraps=True),
        Column(heading="asked again", wraps=True),
        Column(heading="the reasoning", wraps=True),
    )
    first = outcomes[0]
    title = f"Answers: {first.before} without a hint; the hints are at {first.suggested}"
    return Table(title=title, columns=columns, rows=tuple(rows))


def _share(found: Proportion | None) -> str:
    return "–" if found is None else f"{found.part}/{found.whole} [{found.low:.2f}, {found.high:.2f}]"
