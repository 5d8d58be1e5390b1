"""The default model knows what the shipped facts say it knows."""

from __future__ import annotations

import pytest

from benchmarks.facts_known import first_choices
from workbench.case import Case
from workbench.datasets.facts import shipped_facts
from workbench.models.tokens import encode

pytestmark = pytest.mark.real


def _sample():
    """From each relation one fact that is recorded as known in both contexts, and one that is in one only."""
    for relation in shipped_facts():
        for contexts in (1, 2):
            facts = [fact for fact in relation.facts if len(fact.known) == contexts]
            if facts:
                yield relation, facts[len(facts) // 2]


def test_the_first_token_is_the_models_first_choice_exactly_in_the_contexts_that_are_recorded(default_model):
    sample = list(_sample())
    assert len(sample) >= 24
    for prepend in ("as-is", "separator"):
        cases = [
            encode(
                default_model.tokenizer,
                Case(prompt=relation.prompts(fact.subject)[0], target=" " + fact.object, prepend=prepend),
            )
            for relation, fact in sample
        ]
        choices = first_choices(default_model, [case.ids for case in cases])
        right = {fact for (_, fact), case, token in zip(sample, cases, choices, strict=True) if case.target.id == token}
        assert right == {fact for _, fact in sample if prepend in fact.known}


def test_no_two_objects_of_a_relation_begin_with_the_same_token(default_model):
    for relation in shipped_facts():
        objects = {fact.object for fact in relation.facts}
        first = {default_model.tokenizer(" " + name, add_special_tokens=False)["input_ids"][0] for name in objects}
        assert len(first) == len(objects), relation.id
