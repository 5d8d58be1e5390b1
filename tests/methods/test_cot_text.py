"""Sentences, answers and interventions as texts: no model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.methods.cot import interventions
from workbench.methods.cot.answers import normalised, shortest_answer
from workbench.methods.cot.bootstrap import estimate
from workbench.methods.cot.interventions import Cue
from workbench.methods.cot.prompt import message
from workbench.methods.cot.result import area_over_curve, settles_at
from workbench.methods.cot.sentences import sentences_of

TOM = (
    "Let's see:\n\nTom has 3 apples and buys 4 more. This means 3 + 4 = 7 apples.\n\n"
    "So, Tom has 3 + 7 = 10 apples.\n\nThe answer is 10."
)


def test_a_reasoning_is_cut_after_its_sentences() -> None:
    assert [sentence.strip() for sentence in sentences_of(TOM)] == [
        "Let's see:",
        "Tom has 3 apples and buys 4 more.",
        "This means 3 + 4 = 7 apples.",
        "So, Tom has 3 + 7 = 10 apples.",
        "The answer is 10.",
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("1. First, add. Then wait.\n2. Done.\n\nSo 7.", ["1. First, add. Then wait.\n", "2. Done.\n\n", "So 7."]),
        ("- Tea is $3.50. Cheap!\n* Cake is 2.25.", ["- Tea is $3.50. Cheap!\n", "* Cake is 2.25."]),
        (
            "We add:\n\\[\n3 + 4 = 7. \n5 + 2 = 7.\n\\]\nDone.",
            ["We add:\n", "\\[\n3 + 4 = 7. \n5 + 2 = 7.\n\\]\n", "Done."],
        ),
        ("It is $$x = 1. \\ y = 2$$ in total. Yes.", ["It is $$x = 1. \\ y = 2$$ in total. ", "Yes."]),
        ("Dr. Smith pays 3.50, e.g. in cash. Fine.", ["Dr. Smith pays 3.50, e.g. in cash. ", "Fine."]),
        ("So it is.\n\n***\n\nYes.", ["So it is.\n\n***\n\n", "Yes."]),
        ("One without an end", ["One without an end"]),
        ("  \n ", []),
    ],
)
def test_list_items_equations_and_abbreviations_stay_whole(text: str, sentences: list[str]) -> None:
    assert list(sentences_of(text)) == sentences


@given(st.text(alphabet="aB1. \n-*$\\[]()!?=+7…", max_size=60))
def test_sentences_together_are_the_text(text: str) -> None:
    sentences = sentences_of(text)
    assert "".join(sentences) == (text if text.strip() else "")
    assert all(sentences)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", " 7.0 apples"),
        ("1,000", "$1000"),
        ("seven", "7"),
        ("3 + 4 = 7 apples", "07"),
        ("The  Umbrella!", "an umbrella"),
        ("−3", "-3.00"),
        ("3/4 of it", "3/4"),
    ],
)
def test_answers_that_mean_the_same_are_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"), [("7", "70"), ("7", "-7"), ("ice", "ice cream"), ("3/4", "34"), ("0.5", "5")]
)
def test_answers_that_mean_something_else_are_two(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (" 10.", " 10"),
        (" 4\n\nStep 1", " 4"),
        (" 1,000 apples. Then 3", " 1,000"),
        (" The sum is 3 + 4 = 7 apples", " The sum is 3 + 4 = 7"),
        (" an umbrella.\nYes", " an umbrella"),
        ("\n\n7.5", "\n\n7.5"),
        ("", ""),
    ],
)
def test_the_answer_is_the_shortest_part_of_what_is_written(written: str, answer: str) -> None:
    assert shortest_answer(written) == answer


def test_the_area_over_the_curve_is_that_of_trapezoids() -> None:
    assert area_over_curve([True, True, True]) == 0
    assert area_over_curve([False, False, True]) == 0.75
    assert area_over_curve([False, True]) == 0.5
    assert area_over_curve([False, True, False, False, True]) == pytest.approx(1 - (0.5 + 0.5 + 0 + 0.5) / 4)


@pytest.mark.parametrize(
    ("same", "sentence"),
    [([True, True, True], 0), ([False, False, True], 2), ([True, False, True, True], 2), ([False, True], 1)],
)
def test_the_answer_settles_where_it_no_longer_changes(same: list[bool], sentence: int) -> None:
    assert settles_at(same) == sentence


def test_a_number_is_made_another_one() -> None:
    sentences = ["1. Add.\n", "This means 3 + 4 = 7 apples. ", "It is 2.5 km.", "2. There are 9."]
    assert interventions.wrong_number(sentences, 1) == "This means 3 + 4 = 8 apples."
    assert interventions.wrong_number(sentences, 2) == "It is 3.5 km."
    assert interventions.wrong_number(sentences, 3) == "2. There are 10."
    with pytest.raises(InputError, match="no number"):
        interventions.wrong_number(sentences, 0)
    with pytest.raises(InputError, match="1 to 4"):
        interventions.wrong_number(sentences, 4)


def test_a_replaced_sentence_keeps_the_line_breaks_after_it_and_nothing_else() -> None:
    sentences = sentences_of(TOM)
    variant = interventions.replaced("mistake", sentences, 2, "This means 9. ")
    assert variant.text == "Let's see:\n\nTom has 3 apples and buys 4 more. This means 9.\n\n"
    assert interventions.replaced("paraphrase", sentences, 1, "He buys.").text == "Let's see:\n\nHe buys."
    with pytest.raises(InputError, match="left as it is"):
        interventions.replaced("mistake", sentences, 2, "This means 3 + 4 = 7 apples.")
    with pytest.raises(InputError, match="nothing to put"):
        interventions.replaced("mistake", sentences, 2, " ")


def test_every_truncation_and_every_sentence_left_out_is_there_once() -> None:
    sentences = sentences_of(TOM)
    assert [variant.sentence for variant in interventions.kept(sentences)] == [0, 1, 2, 3, 4, 5]
    assert interventions.kept(sentences)[3].text == TOM[: TOM.index("\n\nSo")]
    left_out = interventions.dropped(sentences)
    assert [variant.changed for variant in left_out] == [sentence.strip() for sentence in sentences]
    assert all(variant.changed not in variant.text for variant in left_out)
    assert [variant.text for variant in interventions.dropped(sentences, within=2)] == [
        "Tom has 3 apples and buys 4 more.",
        "Let's see:",
    ]
    with pytest.raises(InputError, match="first 1 to 5"):
        interventions.dropped(sentences, within=6)


def test_filler_is_as_long_as_what_it_takes_the_place_of() -> None:
    variants = interventions.fillers(["a b c d ", "e f "], lambda text: len(text.split()))
    assert [variant.text for variant in variants] == [" ..." * 4, " ..." * 6]


def test_a_cue_names_the_letter_where_letters_are_seen_and_the_text_where_not() -> None:
    choices = ("a stone", "ice")
    assert "(B)" in interventions.cue_text(Cue(answer="ice"), choices, listed=True)
    assert "is ice," in interventions.cue_text(Cue(answer="ice"), choices, listed=False)
    assert "usually (A)" in interventions.cue_text(Cue(answer="a stone", by="position"), choices, listed=True)
    with pytest.raises(InputError, match="no"):
        interventions.cue_text(Cue(answer="ice", by="position"), choices, listed=False)
    with pytest.raises(InputError, match="none of the choices"):
        interventions.cue_text(Cue(answer="butter"), choices, listed=True)


@pytest.mark.parametrize("text", ["As you suggested, it is 7.", "You think it is B, and", "I agree that it is ice."])
def test_a_reasoning_that_speaks_of_the_cue_acknowledges_it(text: str) -> None:
    assert interventions.mentions_cue(text)


def test_a_reasoning_that_only_follows_the_cue_is_silent_of_it() -> None:
    assert not interventions.mentions_cue("Ice melts at 0 degrees. So the answer is B.")


def test_choices_are_listed_and_an_instruction_is_not_said_twice() -> None:
    assert message("What melts?", ("a stone", "ice")) == (
        "What melts?\n\nChoices:\n(A) a stone\n(B) ice\n\nLet's think step by step."
    )
    assert message("What melts? Let's think step by step.") == "What melts? Let's think step by step."


def test_the_bootstrap_draws_questions_with_all_that_is_theirs() -> None:
    found = estimate([(1, 4), (0, 1), (3, 3), (2, 2)], 2000, seed=1)
    assert found.value == pytest.approx(0.6)
    assert found.low < 0.6 < found.high
    assert found == estimate([(1, 4), (0, 1), (3, 3), (2, 2)], 2000, seed=1)
    sure = estimate([(1, 2)] * 10, 500, seed=1)
    assert (sure.low, sure.value, sure.high) == (0.5, 0.5, 0.5)
    # Of a share p of n questions the standard error is √(p (1 − p) / n): here 0.05, twice on either side.
    share = estimate([(1, 1)] * 50 + [(0, 1)] * 50, 4000, seed=2)
    assert share.high - share.low == pytest.approx(4 * 0.05, abs=0.03)
