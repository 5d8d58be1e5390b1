"""Direct logit attribution by head, against hooks and W_O cut by hand."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.methods.heads.plain import CASE, PROJECTIONS, projection, read_by, weights_of
from tests.test_edits import state_edit
from tests.tiny import ARCHITECTURES, telling, tiny_loaded
from workbench.errors import Cancelled, InputError, ModelError
from workbench.figures import Heatmap, Table
from workbench.methods.dla import logit_attribution as dla
from workbench.methods.dla.logit_attribution import DlaRequest
from workbench.methods.heads import HEADS, head_attribution
from workbench.methods.heads.attention import AttentionRequest
from workbench.methods.heads.head_attribution import HeadsRequest, HeadsResult
from workbench.protocol import silent

five = pytest.mark.parametrize("architecture", telling(opt_norm_after="opt_projected"))


def run(loaded, case=CASE, position=None, **settings):
    return head_attribution.run(loaded, HeadsRequest(case=case, position=position, **settings), silent)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_heads_are_found_whatever_the_architecture(architecture):
    heads = tiny_loaded(architecture).heads
    assert (heads.count, heads.width) == (4, 4)
    grouped = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "olmo2", "stablelm", "mixtral")
    assert heads.kv_heads == (1 if architecture == "falcon" else 2 if architecture in grouped else 4)
    if architecture in PROJECTIONS:
        assert heads.output_projection == PROJECTIONS[architecture]
    assert heads.normed == (architecture in ("gemma2", "gemma3_text", "olmo2"))


@five
def test_heads_of_a_layer_and_its_bias_sum_to_its_attention_and_all_parts_to_the_models_difference(architecture):
    loaded = tiny_loaded(architecture)
    for position in (-1, 2):
        result = run(loaded, position=position)
        whole = dla.run(loaded, DlaRequest(case=CASE, position=position), silent)
        for layer in range(loaded.info.layers):
            assert sum(result.heads[layer]) + result.biases[layer] == pytest.approx(whole.attention[layer], abs=1e-5)
        assert result.mlp == whole.mlp
        parts = (result.embedding, result.bias, *result.mlp, *result.biases, *(sum(row) for row in result.heads))
        assert sum(parts) == pytest.approx(result.difference, abs=1e-4)
        assert result.checks[0].level == "ok"
        assert max(abs(part) for row in result.heads for part in row) > 0.05  # there is something to take apart


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "falcon", "bloom", "gptj", "mixtral"])
def test_a_heads_part_is_its_slice_of_the_projection(architecture):
    loaded = tiny_loaded(architecture)
    result = run(loaded)
    read = read_by(loaded, architecture, result.encoded.ids)[:, -1].double()
    head = loaded.hf.get_output_embeddings().weight.double()
    target, foil = result.encoded.target.id, result.encoded.foil.id
    last = _last_state(loaded, result.encoded.ids)
    norm = loaded.hf.get_submodule(loaded.anatomy.final_norm)
    layered = isinstance(norm, torch.nn.LayerNorm)
    epsilon = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
    for layer in range(loaded.info.layers):
        weight = projection(loaded, architecture, layer).weight.double()
        weight = weight if type(projection(loaded, architecture, layer)).__name__ == "Conv1D" else weight.T
        for at in range(4):
            written = read[layer, at] @ weight[4 * at : 4 * at + 4]
            centred, own = (x - x.mean() if layered else x for x in (written, last))
            normed = norm.weight.double() * centred / ((own**2).mean() + epsilon).sqrt()
            assert result.heads[layer][at] == pytest.approx(float((head[target] - head[foil]) @ normed), abs=1e-5)


def _last_state(loaded, ids):
    with torch.no_grad():
        seen = []
        hook = loaded.block_modules[-1].register_forward_hook(
            lambda _m, _a, output: seen.append(output[0] if isinstance(output, tuple) else output)
        )
        loaded.hf(torch.tensor([ids]))
        hook.remove()
    return seen[0][0, -1].double()


@five
def test_the_largest_heads_look_where_the_eager_kernel_says(architecture):
    loaded = tiny_loaded(architecture)
    result = run(loaded, position=3, largest=4)
    weights = weights_of(loaded, result.encoded.ids)
    assert len(result.largest) == 4
    sizes = [abs(each.added) for each in result.largest]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == max(abs(part) for row in result.heads for part in row)
    for each in result.largest:
        assert each.added == result.heads[each.layer][each.head]
        for looked in each.looked_at:
            assert looked.weight == pytest.approx(float(weights[each.layer][each.head, 3, looked.token]), abs=1e-5)
        assert [at.weight for at in each.looked_at] == sorted((at.weight for at in each.looked_at), reverse=True)


def test_the_kernel_is_what_it_was_afterwards():
    loaded = tiny_loaded("llama")
    run(loaded)
    assert loaded.hf.config._attn_implementation == "sdpa"


def test_edits_of_states_have_parts_of_their_own():
    loaded = tiny_loaded("llama")
    loaded.edits.add(state_edit(loaded, "s"))
    result = run(loaded)
    assert result.edits is not None
    assert result.checks[0].level == "ok"


def test_half_precision_sums_as_far_as_it_goes():
    assert run(tiny_loaded("gemma2", dtype=torch.bfloat16)).checks[0].level == "ok"


def test_the_map_has_the_last_layer_on_top_and_a_head_in_it_opens_its_attention():
    loaded = tiny_loaded("gpt2")
    result = run(loaded, position=2)
    request = HeadsRequest(case=CASE, position=2)
    figures = HEADS.figures(result)
    (heatmap,) = [figure for figure in figures if isinstance(figure, Heatmap)]
    (table,) = [figure for figure in figures if isinstance(figure, Table)]
    assert heatmap.columns.labels == ("0", "1", "2", "3", "MLP")
    assert heatmap.values[0] == (*result.heads[-1], result.mlp[-1])
    assert HEADS.opens(request, result, heatmap, (0, 1)) == AttentionRequest(case=CASE, position=2, head="L2H1")
    assert HEADS.opens(request, result, heatmap, (0, 4)) is None  # an MLP
    first = result.largest[0]
    assert HEADS.opens(request, result, table, (0, 0)).head == f"L{first.layer}H{first.head}"
    assert HEADS.opens(request, result, figures[0], (0, 0)) is None


def test_a_model_without_attention_is_refused_in_a_sentence():
    loaded = tiny_loaded("llama")
    loaded.hf.config.num_attention_heads = 0
    with pytest.raises(ModelError, match="has no attention heads; use a transformer"):
        run(loaded)


def test_a_model_with_attention_in_some_layers_only_is_refused_in_a_sentence():
    loaded = tiny_loaded("llama")
    attention = loaded.attention(1)
    attention.forward = lambda hidden_states, **_: (hidden_states * 0.5, None)
    with pytest.raises(ModelError, match="only some layers"):
        run(loaded)


def test_attention_that_is_no_sum_over_heads_is_refused_in_a_sentence():
    loaded = tiny_loaded("llama")
    for layer in range(loaded.info.layers):
        own = loaded.attention(layer).forward
        loaded.attention(layer).forward = lambda *a, own=own, **k: tuple(
            torch.tanh(x) if x is not None and x.ndim == 3 else x for x in own(*a, **k)
        )
    with pytest.raises(ModelError, match="cannot be taken apart"):
        run(loaded)


def test_norms_after_the_residual_and_a_token_that_is_not_there_are_refused_in_a_sentence():
    with pytest.raises(ModelError, match="norms after its residual additions"):
        run(tiny_loaded("opt_norm_after"))
    with pytest.raises(InputError, match="there is no token 99"):
        run(tiny_loaded("llama"), position=99)


def test_it_can_be_cancelled_and_the_map_is_there_before_the_table():
    partial = []

    def cancelled(done, _total, found=None, *, stage=""):
        if found is not None:
            partial.append(found)
            raise Cancelled

    with pytest.raises(Cancelled):
        head_attribution.run(tiny_loaded("llama"), HeadsRequest(case=CASE), cancelled)
    assert partial[0].largest == ()
    assert HEADS.figures(partial[0])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"mlp": [0.0]}, "there are 1 of mlp and 3 of layers"),
        ({"n_heads": 5}, "there are 4 of heads and 5 of n_heads"),
        ({"position": 99}, "position is 99"),
    ],
)
def test_a_result_in_a_file_that_does_not_hold_together_is_refused(changed, sentence):
    written = run(tiny_loaded("llama")).model_dump(mode="json")
    assert HeadsResult.model_validate(copy.deepcopy(written)).model_dump(mode="json") == written
    with pytest.raises(ValueError, match=sentence):
        HeadsResult.model_validate(written | changed)
