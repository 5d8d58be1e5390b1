"""Second prompts for patching: of a shipped fact and of a passage, each another question than the first."""

from __future__ import annotations

import pytest

from workbench.case import Case
from workbench.methods.patching.second_prompts import MOST, second_prompts

BERLIN = Case(
    prompt="Laura lives in Berlin. Simon lives in Lisbon. To visit Laura, I took the train to",
    target="Berlin",
    foil="Lisbon",
)


def test_of_a_shipped_fact_they_ask_about_other_subjects_first_about_one_whose_answer_is_the_target() -> None:
    found = second_prompts(Case(prompt="The capital of Australia is", subject="Australia", target="Rome"))
    assert found[0] == "The capital of Italy is"
    assert len(found) == MOST
    assert len(set(found)) == MOST
    assert all(each.startswith("The capital of ") and "Australia" not in each for each in found)
    bare = second_prompts(Case(prompt="The capital of Australia is"))
    assert set(bare) & set(found), "the subject of a shipped fact need not be named"


def test_where_another_subject_has_the_same_answer_it_is_left_out() -> None:
    found = second_prompts(Case(prompt="The Louvre is located in the city of", subject="The Louvre"))
    assert found
    assert not any("Eiffel" in each or "Louvre" in each for each in found)


def test_of_a_passage_they_are_its_sentences_in_another_order_and_the_question_about_the_other_owner() -> None:
    first, second, *_ = second_prompts(BERLIN)
    assert first == "Simon lives in Lisbon. Laura lives in Berlin. To visit Laura, I took the train to"
    assert second == "Laura lives in Berlin. Simon lives in Lisbon. To visit Simon, I took the train to"
    assert BERLIN.prompt not in second_prompts(BERLIN)


@pytest.mark.parametrize("prompt", ["", " ", "Hello there", "One. Two"])
def test_of_other_prompts_there_are_none(prompt: str) -> None:
    assert second_prompts(Case(prompt=prompt)) == ()
