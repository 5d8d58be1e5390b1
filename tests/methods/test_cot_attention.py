"""Attention suppression and receiver heads on tiny models, against plain runs with masks and weights of their own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests import tiny
from tests.methods.cot_models import TEMPLATE, ids, roomy
from workbench.case import Case
from workbench.errors import Cancelled, InputError
from workbench.figures import Heatmap, Table
from workbench.methods.cot import receivers, suppression
from workbench.methods.cot.places import sentence_spans, whole_text
from workbench.methods.cot.receivers import ReceiversRequest, ReceiversResult, receivers_figures
from workbench.methods.cot.suppression import SuppressRequest, SuppressResult, suppress_figures
from workbench.protocol import silent

SENTENCES = (
    "Rome is 1 city. ",
    "Tom has 3 apples. ",
    "So Tom has 3 + 4 = 7 apples. ",
    "It is Sydney. ",
    "The city is Paris. ",
    "The answer is 7.",
)
CASE = Case(prompt="What is a city?")
REQUEST = SuppressRequest(case=CASE, choices="Sydney; Rome is; Paris", reasoning="".join(SENTENCES))


def masked(model, tokens: list[int], start: int, stop: int):
    """A plain eager run under a mask that is written here: logits ``(tokens, vocabulary)``, weights of all layers."""
    hf = copy.deepcopy(model.hf)
    hf.set_attn_implementation("eager")
    n = len(tokens)
    allowed = torch.ones(n, n).tril().bool()
    allowed[stop:, start:stop] = False
    mask = torch.zeros(n, n).masked_fill(~allowed, torch.finfo(torch.float32).min)[None, None]
    window = getattr(hf.config, "sliding_window", None)
    given = mask
    if hf.config.model_type == "gemma2":
        near = torch.ones(n, n).tril().bool() & torch.ones(n, n).triu(1 - window).bool()
        given = {"full_attention": mask, "sliding_attention": mask.masked_fill(~near, torch.finfo(torch.float32).min)}
    # OPT counts positions by the mask, which has no rows here.
    places = {"position_ids": torch.arange(n)[None]} if hf.config.model_type == "opt" else {}
    with torch.no_grad():
        out = hf(
            input_ids=torch.tensor([tokens]), attention_mask=given, use_cache=False, output_attentions=True, **places
        )
    return out.logits[0].double(), [weights[0].numpy() for weights in out.attentions]


def own_spans(base) -> list[tuple[int, int]]:
    """Where sentences begin and end among the tokens: each token is its last character's."""
    text, at = whole_text(base), len(base.prompt + base.opened)
    offsets = tiny.tiny_tokenizer()(text, return_offsets_mapping=True)["offset_mapping"]
    spans = []
    for sentence in base.sentences:
        own = [place for place, (_, stop) in enumerate(offsets) if at < stop <= at + len(sentence)]
        assert text[offsets[own[0]][0] : offsets[own[-1]][1]].strip() == sentence.strip()
        spans.append((own[0], own[-1] + 1))
        at += len(sentence)
    return spans


@pytest.fixture(scope="module")
def model():
    return roomy("llama", template=TEMPLATE)


@pytest.fixture(scope="module")
def result(model) -> SuppressResult:
    return suppression.run(model, REQUEST, silent)


def test_sentences_are_found_among_the_tokens(model, result: SuppressResult) -> None:
    tokens, spans = sentence_spans(model, result.base)
    assert list(spans) == own_spans(result.base)
    assert list(tokens) == ids(model, whole_text(result.base))


@pytest.mark.parametrize("architecture", ["llama", *tiny.telling()])
def test_the_answer_and_later_sentences_are_those_of_a_run_under_a_mask(architecture: str) -> None:
    model = roomy(architecture, template=TEMPLATE)
    result = suppression.run(model, REQUEST, silent)
    text = whole_text(result.base)
    tokens = ids(model, text)
    plain, _ = masked(model, tokens, 0, 0)
    spans = own_spans(result.base)
    for suppressed in (0, 3):
        start, stop = spans[suppressed]
        logs = []
        for choice in result.base.candidates:
            joined = ids(model, text + choice.text)
            after = masked(model, joined, start, stop)[0].log_softmax(dim=-1)
            logs.append(sum(float(after[at - 1, joined[at]]) for at in range(len(tokens), len(joined))))
        expected = torch.tensor(logs).softmax(dim=-1)
        one = result.sentences[suppressed]
        assert torch.tensor(one.probabilities) == pytest.approx(expected, abs=1e-4)
        assert one.answer == int(expected.argmax())
        gone = masked(model, tokens, start, stop)[0]
        for later, (begin, end) in enumerate(spans):
            p, q = (some[begin - 1 : end - 1].log_softmax(dim=-1) for some in (plain, gone))
            kl = float((p.exp() * (p - q)).sum(dim=-1).mean())
            assert one.effects[later] == (None if later <= suppressed else pytest.approx(kl, rel=1e-2, abs=1e-5))
    assert any(effect > 1e-4 for one in result.sentences for effect in one.effects if effect is not None)
    assert all(check.level == "ok" for check in result.checks if check.name in ("eager", "before it"))


def test_free_answers_are_read_under_suppression_too(model) -> None:
    result = suppression.run(model, REQUEST.model_copy(update={"choices": ""}), silent)
    assert len(result.probabilities) == len(result.base.candidates)
    assert sum(result.probabilities) <= 1 + 1e-6


def test_suppression_is_drawn_on_the_way_and_can_be_cancelled(model, result: SuppressResult) -> None:
    partials: list[SuppressResult] = []

    def stop(done: int, total: int, partial: object = None, *, stage: str = "") -> None:
        if isinstance(partial, SuppressResult):
            partials.append(partial)
        if stage == "suppressing" and done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        suppression.run(model, REQUEST, stop)
    assert len(partials[-1].sentences) == 2
    for found in (partials[0], partials[-1], result):
        assert suppress_figures(found)
    table, effects, *_ = suppress_figures(result)
    assert isinstance(table, Table)
    assert [row[1].text for row in table.rows] == [sentence.strip() for sentence in SENTENCES]
    assert isinstance(effects, Heatmap)
    assert (len(effects.values), effects.values[1][0]) == (5, None)


@pytest.mark.parametrize("architecture", ["llama", *tiny.telling()])
def test_receiver_heads_are_those_of_the_highest_kurtosis(architecture: str) -> None:
    model = roomy(architecture, template=TEMPLATE)
    result = receivers.run(model, ReceiversRequest(case=CASE, reasoning="".join(SENTENCES), apart=2), silent)
    tokens = ids(model, whole_text(result.base))
    _, weights = masked(model, tokens, 0, 0)
    spans = own_spans(result.base)
    for layer, of_heads in enumerate(weights):
        for head, attention in enumerate(of_heads):
            vertical = []
            for at in range(4):
                received = [
                    np.mean([attention[q, k] for q in range(*spans[later]) for k in range(*spans[at])])
                    for later in range(at + 2, 6)
                ]
                vertical.append(np.mean(received))
            centered = np.array(vertical) - np.mean(vertical)
            expected = np.mean(centered**4) / np.mean(centered**2) ** 2 - 3
            assert result.kurtosis[layer][head] == pytest.approx(expected, abs=0.02)
            own = next((each for each in result.receivers if (each.layer, each.head) == (layer, head)), None)
            if own is not None:
                assert own.scores[:4] == pytest.approx(vertical, rel=1e-3, abs=1e-6)
                assert own.scores[4:] == (None, None)
    found = [each.kurtosis for each in result.receivers]
    assert found == sorted(found, reverse=True)
    assert found[0] == max(value for row in result.kurtosis for value in row if value is not None)
    assert len(receivers_figures(result)) == 4


def test_how_far_sentences_are_apart_is_the_papers_where_they_are_many(model) -> None:
    ten = ReceiversRequest(case=CASE, reasoning=" ".join(f"Tom has {n} apples." for n in range(10)))
    assert receivers.run(model, ten, silent).apart == 4
    six = ReceiversRequest(case=CASE, reasoning="".join(SENTENCES))
    found = receivers.run(model, six, silent)
    assert found.apart == 1
    assert next(check for check in found.checks if check.name == "vertical scores").level == "warn"
    with pytest.raises(InputError, match="lower --apart"):
        receivers.run(model, six.model_copy(update={"apart": 3}), silent)
    with pytest.raises(InputError, match="let the model reason longer"):
        receivers.run(model, six.model_copy(update={"reasoning": "Tom has 3 apples. It is 7."}), silent)


def test_receivers_can_be_cancelled_at_a_layer(model) -> None:
    partials: list[object] = []

    def stop(done: int, total: int, partial: object = None, *, stage: str = "") -> None:
        partials.append(partial)
        if stage == "attention" and done == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        receivers.run(model, ReceiversRequest(case=CASE, reasoning="".join(SENTENCES)), stop)
    assert isinstance(partials[-1], ReceiversResult)
    assert receivers_figures(partials[-1])
