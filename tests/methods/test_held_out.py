"""The held-out perplexity, against the model's own loss; and its text, which no shipped fact stands in."""

from __future__ import annotations

import math
import re

import pytest
import torch

from tests.tiny import CONTEXT, telling, tiny_loaded
from workbench.datasets.facts import shipped_facts
from workbench.datasets.held_out import held_out_text
from workbench.editing.suite.held_out import perplexity
from workbench.errors import InputError
from workbench.models.forward import unembedding

SENTENCE = "The capital of Australia is Canberra, and the largest city is Sydney."


@pytest.mark.parametrize("architecture", telling(mixtral="bloom"))
def test_perplexity_is_exp_of_the_mean_loss_after_a_separator(architecture):
    model = tiny_loaded(architecture)
    ids = torch.tensor([[0, *model.tokenizer(SENTENCE)["input_ids"]]])
    with torch.no_grad():
        loss = model.hf(ids, labels=ids, use_cache=False).loss
    assert perplexity(model, SENTENCE) == pytest.approx(math.exp(loss), rel=1e-4)


def test_a_long_text_is_cut_into_pieces_that_each_begin_at_a_document_start():
    model = tiny_loaded("gpt2")
    text = " ".join([SENTENCE] * 9)
    ids = model.tokenizer(text)["input_ids"]
    room = CONTEXT - 1
    assert len(ids) > 2 * room
    nats = 0.0
    for begin in range(0, len(ids), room):
        piece = torch.tensor([[0, *ids[begin : begin + room]]])
        with torch.no_grad():
            log_p = model.hf(piece).logits[0, :-1].log_softmax(-1)
        nats -= float(log_p.gather(1, piece[0, 1:, None]).sum())
    assert perplexity(model, text) == pytest.approx(math.exp(nats / len(ids)), rel=1e-5)


def test_the_held_out_text_is_what_is_measured_by_default():
    model = tiny_loaded("gpt2")
    assert perplexity(model) == perplexity(model, held_out_text())


def test_a_piece_that_ran_out_of_memory_is_not_counted_twice(monkeypatch):
    model = tiny_loaded("gpt2")
    text = " ".join([SENTENCE] * 9)
    expected = perplexity(model, text)
    monkeypatch.setattr(unembedding, "LOGITS_BUDGET", 20 * 4 * model.info.vocabulary)
    original, calls = type(model).unembed, []

    def once_too_much(self, states):
        calls.append(len(states))
        if len(calls) == 3:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, states)

    monkeypatch.setattr(type(model), "unembed", once_too_much)
    assert perplexity(model, text) == pytest.approx(expected, rel=1e-5)
    assert len(calls) > 3


def test_an_empty_text_is_an_error():
    with pytest.raises(InputError):
        perplexity(tiny_loaded("gpt2"), "  ")


def test_the_held_out_text_is_several_hundred_words_of_plain_prose():
    words = held_out_text().split()
    assert 450 < len(words) < 650
    assert len({word.casefold().strip(".,;:") for word in words}) > 250


def test_no_shipped_fact_stands_in_the_held_out_text():
    def says(name):
        return re.search(rf"\b{re.escape(name)}\b", held_out_text(), re.IGNORECASE)

    said = [fact for relation in shipped_facts() for fact in relation.facts if says(fact.subject) and says(fact.object)]
    assert said == []
