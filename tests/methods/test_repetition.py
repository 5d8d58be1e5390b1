"""Entropy of n-grams by hand, and generation against each prompt continued by itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.tiny import telling, tiny_loaded
from workbench.editing.suite.repetition import generated, ngram_entropy
from workbench.errors import Cancelled, InputError, NumericalError

PROMPTS = ("The capital", "What is the capital of France? The capital", "Tom has 3", "Tom has 4")


def test_a_text_that_repeats_one_token_has_no_entropy():
    assert ngram_entropy([[7] * 20]) == 0


def test_entropy_of_a_small_text_by_hand():
    # 2-grams of a b a b c: ab twice, ba, bc; 3-grams: aba, bab, abc.
    two = -(0.5 * math.log2(0.5) + 2 * 0.25 * math.log2(0.25))
    three = math.log2(3)
    assert ngram_entropy([[1, 2, 1, 2, 3]]) == pytest.approx((2 / 3 * two + 4 / 3 * three) / 2)


def test_entropy_is_the_mean_over_texts():
    one, other = [1, 2, 1, 2, 3], [5, 6, 7, 8]
    assert ngram_entropy([one, other]) == pytest.approx((ngram_entropy([one]) + ngram_entropy([other])) / 2)


@pytest.mark.parametrize("texts", [[], [[1, 2]], [[1, 2, 3], []]])
def test_a_text_too_short_to_repeat_is_an_error(texts):
    with pytest.raises(InputError, match="3 tokens"):
        ngram_entropy(texts)


def alone(model, prompt, row, rows, tokens, seed):
    """One prompt, without batch and without a cache."""
    chances = np.random.RandomState(seed).random_sample((rows, tokens))[row]
    ids = [0, *model.tokenizer(prompt)["input_ids"]]
    start = len(ids)
    for chance in chances:
        with torch.no_grad():
            logits = model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1].float()
        logits[0] = -math.inf  # the end token is never drawn
        top = logits.topk(5)
        p = top.values.double().softmax(-1).cumsum(-1)
        ids.append(int(top.indices[min(int((p <= chance).sum()), 4)]))
    return ids[start:]


@pytest.mark.parametrize("architecture", telling(mixtral="bloom"))
def test_prompts_of_any_length_together_go_on_as_each_by_itself(architecture):
    model = tiny_loaded(architecture)
    together = generated(model, PROMPTS, tokens=8, seed=3)
    assert together == [alone(model, prompt, row, len(PROMPTS), 8, 3) for row, prompt in enumerate(PROMPTS)]


def test_the_same_seed_draws_the_same_text_and_another_does_not():
    model = tiny_loaded("llama")
    first = generated(model, PROMPTS, tokens=12, seed=1)
    assert generated(model, PROMPTS, tokens=12, seed=1) == first
    assert generated(model, PROMPTS, tokens=12, seed=2) != first
    assert [len(text) for text in first] == [12] * len(PROMPTS)
    assert all(0 not in text for text in first)


def test_no_prompts_give_no_texts():
    assert generated(tiny_loaded("gpt2"), []) == []


def test_a_prompt_that_leaves_no_room_is_an_error():
    with pytest.raises(InputError, match="do not fit into the model's 64"):
        generated(tiny_loaded("gpt2"), PROMPTS, tokens=60)


def test_logits_that_are_no_numbers_are_an_error():
    model = tiny_loaded("gpt2")
    model.hf.get_parameter("transformer.ln_f.weight").data.fill_(float("nan"))
    with pytest.raises(NumericalError):
        generated(model, PROMPTS, tokens=4)


def test_generation_can_be_stopped_at_every_token():
    reports = []

    def progress(done, total, partial=None, *, stage=""):
        reports.append((done, total))
        if len(reports) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        generated(tiny_loaded("gpt2"), PROMPTS, tokens=8, progress=progress)
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
