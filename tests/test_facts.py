"""The shipped facts have the shape that suites rely on, and a prompt finds the relation it is a phrasing of."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from pydantic import ValidationError

from workbench.datasets.facts import read_relations, relation_of, shipped_facts, subjects
from workbench.spans import BLANK

every_relation = pytest.mark.parametrize("relation", shipped_facts(), ids=lambda relation: relation.id)


def test_there_are_at_least_twelve_relations_with_ids_of_their_own():
    ids = [relation.id for relation in shipped_facts()]
    assert len(ids) >= 12
    assert len(set(ids)) == len(ids)


@every_relation
def test_a_relation_has_four_phrasings_of_which_exactly_one_starts_with_the_subject(relation):
    assert len(relation.phrasings) == 4
    assert [phrasing.startswith(BLANK) for phrasing in relation.phrasings].count(True) == 1
    assert not relation.canonical.startswith(BLANK)


@every_relation
def test_a_phrasing_names_the_subject_once_and_ends_in_a_word(relation):
    for phrasing in relation.phrasings:
        assert phrasing.count(BLANK) == 1
        assert phrasing[-1].isalpha()
        assert " ".join(phrasing.split()) == phrasing


def test_no_phrasing_stands_in_two_relations():
    count = Counter(phrasing for relation in shipped_facts() for phrasing in relation.phrasings)
    assert count.most_common(1)[0][1] == 1


@every_relation
def test_a_relation_has_fifteen_subjects_or_more_and_each_only_once(relation):
    names = [fact.subject.casefold() for fact in relation.facts]
    assert len(names) >= 15
    assert len(set(names)) == len(names)


@every_relation
def test_a_fact_says_something_that_its_subject_does_not_give_away(relation):
    for fact in relation.facts:
        assert fact.relation == relation.id
        assert fact.subject == fact.subject.strip() != ""
        assert fact.object == fact.object.strip() != ""
        assert f" {fact.object} ".casefold() not in f" {fact.subject} ".casefold()


@every_relation
def test_a_fact_is_known_in_one_context_or_more_and_each_is_named_once(relation):
    for fact in relation.facts:
        assert fact.known in {("as-is",), ("separator",), ("as-is", "separator")}


@every_relation
def test_no_object_makes_up_most_of_a_relation(relation):
    [(_, most)] = Counter(fact.object for fact in relation.facts).most_common(1)
    assert most <= len(relation.facts) / 2


def test_subjects_are_listed_once_though_several_relations_share_them():
    mentions = [fact.subject for relation in shipped_facts() for fact in relation.facts]
    assert set(subjects()) == set(mentions)
    assert len(subjects()) == len(set(mentions)) < len(mentions)


def test_every_prompt_of_every_fact_finds_its_relation():
    for relation in shipped_facts():
        for fact in relation.facts:
            for prompt in relation.prompts(fact.subject):
                assert relation_of(prompt, fact.subject) == relation


def test_a_subject_that_is_in_no_file_finds_its_relation():
    relation = relation_of("The capital of Narnia is", "Narnia")
    assert relation is not None
    assert relation.id == "country-capital"
    assert relation.fact_about("Narnia") is None


@pytest.mark.parametrize("subject", ["Eiffel Tower", "The Eiffel Tower"])
def test_an_article_may_belong_to_the_subject_or_to_the_phrasing(subject):
    relation = relation_of("The Eiffel Tower is located in the city of", subject)
    assert relation is not None
    assert relation.id == "landmark-city"


def test_blanks_and_capital_letters_do_not_matter():
    assert relation_of(" the capital of  france is ", "France") == relation_of("The capital of France is", "France")
    assert relation_of("The capital of France is", "France") is not None


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("The capital of France is", "Germany"),
        ("The capital of France is not", "France"),
        ("The weather in France is", "France"),
        ("The", "The"),
        ("", ""),
    ],
)
def test_a_prompt_that_is_no_phrasing_about_the_subject_has_no_relation(prompt, subject):
    assert relation_of(prompt, subject) is None


def test_the_default_case_of_the_handbook_is_among_the_facts():
    relation = relation_of("The capital of Australia is", "Australia")
    assert relation is not None
    fact = relation.fact_about("Australia")
    assert fact is not None
    assert (fact.object, fact.known) == ("Canberra", ("separator",))


def test_a_field_that_is_not_known_is_an_error():
    text = '{"relations": [{"id": "a", "name": "b", "phrasings": [], "facts": [{"subject": "c", "objekt": "d"}]}]}'
    with pytest.raises(ValidationError, match="objekt"):
        read_relations(text)


def test_facts_are_read_without_torch():
    script = "import sys; from workbench.datasets.facts import subjects; subjects(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
