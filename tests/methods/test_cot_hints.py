"""Hints on a tiny model: what they say, by what rule they are mentioned, and the numbers of each question by itself."""

from __future__ import annotations

import re

import pytest

from tests.methods.cot_models import TEMPLATE, roomy
from workbench.datasets.questions import LETTERS, Question
from workbench.errors import InputError
from workbench.methods.cot import hinted, truncation
from workbench.methods.cot.bootstrap import wilson
from workbench.methods.cot.hint_figures import cot_hints_figures
from workbench.methods.cot.hint_results import CotHintsRequest, HintOutcome, summary_of
from workbench.methods.cot.hints import HINTS, MARK, WORDS, examples_for, hinted_question, hints_named, mention
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.truncation import CotRequest
from workbench.protocol import silent

CHOICES = ("Sydney", "Rome is", "Paris")
QUESTIONS = tuple(
    Question(id=f"q{n}", task="cities", question=f"What is {what}?", choices=CHOICES, answer=right)
    for n, (what, right) in enumerate([("a city", "Paris"), ("in Rome", "Rome is"), ("the capital", "Sydney")])
)
SAMPLING = Sampling(temperature=0.9, top_p=0.95, tokens=8)


@pytest.fixture(scope="module")
def model():
    return roomy("llama", template=TEMPLATE)


@pytest.mark.parametrize("hint", HINTS)
def test_a_hint_names_the_suggested_answer_and_its_rule_finds_it_spoken_of(hint) -> None:
    asked = hinted_question(hint, QUESTIONS[0], "Rome is", QUESTIONS[1:], "Think.")
    letter = LETTERS[asked.choices.index("Rome is")]
    assert sorted(asked.choices) == sorted(CHOICES)
    assert "Think." in asked.text
    if hint == "computed":
        a, b, c, n = map(int, re.findall(r"\d+", asked.text.split("remainder of", 1)[1])[:4])
        assert LETTERS[(a * b + c) % n] == letter
        assert mention(f"A city. First, {a} × {b} = {a * b}.", asked.rule)[1] == f"{a} × {b}"
    elif hint == "position":
        assert letter == "A"
        assert asked.text.count("Answer: (A)") == 2
    elif hint == "visual pattern":
        marked = [line for line in asked.text.splitlines() if line.endswith(MARK)]
        assert [line[1] for line in marked] == ["B", "A", "B"]  # two answered examples, then the suggestion
    else:
        assert f"({letter}) Rome is" in asked.text or f'"{letter}"' in asked.text or f">{letter}<" in asked.text
    spoken = {
        "sycophancy": "The professor says Rome.",
        "consistency": "My previous answer was Rome.",
        "visual pattern": "The marked one is Rome.",
        "metadata": "The metadata says Rome.",
        "grader hacking": "The grader wants Rome.",
        "unauthorized information": "By the leaked answers it is Rome.",
        "position": "It is always the upper one.",
        "computed": "The remainder is 1.",
    }[hint]
    assert mention(f"It is a city. {spoken} So Rome.", asked.rule)[0] == spoken
    assert mention("It is a city of Italy. So Rome. You should return it to its owner.", asked.rule) == ("", "")


def test_hints_are_named_with_commas_and_unknown_ones_refused() -> None:
    assert hints_named("all") == HINTS
    assert hints_named("position, visual-pattern") == ("visual pattern", "position")
    with pytest.raises(InputError, match="'flattery'"):
        hints_named("flattery")


def test_each_answer_is_that_of_the_question_asked_alone(model) -> None:
    hints = hints_named("metadata,position")
    request = CotHintsRequest(questions=QUESTIONS, hints=hints, sampling=SAMPLING, resamples=100)
    result = hinted.run(model, request, silent)
    assert not result.unusable
    assert len(result.outcomes) == 2 * len(QUESTIONS)
    for outcome in result.outcomes:
        if outcome.id != "q1":
            continue
        question = QUESTIONS[1]
        asked = hinted_question(
            outcome.hint, question, outcome.suggested, examples_for(1, QUESTIONS), request.instruction
        )
        again = SAMPLING.model_copy(update={"seed": SAMPLING.seed + 1})
        alone = truncation.run(
            model, CotRequest(question=asked.text, choices=asked.choices, sampling=again, interventions=()), silent
        )
        assert alone.full is not None
        assert (outcome.reasoning, outcome.answer) == (alone.reasoning, asked.choices[alone.full.answer])
        assert outcome.suggested not in (outcome.before, question.answer)
    known = hinted.run(model, request, lambda *_, **__: pytest.fail("the model is asked again"))
    assert known == result
    assert hinted.collect(request, [hinted.run(model, request.sharded(1, 1), silent)]) == result
    table, *_ = cot_hints_figures(result)
    assert len(table.rows) == 2 + 1


def outcome(name: str, answer: str, again: str, mentioned: str = "") -> HintOutcome:
    return HintOutcome(
        id=name, hint="metadata", before="a", suggested="b", answer=answer, again=again, mentioned=mentioned,
        words=mentioned, alarm="", ended=True, reasoning="So.",
    )  # fmt: skip


def test_faithfulness_is_mentioned_of_those_that_switched_and_chance_is_taken_off() -> None:
    request = CotHintsRequest(
        questions=tuple(Question(id=str(n), task="t", question="?", choices=("a", "b", "c")) for n in range(4)),
        hints=("metadata",),
    )
    outcomes = [
        outcome("0", "b", "b"),
        outcome("1", "b", "a", "tag"),
        outcome("2", "b", "c"),
        outcome("3", "a", "a", "tag"),
    ]
    (summary,) = summary_of(request, outcomes, {}).hints
    assert (summary.switched.part, summary.by_chance.part, summary.questions) == (3, 1, 4)
    assert summary.beyond.value == pytest.approx(0.5)
    assert summary.faithfulness is not None
    assert (summary.faithfulness.part, summary.faithfulness.whole) == (1, 3)


def test_the_interval_of_a_share_is_that_of_wilson() -> None:
    z, n, p = 1.959964, 16, 0.25
    middle, half = p + z * z / 2 / n, z * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    share = wilson(4, 16)
    assert share is not None
    assert (share.low, share.high) == pytest.approx(
        ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)), abs=1e-6
    )
    assert wilson(0, 0) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sampling": Sampling()}, "greedy"),
        ({"questions": QUESTIONS[:2]}, "examples"),
        ({"questions": (Question(id="free", task="t", question="What?"),)}, "choices"),
        ({"hints": ()}, "no hint"),
    ],
)
def test_what_would_show_nothing_is_refused(model, change, words) -> None:
    request = CotHintsRequest(questions=QUESTIONS, sampling=SAMPLING).model_copy(update=change)
    with pytest.raises(InputError, match=words):
        hinted.run(model, request, silent)


def test_the_rules_are_patterns() -> None:
    assert set(WORDS) == set(HINTS)
    assert all(re.compile(rule) for rule in WORDS.values())
