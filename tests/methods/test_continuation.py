"""Greedy continuation against a loop that runs the whole text through the model for every token."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests.tiny import CONTEXT, telling, tiny_loaded, tiny_model, tiny_tokenizer
from workbench.case import Case
from workbench.errors import InputError, NumericalError
from workbench.loading import LoadedModel, wrap
from workbench.methods.generation import continuation
from workbench.methods.generation.continuation import ContinueRequest, ContinueResult
from workbench.models.tokens import token_text
from workbench.protocol import Result, silent

PROMPT = "The capital of Australia is"


def go_on(model: LoadedModel, prompt: str = PROMPT, tokens: int = 6, **case: Any) -> ContinueResult:
    return continuation.run(model, ContinueRequest(case=Case(prompt=prompt, **case), tokens=tokens), silent)


def by_hand(model: LoadedModel, ids: tuple[int, ...], tokens: int) -> tuple[list[int], list[torch.Tensor]]:
    """The greedy tokens and the distribution at each, without a cache."""
    text, found = list(ids), []
    for _ in range(tokens):
        with torch.no_grad():
            logits = model.hf(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]
        found.append(logits.double().softmax(dim=-1))
        text.append(int(logits.argmax()))
    return text[len(ids) :], found


def without_stops(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    monkeypatch.setattr(continuation, "stop_ids", lambda _: set())
    return model


@pytest.mark.parametrize("architecture", telling())
def test_every_token_is_what_the_whole_text_leads_to(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = without_stops(tiny_loaded(architecture), monkeypatch)
    result = go_on(model)
    ids, distributions = by_hand(model, result.encoded.ids, 6)
    assert result.text == model.tokenizer.decode(ids, skip_special_tokens=True)
    assert not result.ended
    for token, best, p in zip(result.generated, ids, distributions, strict=True):
        second = int(p.argsort(descending=True)[1])
        assert token.text == token_text(model.tokenizer, best)
        assert token.probability == pytest.approx(float(p[best]), abs=1e-4)
        assert token.runner_up == token_text(model.tokenizer, second)
        assert token.runner_up_probability == pytest.approx(float(p[second]), abs=1e-4)


def test_it_goes_on_after_whatever_is_prepended(monkeypatch: pytest.MonkeyPatch) -> None:
    model = without_stops(tiny_loaded("llama"), monkeypatch)
    after = go_on(model, prepend="separator")
    assert after.encoded.ids[0] == 0
    ids, _ = by_hand(model, after.encoded.ids, 6)
    assert [token.text for token in after.generated] == [token_text(model.tokenizer, token) for token in ids]


@pytest.mark.parametrize("several", [False, True])
def test_it_stops_where_the_model_ends_its_text(several: bool) -> None:
    model = tiny_loaded("llama")
    ids, _ = by_hand(model, go_on(model, tokens=1).encoded.ids, 12)
    end = next(token for token in ids if token != ids[0])
    model.hf.generation_config.eos_token_id = [end, 299] if several else end  # type: ignore[union-attr]
    result = go_on(model, tokens=12)
    assert result.ended
    assert len(result.generated) == ids.index(end) + 1
    assert result.generated[-1].text == token_text(model.tokenizer, end)


def test_it_stops_at_the_tokenizer_s_end_token_too() -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    model = wrap(tiny_model("llama"), tokenizer, "tiny")
    ids, _ = by_hand(model, go_on(model, tokens=1).encoded.ids, 1)
    model.hf.generation_config.eos_token_id = None  # type: ignore[union-attr]
    assert not go_on(model, tokens=1).ended
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(ids[0])
    assert go_on(model, tokens=3).ended


def test_it_stops_at_the_end_of_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    model = without_stops(tiny_loaded("gpt2"), monkeypatch)
    result = go_on(model, prompt="The" + " the" * (CONTEXT - 4), tokens=12)
    assert len(result.encoded.ids) == CONTEXT - 3
    assert len(result.generated) == 3
    assert not result.ended


def test_a_prompt_that_fills_the_context_is_an_error() -> None:
    with pytest.raises(InputError, match=f"fills the whole context of {CONTEXT} tokens"):
        go_on(tiny_loaded("gpt2"), prompt="The" + " the" * (CONTEXT - 1))


@pytest.mark.parametrize("tokens", [0, -3])
def test_fewer_than_one_token_is_an_error(tokens: int) -> None:
    with pytest.raises(InputError, match="must be at least 1"):
        go_on(tiny_loaded("gpt2"), tokens=tokens)


def test_what_there_is_so_far_is_reported_after_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    model = without_stops(tiny_loaded("llama"), monkeypatch)
    heard: list[tuple[int, int, Result | None]] = []

    def record(done: int, total: int, partial: Result | None = None, *, stage: str = "") -> None:
        heard.append((done, total, partial))

    whole = continuation.run(model, ContinueRequest(case=Case(prompt=PROMPT), tokens=4), record)
    assert [(done, total) for done, total, _ in heard] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for done, _, partial in heard:
        assert isinstance(partial, ContinueResult)
        assert partial.generated == whole.generated[:done]
    assert heard[-1][2] == whole


def test_logits_that_are_not_numbers_are_an_error() -> None:
    model = tiny_loaded("llama")
    model.embedding.weight.data[:] = float("nan")  # type: ignore[union-attr, operator, index]
    with pytest.raises(NumericalError, match="not finite"):
        go_on(model)
