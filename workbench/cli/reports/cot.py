"""Drawings of chain-of-thought truncation: one question, and many."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from workbench.cli.console import Text
from workbench.cli.reports.drawing import count, notes
from workbench.methods.cot.bootstrap import Estimate
from workbench.methods.cot.many_questions import CotQuestionsResult
from workbench.methods.cot.result import CotResult, Outcome
from workbench.models.tokentext import display


def draw_cot(result: CotResult) -> RenderableType:
    """The reasoning, with the answer if it had stopped behind each sentence, and then what else was done to it."""
    full = result.full
    if full is None:
        return Text(result.reasoning)
    answer = result.candidates[full.answer].name
    number = f"p {display(answer)}"
    dropped = {outcome.sentence: outcome for outcome in result.of("dropped")}
    left_out = ("without", number) if dropped else ()
    table = _cot_table("The answer if the reasoning stopped here", "sentence", "answer", number, *left_out)
    for outcome in result.of("kept"):
        kept = outcome.sentence or 0
        marks = ["settles here"] * (kept == result.settles)
        if result.necessary is not None and kept - 1 in result.necessary:
            marks.append("necessary")
        sentence = " ".join(result.sentences[kept - 1].split()) if kept else "(no reasoning)"
        without = _cot_answer(result, dropped[kept - 1]) if kept - 1 in dropped else ("", "")
        cells = (*_cot_answer(result, outcome), *(without if left_out else ()))
        table.add_row(str(kept), Text(display(sentence)), *cells, ", ".join(marks))
    parts: list[RenderableType] = [table] if table.row_count else []
    others = _cot_table("What else was done", "", "answer", number)
    for outcome in result.outcomes:
        if outcome.what not in ("kept", "dropped"):
            nth = outcome.sentence if outcome.sentence is None or outcome.what == "filler" else outcome.sentence + 1
            at = "" if nth is None else f" {nth}"
            said = {True: "reasoning speaks of it", False: "reasoning is silent of it", None: ""}
            changed = display(" ".join(outcome.changed.split())[:160])
            if outcome.what == "filler":
                changed = f"“ ...” × {outcome.changed.count('...')}"
            cells = _cot_answer(result, outcome)
            others.add_row(outcome.what + at, Text(changed), *cells, said[outcome.mentions_cue])
    if others.row_count:
        parts.append(others)
    return Group(*parts, *_cot_summary(result, answer))


def _cot_table(title: str, *headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    table.title = Text(title)
    for heading in ("", *headings, ""):
        table.add_column(Text(heading), justify="right" if heading.startswith("p ") else "left")
    return table


def _cot_answer(result: CotResult, outcome: Outcome) -> tuple[Text, str]:
    """The answer, in another colour where it is not the same, and the probability of that with the full reasoning."""
    assert result.full is not None
    name = Text(display(result.candidates[outcome.answer].name), style="" if outcome.same else "dark_orange")
    return name, f"{outcome.probabilities[result.full.answer]:.3f}"


def _cot_summary(result: CotResult, answer: str) -> list[Text]:
    words = [f"answer {display(answer)}"]
    if result.right is not None:
        words[0] += " (right)" if result.full and result.full.answer == result.right else " (wrong)"
    if result.aoc is not None and result.settles is not None:
        words.append(f"AOC {result.aoc:.2f}")
        words.append(f"settles at {result.settles} of {count(len(result.sentences), 'sentence')}")
    if result.necessary is not None:
        some, n = len(result.of("dropped")), len(result.sentences)
        words.append(f"{len(result.necessary)} necessary" + (f" of the first {some}" if some < n else ""))
    return [Text(" · ".join(words), style="bold"), *notes([result.caption, f"AOC: {result.aoc_rule}"])]


def draw_cot_questions(result: CotQuestionsResult) -> RenderableType:
    """A row for each measure, a column for each task, with 95 % intervals."""
    headings = [f"{summary.task} ({summary.questions})" for summary in result.tasks]
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left", title_style="bold")
    table.title = Text("Many questions: chain-of-thought truncation")
    for heading in ("", *headings):
        table.add_column(Text(heading))
    for measure in dict.fromkeys(name for summary in result.tasks for name in summary.measures):
        table.add_row(measure, *(_interval(summary.measures.get(measure)) for summary in result.tasks))
    lost = [f"{name}: {why}" for name, why in result.unusable[:5]]
    return Group(table, *notes([*lost, result.caption, f"AOC: {result.aoc_rule}"]))


def _interval(found: Estimate | None) -> str:
    return "–" if found is None else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
