"""What the reasoning pane says, computed without any widget: rows of the list, bars of the answers, summaries.

Sentences are numbered from 1, so that the row of a number is also where so many sentences were kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from textual.content import Content

from screens.panes.cot.ledger import CotJob, CotRun, Done
from screens.panes.cot.resampled import disagrees
from screens.widgets import numbers
from screens.widgets.grid_model import fit
from workbench.blocks import bar, horizontal_bar
from workbench.methods.cot.interventions import Cue, Early, Intervention, LeaveOneOut, What
from workbench.methods.cot.result import CotResult, Outcome
from workbench.models.tokentext import display

DIM = "$foreground 60%"
FULL, OTHER = "bold $text-primary", "bold $text-warning"
SIGNS: dict[What, str] = {"dropped": "−", "mistake": "✗", "paraphrase": "≈", "filler": "…", "cue": "?"}
NAMES: dict[str, str] = {
    "early": "early answering",
    "leave-one-out": "leave one out",
    "mistake": "mistake",
    "paraphrase": "reworded",
    "filler": "filler",
    "cue": "cue",
}
CAPTION = "How far the answer depends on the reasoning; no proof that it is faithful."


@dataclass(frozen=True)
class OutcomeRow:
    """A line of the list. ``place`` is the number of sentences up to it, which the keys act on.

    ``outcome`` is None where the answer is not known yet; ``result`` is what it stands in. ``done`` says in words
    what was done, ``text`` what with.
    """

    id: str
    place: int | None
    sign: str
    done: str
    text: str
    marks: tuple[str, ...] = ()
    result: CotResult | None = None
    outcome: Outcome | None = None


# --- The list ---


def rows(run: CotRun, jobs: Sequence[CotJob]) -> list[OutcomeRow]:
    """No reasoning, then every sentence with the answer if it had stopped there; then what else was done."""
    found = list(_kept(run))
    for number, done in enumerate(each for each in run.done.values() if not isinstance(each.intervention, Early)):
        found += [_other(f"{number}.{i}", done, outcome) for i, outcome in enumerate(done.outcomes)]
    waiting = (job for job in jobs if any(job.request == run.about(each) for each in job.request.interventions))
    return found + [_waiting(f"job {number}", job) for number, job in enumerate(waiting)]


def _kept(run: CotRun) -> Iterator[OutcomeRow]:
    outcomes = run.early.outcomes if run.early else ()
    result = run.early.result if run.early else run.result
    for place in range(len(run.result.sentences) + 1):
        outcome = next((each for each in outcomes if each.sentence == place), None)
        text = shown(run.result.sentences[place - 1]) if place else "(no reasoning)"
        settles = ["◂ settles"] if outcome and place == result.settles else []
        marks = (*settles, *(f"◆ {words}" for words in necessary(run, place)), *disagrees(run, place))
        done = f"stops after {place} of {len(run.result.sentences)}"
        yield OutcomeRow(f"kept {place}", place, str(place), done, text, marks, result, outcome)


def necessary(run: CotRun, place: int) -> Iterator[str]:
    """Whether the answer is another one without this sentence, and within how many sentences that is so."""
    for done in run.done.values():
        if isinstance(done.intervention, LeaveOneOut):
            within = done.intervention.within
            if any(outcome.sentence == place - 1 and not outcome.same for outcome in done.outcomes):
                yield "necessary" if within is None else f"necessary of {within}"


def _other(id: str, done: Done, outcome: Outcome) -> OutcomeRow:  # noqa: A002 - what it is called everywhere
    intervention, result = done.intervention, done.result
    number = None if outcome.sentence is None else outcome.sentence + (outcome.what != "filler")
    words = {
        "dropped": f"without {number}",
        "mistake": f"mistake in {number}",
        "paraphrase": f"{number} reworded",
        "filler": f"filler as long as {number}",
        "cue": "cue",
    }[outcome.what]
    text = shown(outcome.changed)
    if isinstance(intervention, LeaveOneOut) and intervention.within is not None:
        words += f" of the first {intervention.within}"
    if outcome.what == "filler":
        text = f"“ ...” × {outcome.changed.count('...')}"
    if isinstance(intervention, Cue):
        words = f"cue, by {intervention.by}"
        follows = "followed" if outcome.answer == outcome.suggested else "not followed"
        text += f" · {follows}, {'spoken of' if outcome.mentions_cue else 'in silence'}"
    return OutcomeRow(f"done {id}", number, SIGNS[outcome.what], words, text, (), result, outcome)


def _waiting(id: str, job: CotJob) -> OutcomeRow:  # noqa: A002
    intervention = job.request.interventions[0]
    writing = f"writes … {shown(job.writing)[-60:]}" if job.writing else "to come"
    return OutcomeRow(id, None, "◌", in_words(intervention), writing)


def in_words(intervention: Intervention) -> str:
    """An intervention's name, with its sentence."""
    sentence = getattr(intervention, "sentence", None)
    return NAMES[intervention.what] + ("" if sentence is None else f" {sentence + 1}")


def answer_of(row: OutcomeRow) -> str:
    """The answer's name, nothing while it is not known."""
    if row.outcome is None or row.result is None:
        return ""
    return display(row.result.candidates[row.outcome.answer].name)


def contents(rows: list[OutcomeRow], run: CotRun, width: int) -> list[Content]:
    """The rows as they are drawn, with the answers in a column that is as wide as they need."""
    column = min(12, max((cell_len(answer_of(row)) for row in rows), default=0))
    return [row_content(row, run, width, column) for row in rows]


def row_content(row: OutcomeRow, run: CotRun, width: int, column: int) -> Content:
    """``4 █= 10 So, Tom has …``: how probable the answer with all is there, whether it is the answer, which one is.

    The answer takes ``column`` cells. Lines after the first are indented to where the text begins.
    """
    likely, same, style = " ", " ", DIM
    if row.outcome is not None and row.result is not None and row.result.full is not None:
        likely = bar(row.outcome.probabilities[row.result.compared_with(row.outcome)])
        same, style = ("=", FULL) if row.outcome.same else ("≠", OTHER)
    text = _sentence(run, row.place) if row.id.startswith("kept") and row.place else Content(row.text)
    if not row.id.startswith("kept"):
        text = Content.assemble((row.done, "bold"), " ", Content.styled(row.text, DIM))
    for mark in row.marks:
        text = Content.assemble(text, "  ", (mark, "bold $text-warning"))
    indent = column + 7
    first, *others = text.wrap(max(10, width - indent)) or [Content("")]
    head = Content.assemble(
        (fit(row.sign, 2, right=True), DIM),
        f" {likely}",
        (f"{same} ", style),
        (fit(answer_of(row), column), style),
        " ",
    )
    return Content("\n").join([head + first, *(Content(" " * indent) + line for line in others)])


def _sentence(run: CotRun, place: int) -> Content:
    """A sentence, its tokens coloured by the probability that they had; plain where that is not known."""
    sentences, reasoning = run.result.sentences, run.result.reasoning
    whole = sentences[place - 1]
    text = whole.strip()
    start = len("".join(sentences[: place - 1])) + whole.index(text)
    pieces: list[Content] = []
    for left, right, probability in token_spans(run.result):
        if piece := reasoning[max(left, start) : max(start, min(right, start + len(text)))]:
            pieces.append(Content.styled(_visible(piece), sureness(probability)))
    found = Content("").join(pieces)
    return found if found.plain == _visible(text) else Content(shown(text))


def token_spans(result: CotResult) -> Iterator[tuple[int, int, float]]:
    """Start and stop of each token in the reasoning, with its probability, as far as tokens are found there.

    Tokens are recorded as they are shown: line breaks and blanks at the end as signs.
    """
    at = 0
    for token in result.tokens:
        raw = token.text.replace("⏎", "\n")
        blanks = re.sub("·+$", lambda dots: " " * len(dots.group()), raw)
        piece = next((each for each in (raw, blanks) if result.reasoning.startswith(each, at)), None)
        if not piece:
            return
        yield at, at + len(piece), token.probability
        at += len(piece)


def sureness(probability: float) -> str:
    """How a token is set: underlined where the model was least sure, so that it shows without colour too."""
    if probability >= 0.5:
        return ""
    return "$text-warning" if probability >= 0.1 else "underline $text-error"


def shown(text: str) -> str:
    """Some text in one line, safe to show."""
    return display(" ".join(text.split()))


def _visible(text: str) -> str:
    return "".join(display(c) if c not in " \n" else " " for c in text)


# --- The answers at one row ---


def answers(row: OutcomeRow | None, width: int, height: int) -> Content:
    """What was done, and a bar for the probability of each answer; as many as there is room for."""
    if row is None:
        return Content("")
    lines = [Content.styled(line, "bold") for line in _lines(row.done, width)]
    result, outcome = row.result, row.outcome
    if result is None or outcome is None or result.full is None:
        return Content("\n").join([*lines, Content.styled("not answered yet", DIM)])
    verdict = Content.styled(fit(compared(result, outcome), width), FULL if outcome.same else OTHER)
    room = max(1, height - len(lines) - 1)
    bars = list(answer_bars(result, outcome, width))
    if len(bars) > room:
        likeliest = sorted(range(len(bars)), key=lambda c: -outcome.probabilities[c])[: room - 1]
        kept = sorted({*likeliest, outcome.answer}) if room > 1 else []
        bars = [bars[c] for c in kept] + [Content.styled(f"{len(bars) - len(kept)} more: enter", DIM)]
    return Content("\n").join([*lines, verdict, *bars])


def compared(result: CotResult, outcome: Outcome) -> str:
    """Whether the answer is that with all sentences, or with those that one was left out of."""
    name = display(result.candidates[result.compared_with(outcome)].name)
    return f"{'=' if outcome.same else '≠'} {name} with all"


def answer_bars(result: CotResult, outcome: Outcome, width: int) -> Iterator[Content]:
    """``▸10 ✓ ███ .59`` for each answer: ▸ is the one here, ✓ the right one."""
    names = [display(candidate.name) for candidate in result.candidates]
    name_width = min(max(map(cell_len, names)), max(4, width // 2 - 4))
    room = max(3, width - name_width - 9)
    for c, (name, p) in enumerate(zip(names, outcome.probabilities, strict=True)):
        style = FULL if c == result.compared_with(outcome) else OTHER if c == outcome.answer else ""
        yield Content.assemble(
            ("▸" if c == outcome.answer else " ", style),
            (fit(name, name_width), style),
            (" ✓ " if c == result.right else "   ", "$text-success"),
            (fit(horizontal_bar(p, room), room), style or "$primary"),
            f" {numbers.probability(p):>4}",
        )


def _lines(text: str, width: int) -> list[str]:
    return [line.plain for line in Content(text).wrap(max(1, width))]


# --- Around the list ---


def headline(run: CotRun) -> str:
    """The frame's title: the answer, whether it is right, and how far it depends on the reasoning."""
    result = run.early.result if run.early else run.result
    if result.full is None:
        return "Reasoning"
    right = "" if run.request.answer is None else " (right)" if result.full.answer == result.right else " (wrong)"
    parts = [f"Reasoning · answer {display(result.candidates[result.full.answer].name)}{right}"]
    if result.aoc is not None and result.settles is not None:
        parts += [f"AOC {result.aoc:.2f}", f"settles at {result.settles} of {len(result.sentences)}"]
    return " · ".join(parts)


def answered(result: CotResult) -> str:
    """The answer with all of the reasoning, and how probable it is."""
    if result.full is None:
        return ""
    name = display(result.candidates[result.full.answer].name)
    return f"answer {name} {numbers.probability(result.full.probabilities[result.full.answer])}"


def suggestion(run: CotRun) -> str:
    """What a cue may suggest of free answers: another one that was found on the way. Choices need none."""
    early = run.early
    if run.request.choices or early is None:
        return ""
    others = [early.result.candidates[outcome.answer].name for outcome in early.outcomes if not outcome.same]
    return others[-1] if others else ""


def came_of(done: Done) -> str:
    """An intervention in one sentence: what was done, and whether the answer is another one."""
    full = done.result.full
    others = [outcome for outcome in done.outcomes if not outcome.same]
    names = [display(candidate.name) for candidate in done.result.candidates]
    title, what = in_words(done.intervention), done.intervention
    if isinstance(what, LeaveOneOut):
        title += "" if what.within is None else f" of the first {what.within}"
        lost = ", ".join(str(outcome.sentence + 1) for outcome in others if outcome.sentence is not None)
        return f"{title}: another answer without {lost}" if others else f"{title}: the answer stays what it is"
    if full is None:
        return title
    if len(done.outcomes) == 1:
        to = f"the answer becomes {names[others[0].answer]}" if others else f"the answer stays {names[full.answer]}"
        return f"{title}: {to}"
    return f"{title}: another answer in {len(others)} of {len(done.outcomes)}"
