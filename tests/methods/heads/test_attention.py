"""Attention patterns against the eager kernel's own, and what arrives from each token against the head's part."""

from __future__ import annotations

import pytest
import torch

from tests.methods.heads.plain import CASE, weights_of
from tests.tiny import telling, tiny_loaded
from workbench.case import Case
from workbench.errors import InputError
from workbench.figures import Heatmap, TokenScores
from workbench.methods.heads import ATTENTION, attention, head_attribution
from workbench.methods.heads.attention import AttentionRequest, AttentionResult, sinks
from workbench.methods.heads.head_attribution import HeadsRequest
from workbench.protocol import silent

LONG = Case(prompt="The capital of Australia is Canberra, and the largest city of Australia is", target=",", foil=".")

# Grouped queries, one head of keys and values for all, a sliding window, ALiBi.
shapes = pytest.mark.parametrize(
    "architecture", [*telling(opt_norm_after="opt_projected"), "llama", "falcon", "mistral", "bloom", "olmo2"]
)


def run(loaded, case=CASE, **settings):
    return attention.run(loaded, AttentionRequest(case=case, **settings), silent)


@shapes
def test_weights_are_the_eager_kernels_whatever_the_kernel_and_the_shape_of_heads(architecture):
    loaded = tiny_loaded(architecture)
    for layer, head, position in ((0, 3, None), (1, 1, 4)):
        result = run(loaded, LONG, head=f"L{layer}H{head}", position=position)
        weights = weights_of(loaded, result.encoded.ids)[layer][head]
        assert result.weights == pytest.approx(weights[result.position, : result.position + 1].tolist(), abs=1e-5)
        for token, row in enumerate(result.grid):
            assert row == pytest.approx(weights[token, : token + 1].tolist(), abs=1e-4)
        assert sum(result.weights) == pytest.approx(1, abs=1e-4)
        assert [check.level for check in result.checks] == ["ok", "ok"]


def test_a_sliding_window_is_seen():
    result = run(tiny_loaded("mistral"), LONG, head="L1H0")
    assert all(weight == 0 for weight in result.weights[:-4])
    assert all(weight > 0 for weight in result.weights[-4:])


@shapes
def test_what_arrives_from_all_tokens_is_what_the_head_adds(architecture):
    loaded = tiny_loaded(architecture)
    by_head = head_attribution.run(loaded, HeadsRequest(case=CASE), silent).heads
    for layer, head in ((0, 0), (1, 2)):
        result = run(loaded, head=f"{layer}.{head}")
        assert result.added == pytest.approx(by_head[layer][head], abs=1e-5)
        assert sum(result.arriving) == pytest.approx(result.added, abs=1e-4)
        assert max(map(abs, result.arriving)) > 1e-3


def test_without_a_head_it_is_the_one_that_adds_most():
    loaded = tiny_loaded("llama")
    heads = torch.tensor(head_attribution.run(loaded, HeadsRequest(case=CASE), silent).heads)
    result = run(loaded)
    assert abs(result.added) == pytest.approx(float(heads.abs().max()), abs=1e-6)
    assert (result.layer, result.head) == divmod(int(heads.abs().argmax()), 4)


def test_the_tokens_that_it_raises_are_those_of_its_slice_read_by_the_unembedding():
    loaded = tiny_loaded("llama")
    result = run(loaded, head="L2H1")
    assert result.shared_by == 2
    scores = [each.logit for each in result.raises]
    assert scores == sorted(scores, reverse=True)
    assert result.lowers[0].logit < 0 < scores[0]
    by_target = run(loaded, CASE.model_copy(update={"foil": None}), head="L2H1")
    named = {each.text: each.logit for each in (*result.raises, *result.lowers)}
    if by_target.target in named:
        assert by_target.added == pytest.approx(named[by_target.target], abs=1e-3)


def test_a_token_that_most_others_look_at_is_a_sink():
    weights = torch.eye(6) * 0.5
    weights[:, 0] += 0.5
    assert sinks(weights) == (0,)
    assert sinks(torch.eye(6)) == ()
    assert sinks(torch.ones(2, 2)) == ()


def test_a_long_prompt_has_no_grid(monkeypatch):
    monkeypatch.setattr(attention, "GRID", 4)
    result = run(tiny_loaded("llama"))
    assert result.grid == ()
    assert not any(isinstance(figure, Heatmap) for figure in ATTENTION.figures(result))


def test_figures_show_the_same_weights():
    result = run(tiny_loaded("gpt2"), LONG, position=5, head="L1H1")
    looks, arrives = [figure for figure in ATTENTION.figures(result) if isinstance(figure, TokenScores)]
    assert looks.scores[:6] == result.weights
    assert looks.attributed == (0, 6)
    assert arrives.scores[:6] == result.arriving
    (grid,) = [figure for figure in ATTENTION.figures(result) if isinstance(figure, Heatmap)]
    assert grid.values[5][:6] == result.grid[5]
    assert set(grid.values[5][6:]) == {0.0}


@pytest.mark.parametrize(
    ("head", "sentence"),
    [
        ("L9H0", "there is no layer 9: the model has 3"),
        ("L0H4", "there is no head 4 in layer 0: each has 4"),
        ("the third", "does not name a head; write layer and head, as in L23H4"),
    ],
)
def test_a_head_that_does_not_exist_is_refused_in_a_sentence(head, sentence):
    with pytest.raises(InputError, match=sentence):
        run(tiny_loaded("llama"), head=head)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"weights": [0.5]}, "there are 1 of weights"),
        ({"grid": [[1.0]]}, "there are 1 of grid"),
        ({"sinks": [99]}, "a sink is 99"),
    ],
)
def test_a_result_in_a_file_that_does_not_hold_together_is_refused(changed, sentence):
    written = run(tiny_loaded("llama")).model_dump(mode="json")
    assert AttentionResult.model_validate(written).model_dump(mode="json") == written
    with pytest.raises(ValueError, match=sentence):
        AttentionResult.model_validate(written | changed)
