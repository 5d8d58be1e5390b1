"""From the words of ``workbench cot`` to its request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.case import Case
from workbench.cli.options import Typed
from workbench.datasets.questions import check_choices, questions_drawn
from workbench.errors import InputError
from workbench.methods.cot.hint_results import CotHintsRequest
from workbench.methods.cot.hints import hints_named
from workbench.methods.cot.interventions import Cue, Early, Filler, Intervention, LeaveOneOut, Mistake, Paraphrase
from workbench.methods.cot.many_questions import CotQuestionsRequest
from workbench.methods.cot.truncation import CotRequest
from workbench.reading import Unreadable, read_text
from workbench.settings import filled

ANY = "any"
"""What is said in place of a suggested answer, for the workbench to choose one."""


def check_case(case: Case) -> None:
    """Raise `InputError` for options that say nothing about a question."""
    if case.subject or case.target or case.foil or case.prepend != "as-is" or case.chat:
        raise InputError(
            "a question takes no --subject, --target, --foil, --prepend or --chat; it goes through the chat template, "
            "and its answers are --choices"
        )


def one_question(
    question: str,
    choices: str | None,
    reasoning: Path | None,
    interventions: Sequence[Intervention],
    typed: Typed,
) -> CotRequest:
    """The request for one question; ``choices`` stand between semicolons. Raises `InputError`."""
    if not question.strip():
        raise InputError("there is no question; give one in quotes, or --questions FILE")
    listed = tuple(choice.strip() for choice in choices.split(";")) if choices is not None else ()
    check_choices(listed)  # before a model is loaded for them
    text = None if reasoning is None else _text_of(reasoning)
    given = {"question": question, "choices": listed, "reasoning": text, "interventions": tuple(interventions)}
    return filled(CotRequest, typed, **given)


def many_questions(name: str, limit: int | None, typed: Typed, quick: bool = False) -> CotQuestionsRequest:
    """The request for the questions of a file or a shipped set, or for ``limit`` of each task, drawn by a seed.

    ``quick``: no sentence is left out, and nothing is suggested.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit is the number of questions of each task, at least 1, not {limit}")
    chosen = questions_drawn(name, limit)
    alike = filled(CotRequest, typed, question="?")
    shared = {name: getattr(alike, name) for name in ("read", "lead_in", "instruction", "sampling", "thinking")}
    return CotQuestionsRequest(questions=chosen, cue=not quick, leave_out=not quick, **shared)


def hinted_questions(name: str, hints: str, limit: int | None, typed: Typed) -> CotHintsRequest:
    """The request for hints on the same questions. Sampled unless a temperature says otherwise. Raises `InputError`."""
    chosen = hints_named(hints)
    usual = CotHintsRequest(questions=()).sampling
    sampled = {"temperature": usual.temperature, "top_p": usual.top_p}
    typed = {**typed, **{name: value for name, value in sampled.items() if typed[name] is None}}
    plain = many_questions(name, limit, typed)
    shared = {name: getattr(plain, name) for name in ("questions", "read", "lead_in", "instruction", "thinking")}
    return CotHintsRequest(hints=chosen, sampling=plain.sampling, **shared)


def interventions(
    within: int | None,
    filler: bool,
    mistakes: Sequence[str],
    paraphrases: Sequence[str],
    cue: str | None,
    position: bool,
) -> list[Intervention]:
    """Early answering and leaving one out, and what else is asked for. Raises `InputError` for what is no sentence."""
    asked: list[Intervention] = [Early(), LeaveOneOut(within=within)]
    if filler:
        asked.append(Filler())
    asked += [Mistake(sentence=number, text=text) for number, text in map(_sentence, mistakes)]
    asked += [Paraphrase(sentence=number, text=text) for number, text in map(_sentence, paraphrases)]
    if cue is not None:
        asked.append(Cue(answer=None if cue == ANY else cue, by="position" if position else "opinion"))
    elif position:
        raise InputError("--position says how a --cue is put; give one, or --cue any")
    return asked


def _sentence(words: str) -> tuple[int, str | None]:
    """ "2" or "2=Another sentence." as a number, from 0 where people count from 1, and a text."""
    number, equals, text = words.partition("=")
    try:
        return int(number) - 1, text if equals else None
    except ValueError:
        raise InputError(f"{words!r} names no sentence; write its number, or a number = another sentence") from None


def _text_of(path: Path) -> str:
    try:
        return read_text(path)
    except Unreadable as error:
        raise InputError(f"the reasoning in {path} cannot be read ({error.why}); name a text file") from error
