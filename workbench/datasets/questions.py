"""Questions for chain-of-thought runs: those that ship with the workbench, and those in a file. No torch.

A question set is a file with one JSON object a line: id, task, question, and, if there are, choices and the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workbench.datasets.json_files import read_values
from workbench.errors import InputError
from workbench.protocol import Frozen
from workbench.reading import Unreadable, first_problem, quoted, read_text

SHIPPED = ("arithmetic", "common-sense", "ethical-judgement")
"""Names of the sets that were written for this project. The first is generated: see `workbench.datasets.arithmetic`."""

FEWEST_CHOICES, MOST_CHOICES = 2, 26

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

DRAW = 1
"""The seed by which a limit draws questions."""

LETTERED = re.compile(r"(?:\(?(?P<letter>[A-Za-z])(?:\)|\.|:)(?P<rest>(?:\s.*)?)|(?P<alone>[A-Za-z]))", re.DOTALL)
"""A choice by its letter, with its text after it or not: B, (B), B), B. ice, (B) ice."""


class Question(Frozen):
    """A question, the choices it offers (none: the answer is free), and the right answer where it is known.

    With choices ``answer`` names one of them, by its text, its letter or both.
    """

    id: str
    task: str
    question: str
    choices: tuple[str, ...] = ()
    answer: str | None = None


def check_choices(choices: tuple[str, ...]) -> None:
    """Raise `InputError` unless there are no choices, or 2 to 26 of which none begins with another one."""
    if not choices:
        return
    if not FEWEST_CHOICES <= len(choices) <= MOST_CHOICES:
        raise InputError(f"a question needs {FEWEST_CHOICES} to {MOST_CHOICES} choices, between semicolons, or none")
    plain = [_plain(choice) for choice in choices]
    if not all(plain):
        raise InputError("one of the choices is empty; give every choice a text")
    for i, one in enumerate(plain):
        for j, other in enumerate(plain):
            if i < j and one == other:
                raise InputError(f'the choice "{choices[i]}" is given twice; leave one of them out')
            if i != j and one != other and other.startswith(one):
                raise InputError(
                    f'the choice "{choices[i]}" is how the choice "{choices[j]}" begins, so that they cannot be told '
                    "apart; word them differently"
                )


def choice_named(answer: str, choices: Sequence[str]) -> int | None:
    """Which choice an answer is: its text, its letter, the letter in brackets, or a letter and its text.

    A text comes before a letter, where choices are letters themselves. None for anything else.
    """
    texts = [_plain(choice) for choice in choices]
    for wanted in dict.fromkeys((_plain(answer), _plain(answer.strip().rstrip(".")))):
        if wanted in texts:
            return texts.index(wanted)
    found = LETTERED.fullmatch(answer.strip())
    if not found or (nth := LETTERS.index((found["letter"] or found["alone"]).upper())) >= len(choices):
        return None
    rest = _plain(found["rest"] or "")
    return nth if not rest or rest.rstrip(".") == texts[nth].rstrip(".") else None


def told_apart(choices: tuple[str, ...]) -> bool:
    """Whether no choice begins with another one."""
    plain = [_plain(choice) for choice in choices]
    return not any(one.startswith(plain[j]) for i, one in enumerate(plain) for j in range(len(plain)) if i != j)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def questions_of(name: str) -> tuple[Question, ...]:
    """The questions of a shipped set, of all of them (``all``), or of a file. Raises `InputError`."""
    if name == "all":
        return tuple(question for shipped in SHIPPED for question in questions_of(shipped))
    if name == SHIPPED[0]:
        from workbench.datasets.arithmetic import arithmetic

        return arithmetic()
    if name in SHIPPED:
        file = resources.files("workbench") / "data" / "questions" / f"{name}.jsonl"
        return _read(file.read_text(encoding="utf-8"), name)
    return read_questions(Path(name))


def questions_drawn(name: str, limit: int | None) -> tuple[Question, ...]:
    """The questions of a set or a file by task, of each ``limit`` that a seed draws, in their order.

    The first in a set may be alike; fewer are always among more. Raises `InputError`.
    """
    questions = sorted(questions_of(name), key=lambda question: question.task)  # stable
    by_task = (list(some) for _, some in groupby(questions, key=lambda question: question.task))
    return tuple(question for some in by_task for question in _drawn(some, limit))


def _drawn(questions: list[Question], limit: int | None) -> list[Question]:
    if limit is None or limit >= len(questions):
        return questions
    from numpy.random import RandomState

    return [questions[i] for i in sorted(RandomState(DRAW).permutation(len(questions))[:limit])]


def read_questions(path: Path) -> tuple[Question, ...]:
    """Questions from a file of JSON lines or a JSON array. Raises `InputError` for anything else."""
    try:
        text = read_text(path)
    except Unreadable as error:
        if error.missing:
            raise InputError(
                f"there is no file {path} with questions, nor a set of that name; those are all, {', '.join(SHIPPED)}"
            ) from None
        raise InputError(f"the questions in {path} cannot be read ({error.why}); name a file of JSON lines") from error
    return _read(text, str(path))


def _read(text: str, source: str) -> tuple[Question, ...]:
    values = read_values(text, Path(source))
    questions = tuple(_question(fields, f"line {number} of {source}") for number, fields in values)
    if not questions:
        raise InputError(f"{source} holds no questions; write one JSON object a line, with id, task and question")
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise InputError(f"{source} has two questions with the id {quoted(question.id)}; give each its own")
        seen.add(question.id)
    return questions


def _question(fields: Any, where: str) -> Question:
    try:
        question = Question.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"{where} is not a question: {first_problem(error)}") from None
    if not question.question.strip():
        raise InputError(f"{where} has no question in it; write one, or take the line out")
    try:
        check_choices(question.choices)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if question.choices and question.answer is not None and choice_named(question.answer, question.choices) is None:
        raise InputError(f"{where}: the answer {quoted(question.answer)} is none of the choices; copy one of them")
    return question
