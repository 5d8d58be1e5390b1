"""Sentences, answers and interventions as texts: no model."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from workbench.datasets.questions import choice_named
from workbench.errors import InputError
from workbench.methods.cot import interventions
from workbench.methods.cot.bootstrap import estimate
from workbench.methods.cot.figures import about_answer
from workbench.methods.cot.interventions import Cue
from workbench.methods.cot.prompt import message
from workbench.methods.cot.readings import answer_in, read_answer, same_answer
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
        ("July 4, 1776", "4 July 1776"),
        ("10^6", "1,000,000"),
        ("10⁶", "1e6"),
        ("1 000 000", "1000000"),
        ("$\\frac{1}{2}$", "1/2"),
        ("½", "0.5"),
        ("\\boxed{7}", "7"),
        ("**7**", "7"),
        ("J.K. Rowling", "J. K. Rowling"),
        ("JK Rowling", "J.K. Rowling"),
        ("St. Louis", "St Louis"),
        ("U.S.", "US"),
        ("5 pm", "17:00"),
        ("5:30 p.m.", "17:30"),
        ("5 km", "5000 m"),
        ("5 kg", "5 kilograms"),
        ("$5", "5 dollars"),
        ("Tom has 7 apples", "7"),
        ("The answer is 7.", "seven"),
        ("It is Paris.", "paris"),
        ("yes, because 3 > 2", "Yes."),
        ("5 million", "5,000,000"),
        ("5,6 km", "5.6 km"),
        ("1.000.000", "1000000"),
        ("x = 7", "7"),
        ("twenty-five", "25"),
        ("one hundred and five", "105"),
        ("a dozen", "a dozen"),
        ("C++", "c++"),
        ("A", "(A)"),
        ("A", "a."),
        ("in 1776", "1776"),
        ("20 percent", "20%"),
        ("2 hours", "120 minutes"),
        ("$1.5 million", "$1,500,000"),
        ("1 1/2", "1.5"),
        ("10 because he adds", "10"),
        ("$7$", "7"),
        ("£5", "5 pounds"),
        ("5 o'clock", "5:00"),
        ("The answer is **Paris**", "Paris"),
        ("\\(x = 7\\)", "7"),
        ("$2.5\\times 10^{3}$", "2500"),
        ("$\\text{Paris}$", "Paris"),
        ("100°C", "100 degrees Celsius"),
        ("2 dozen eggs", "24"),
        ("a dozen eggs", "12"),
        ("a hundred", "100"),
        ("one half", "1/2"),
        ("three quarters of it", "0.75"),
        ("3rd", "third"),
        ("A)", "A"),
    ],
)
def test_answers_that_say_the_same_are_one(one: str, other: str) -> None:
    assert same_answer(one, other)
    assert same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("7", "70"),
        ("7", "-7"),
        ("ice", "ice cream"),
        ("3/4", "34"),
        ("0.5", "5"),
        ("A", ""),
        ("−", ""),
        ("A", "B"),
        ("yes, because 3 > 2", "no, because 3 > 2"),
        ("Apollo 11", "Gemini 11"),
        ("Apollo 11", "11"),
        ("July 4, 1776", "4"),
        ("July 4, 1776", "July 5, 1776"),
        ("July 4, 1776", "1776"),
        ("10^6", "10"),
        ("10⁶", "106"),
        ("COVID-19", "-19"),
        ("COVID-19", "19"),
        ("C", "C++"),
        ("C", "C#"),
        ("C#", "C++"),
        ("5,6", "56"),
        ("1 000 000", "1"),
        ("$\\frac{1}{2}$", "1"),
        ("J.K. Rowling", "J.K."),
        ("J.K. Rowling", "J.R. Rowling"),
        ("St. Louis", "St. Petersburg"),
        ("5 km", "5 m"),
        ("5 km", "5 miles"),
        ("$5", "€5"),
        ("5%", "5"),
        ("5 pm", "5 am"),
        ("5:30", "5.30"),
        ("7 apples", "7 pears"),
        ("Tom has 7 apples", "Ann has 7 apples"),
        ("Seven Samurai", "7"),
        ("50 Cent", "50"),
        ("x = 3, y = 4", "4"),
        ("7 more than Ann", "7"),
        ("5 mW", "5 MW"),
        ("vitamin A", "vitamin"),
        ("5!", "5"),
        ("5-6", "5"),
        ("+", "-"),
        ("", ""),
        ("..", "..."),
        ("x²", "x2"),
        ("Tom does not have 7", "7"),
        ("1½", "11/2"),
        ("5", "5 pm"),
        ("H2O", "H2"),
        ("3D", "3"),
        ("2^10", "210"),
        ("x=3", "y=3"),
        ("1 week", "1 day"),
        ("10 (base 2)", "10"),
        ("a", "the"),
        (".5", "5"),
        ("1e5", "1"),
        ("at least 7", "7"),
        ("not 7", "7"),
        ("x^2", "x"),
        ("√2", "2"),
        ("7 m", "7 km"),
        ("No. 5", "no"),
        ("Model 3", "Model S"),
        ("3:4", "34"),
        ("3:04", "304"),
        ("A major", "B major"),
        ("10:30 am", "10:30 pm"),
        ("5 a.m.", "5 p.m."),
        ("F-16", "F-15"),
        ("Henry VIII", "Henry VII"),
        ("-A", "A"),
        ("A-", "A"),
        ("A+", "A"),
        ("!", "?"),
        ("(", "["),
        ("1990s", "1990"),
        ("a third", "1/3"),
        ("One Fifth Avenue", "1/5"),
        ("one half", "one third"),
        ("3rd", "3"),
        ("A)", "B)"),
        ("U.S.", "us"),
    ],
)
def test_answers_that_say_something_else_are_two(one: str, other: str) -> None:
    assert not same_answer(one, other)
    assert not same_answer(other, one)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("1,000", "number 1000"),
        ("7 apples", "number 7 (apples)"),
        ("5 km", "number 5 km"),
        ("July 4, 1776", "date 1776-07-04"),
        ("5 p.m.", "time 17:00"),
        ("Apollo 11", "text apollo 11"),
        ("5,6", "text 5,6"),
        (" \n", "nothing"),
    ],
)
def test_a_reading_says_what_was_read(answer: str, said: str) -> None:
    assert read_answer(answer).said == said


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (" 10.", " 10"),
        (" 10. Then 3", " 10"),
        (" 4\n\nStep 1", " 4"),
        (" 1,000 apples. Then 3", " 1,000"),
        (" 7 apples because he has 3", " 7"),
        (" The sum is 3 + 4 = 7 apples", " The sum is 3 + 4 = 7"),
        (" an umbrella.\nYes", " an umbrella"),
        (" St. Louis. It is a city", " St. Louis"),
        (" J.K. Rowling wrote it. She", " J.K. Rowling wrote it"),
        (" yes, because 3 > 2", " yes"),
        (" July 4, 1776. It", " July 4, 1776"),
        (" 5 km away. So", " 5 km"),
        (" −", " −"),
        ("\n\n7.5", "\n\n7.5"),
        ("", ""),
    ],
)
def test_the_answer_is_the_shortest_part_of_what_is_written(written: str, answer: str) -> None:
    assert answer_in(written)[0] == answer


PIECES = (
    "A|the|−|-|7|1,000|10^6|½|St.|J.K.|$|\\frac{1}{2}|=|is| |  |\n|yes|no|because|not|pm|5:30|July|4|1776|C++|C#|km|%|€"
    "|(|)|**|`|'|\"|.|!|?|,|The answer is|!!|/|0|e9|^99999999|x"
)


@given(
    st.one_of(
        st.text(min_size=1, max_size=12),
        st.lists(st.one_of(st.sampled_from(PIECES.split("|")), st.text(max_size=3)), min_size=1, max_size=6).map(
            "".join
        ),
    ),
    st.sampled_from(["", " "]),
    st.sampled_from(["", ".", " ", ".\n", "\nSo that is it"]),
)
def test_an_answer_that_is_known_is_recognised_when_it_is_written(answer: str, before: str, after: str) -> None:
    answer = answer.strip()
    reading = read_answer(answer)
    assume(reading.kind != "nothing")
    written = before + answer + after
    text, found = answer_in(written, [answer])
    assert found.same(reading)
    assert written.startswith(text)
    assert reading.same(read_answer(answer))


def test_a_known_answer_is_not_seen_in_a_longer_one() -> None:
    assert not answer_in(" St. Louis.", ["St"])[1].same(read_answer("St"))
    assert not answer_in(" 5.6", ["5"])[1].same(read_answer("5"))
    assert not answer_in(" It is red. It is green.", ["It is red. It is blue."])[1].same(
        read_answer("It is red. It is blue.")
    )
    assert answer_in(" It is red.  It is blue. So", ["It is red. It is blue."])[0] == " It is red.  It is blue."


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("ice", 1),
        (" Ice.", 1),
        ("B", 1),
        ("b", 1),
        ("(B)", 1),
        ("B)", 1),
        ("B.", 1),
        ("(B) ice", 1),
        ("B: ice", 1),
        ("(A) ice", None),
        ("(D)", None),
        ("butter", None),
        ("a stone", 0),
        ("", None),
    ],
)
def test_a_choice_is_named_by_its_text_its_letter_or_both(answer: str, choice: int | None) -> None:
    assert choice_named(answer, ("a stone", "ice", "wax")) == choice


def test_choices_that_are_letters_are_named_by_their_texts() -> None:
    assert choice_named("A", ("B", "A")) == 1


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


def test_an_answer_that_is_a_sentence_leaves_room_for_the_sentences_of_the_reasoning() -> None:
    assert about_answer("p", "7").heading == "p 7"
    assert about_answer("to", "12 - 5 = 6 cows are left").heading == "to 12 - 5 = …"
