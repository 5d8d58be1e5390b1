"""Steering one answer: the direction that the case gives, and the weakest strength that turns it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.methods.test_diagnose import AskedHere
from tests.tiny import tiny_loaded
from workbench.case import Case
from workbench.editing.changes import StateChange
from workbench.editing.editors.steering.answer import (
    STEER_ANSWER,
    STRENGTHS,
    AnswerSteeringSettings,
    SteeredAnswer,
    answer_pairs,
)
from workbench.editing.fix import FixRequest, fix
from workbench.editing.said import said
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.methods.diagnose.rules import RULES
from workbench.protocol import silent

CASE = Case(prompt="The capital of Australia is", subject="Australia", target=" city", foil=" Tom")
SHORT = {"layer": 1, "prefixes": 2, "prefix_tokens": 4}


def made(case: Case = CASE, **given: Any) -> tuple[Any, SteeredAnswer, Any]:
    model = tiny_loaded("llama")
    made = STEER_ANSWER.make(model, (case,), AnswerSteeringSettings.model_validate({**SHORT, **given}), silent)
    assert isinstance(made.details, SteeredAnswer)
    return model, made.details, made.edit


def test_the_direction_is_the_mean_difference_of_the_states_at_the_answers_last_token() -> None:
    model, details, edit = made(strength=0.5)
    pairs = answer_pairs(model, CASE, AnswerSteeringSettings.model_validate(SHORT))
    assert len(pairs) == details.pairs > 2
    states = [
        [model.hf(torch.tensor([text.ids]), output_hidden_states=True).hidden_states[2][0, -1] for text in pair]
        for pair in pairs
    ]
    for pair in pairs:
        texts = [model.tokenizer.decode(text.ids) for text in pair]
        assert [text[text.rindex(" is ") :] for text in texts] == [" is city", " is Tom"]
    (change,) = edit.changes
    assert isinstance(change, StateChange)
    expected = 0.5 * torch.stack([target - foil for target, foil in states]).mean(dim=0)
    torch.testing.assert_close(change.shift, expected.detach(), rtol=1e-3, atol=1e-6)


def test_the_weakest_strength_that_makes_the_target_the_first_choice_is_kept() -> None:
    model, details, edit = made()
    wanted = model.encode(CASE).target.text
    assert [one.strength for one in details.tried] == list(STRENGTHS[: len(details.tried)])
    turned = [one.strength for one in details.tried if one.top == wanted]
    best = turned[0] if turned else max(details.tried, key=lambda one: one.target).strength
    assert details.strength == best
    with model.edits.added(edit):
        now = said(model, CASE)[0]
    assert now.target == next(one.target for one in details.tried if one.strength == best)
    assert model.edits.state.entries == ()


def test_without_a_foil_it_is_steered_away_from_what_the_model_says() -> None:
    bare = Case(prompt="The capital of France is ", subject="France", target="city")
    top = said(tiny_loaded("llama"), bare)[0].top
    assert made(bare)[1].foil == top
    with pytest.raises(InputError, match="says the target already"):
        made(bare.model_copy(update={"target": top}))
    with pytest.raises(InputError, match="cannot be typed as a foil; name one"):
        made(CASE.model_copy(update={"foil": None}))


def test_steering_is_tried_wherever_weights_are_edited_and_before_them() -> None:
    for rule in RULES:
        assert ("steer" in rule.fixes) == ("weights" in rule.fixes)
        if "steer" in rule.fixes:
            assert rule.fixes.index("steer") < rule.fixes.index("weights")


def test_steering_is_a_candidate_tested_by_the_suite_of_the_others() -> None:
    model = tiny_loaded("llama")
    (found,) = fix(
        model, FixRequest(case=CASE, failure="recall", tries=("steer",)), silent, AskedHere(model)
    ).candidates
    assert found.name == "steer-answer"
    assert not found.why
    assert found.scores
    assert found.edit is not None
    assert model.edits.state.entries == ()
