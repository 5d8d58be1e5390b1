"""The question sets that ship, and what a file of questions may hold."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from workbench.cli.question_plans import many_questions
from workbench.datasets.arithmetic import arithmetic
from workbench.datasets.questions import SHIPPED, Question, questions_of, read_questions
from workbench.errors import InputError


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_set_has_forty_questions_or_more_each_with_choices_and_an_answer(name: str) -> None:
    questions = questions_of(name)
    assert len(questions) >= 40
    assert len({question.id for question in questions}) == len(questions)
    assert len({question.question for question in questions}) == len(questions)
    assert len({question.task for question in questions}) == 1
    for question in questions:
        assert len(question.choices) == 4
        assert question.answer in question.choices
        assert question.question.endswith("?")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_right_choice_stands_equally_often_in_each_place(name: str) -> None:
    places = Counter(question.choices.index(question.answer or "") for question in questions_of(name))
    assert len(places) == 4
    assert max(places.values()) - min(places.values()) <= 1


def test_all_are_the_shipped_sets_together() -> None:
    assert len(questions_of("all")) == sum(len(questions_of(name)) for name in SHIPPED)


def test_a_limit_draws_the_same_of_each_task_and_fewer_are_among_more() -> None:
    some, more = (many_questions("all", limit, {}).questions for limit in (5, 9))
    assert Counter(question.task for question in some) == dict.fromkeys({q.task for q in more}, 5)
    assert set(some) < set(more)
    assert some == many_questions("all", 5, {}).questions
    assert some != tuple(q for task in dict.fromkeys(q.task for q in more) for q in first_of(task, 5))
    assert many_questions("all", 1000, {}) == many_questions("all", None, {})


def first_of(task: str, number: int) -> list[Question]:
    return [question for question in questions_of("all") if question.task == task][:number]


def solved(question: str) -> int:
    """The number of things, from the words of the problem."""
    amount = int(re.search(r"has (\d+)", question).group(1))  # type: ignore[union-attr]
    for step in re.findall(r"Then \w+ ([^.]*)\.", question):
        numbers = [int(number) for number in re.findall(r"\d+", step)]
        if "bags" in step:
            amount += numbers[0] * numbers[1]
        elif "more" in step:
            amount += numbers[0]
        else:
            assert any(verb in step for verb in ("gives away", "loses", "sells")), step
            amount -= numbers[0]
        assert amount >= 1
    return amount


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_arithmetic_is_right_and_of_every_depth(seed: int) -> None:
    problems = arithmetic(40, seed)
    assert [str(solved(problem.question)) for problem in problems] == [problem.answer for problem in problems]
    assert Counter(problem.question.count("Then") for problem in problems) == {1: 10, 2: 10, 3: 10, 4: 10}


def test_arithmetic_is_the_same_for_a_seed_and_another_for_another() -> None:
    assert arithmetic() == arithmetic()
    assert arithmetic(seed=2) != arithmetic()
    first = arithmetic()[0]  # as it was when the table in the documentation was made
    assert (first.question, first.answer) == (
        "Elif has 9 coins. Then Elif finds 4 more. How many coins does Elif have now?",
        "13",
    )


def lines(folder: Path, *rows: str) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


GOOD = '{"id": "a", "task": "t", "question": "What melts?", "choices": ["a stone", "ice"], "answer": "ice"}'


def test_a_file_has_one_question_a_line_with_or_without_choices(tmp_path: Path) -> None:
    free = '{"id": "b", "task": "t", "question": "How many?"}'
    questions = read_questions(lines(tmp_path, GOOD, "", free))
    assert [question.id for question in questions] == ["a", "b"]
    assert questions[0].choices == ("a stone", "ice")
    assert (questions[1].choices, questions[1].answer) == ((), None)
    assert read_questions(lines(tmp_path, f"[{GOOD},", f"{free}]")) == questions


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "not complete JSON: it breaks at line 2 "),
        (f"{GOOD}\n\nwhat", "not complete JSON: it breaks at line 3 "),
        ("[1]", "line 1 .* not a question"),
        ('{"id": "a", "task": "t"}', "question .Field required"),
        ('{"id": "a", "task": "t", "question": " "}', "no question in it"),
        ('{"id": "a", "task": "t", "question": "?", "right": "x"}', "right"),
        (GOOD.replace('"answer": "ice"', '"answer": "fire"'), "none of the choices"),
        (GOOD.replace("a stone", "ICE"), "twice"),
        (GOOD.replace("a stone", "ice cream"), "told apart"),
        (f"{GOOD}\n{GOOD}", "two questions with the id"),
        ("", "no questions"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read_questions(lines(tmp_path, row))
    assert "\n" not in str(caught.value)


def test_a_name_that_is_neither_a_set_nor_a_file_lists_the_sets() -> None:
    with pytest.raises(InputError, match="arithmetic, common-sense, ethical-judgement"):
        questions_of("no-such-set")
