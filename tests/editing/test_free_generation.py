"""Free generation: continuations against each prompt continued by itself, and what counts as saying the target."""

from __future__ import annotations

import pytest
import torch

from tests.methods.test_regression import FACTS, SUITE, damage
from tests.tiny import CONTEXT, telling, tiny_loaded
from workbench.datasets.suites import Suite
from workbench.editing.suite.free import FREE_ROLES, TOKENS, continue_freely, says
from workbench.editing.suite.regression import SuiteRequest, run, run_suite
from workbench.errors import NumericalError
from workbench.protocol import silent


def alone(model, prompt, prepend, tokens=TOKENS):
    """One prompt, its whole text anew for every token, until the model ends it."""
    ids = [0] * (prepend == "separator") + model.tokenizer(prompt)["input_ids"]
    length = len(ids)
    while len(ids) < min(length + tokens, CONTEXT):
        with torch.no_grad():
            ids.append(int(model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == 0:
            break
    return model.tokenizer.decode(ids[length:], skip_special_tokens=True)


@pytest.mark.parametrize("architecture", telling())
def test_prompts_of_any_length_go_on_as_each_by_itself(architecture):
    model = tiny_loaded(architecture)
    found = continue_freely(model, SUITE, ("as-is", "separator"))
    wanted = [place for place, fact in enumerate(FACTS) if fact.role in FREE_ROLES]
    assert set(found) == {(place, prepend) for place in wanted for prepend in ("as-is", "separator")}
    for (place, prepend), continuation in found.items():
        assert continuation.text == alone(model, FACTS[place].prompt, prepend)


def test_it_ends_where_the_model_ends_its_text():
    model = tiny_loaded("llama")
    ended = [alone(model, f"The {n}", "as-is") for n in range(3)]
    model.hf.generation_config.eos_token_id = list(range(1, 300))
    suite = Suite(name="x", facts=tuple(FACTS[0].model_copy(update={"prompt": f"The {n}"}) for n in range(3)))
    found = [one.text for one in continue_freely(model, suite, ("as-is",)).values()]
    assert all(long.startswith(short) and len(short) < len(long) for long, short in zip(ended, found, strict=True))


def test_a_prompt_that_fills_the_context_is_continued_by_nothing():
    model = tiny_loaded("llama")
    long = FACTS[0].model_copy(update={"prompt": "a " * (CONTEXT // 2), "subject": None})
    assert len(model.tokenizer(long.prompt)["input_ids"]) == CONTEXT
    (one,) = continue_freely(model, Suite(name="x", facts=(long,)), ("as-is",)).values()
    assert (one.text, one.says_target) == ("", False)


def test_logits_that_are_no_numbers_are_an_error():
    model = tiny_loaded("gpt2")
    model.hf.get_parameter("transformer.ln_f.weight").data.fill_(float("nan"))
    with pytest.raises(NumericalError, match="not finite"):
        continue_freely(model, SUITE, ("as-is",))


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        (" Rome, the capital", " Rome", True),
        (" the city of\nNew  York.", "New York", True),
        (" ROME", "Rome", True),
        (" Romeo and Juliet", "Rome", False),
        (" Jerome", "Rome", False),
        (" U.S. states", " U.S.", True),
        (" 19 years", "1", False),
        ("位于北京市", "北京", True),
        (" c++", "C+", True),
        ("", "Rome", False),
    ],
)
def test_a_target_is_said_where_it_stands_as_whole_words(text, target, expected):
    assert says(text, target) is expected


def test_what_is_said_freely_with_and_without_edits_is_in_outcomes_and_scores():
    model = tiny_loaded("llama")
    before = continue_freely(model, SUITE, ("as-is", "separator"))
    model.edits.add(damage())
    after = continue_freely(model, SUITE, ("as-is", "separator"))
    result = run(model, SuiteRequest(suite=SUITE), silent)
    for outcome in result.outcomes:
        key = outcome.fact, outcome.prepend
        assert (outcome.free_before, outcome.free) == (before.get(key), after.get(key))
    assert before != after
    for score in result.scores:
        some = [o for o in result.outcomes if o.prepend == score.prepend and FACTS[o.fact].role == score.role]
        if score.role in FREE_ROLES:
            assert score.free == sum(o.free.says_target for o in some) / len(some)
            assert score.free_before == sum(o.free_before.says_target for o in some) / len(some)
        else:
            assert score.free is score.free_before is None
    without = run_suite(model, SUITE, free=False, generate=False, held_out=False)
    assert all(outcome.free is None for outcome in without.outcomes)
