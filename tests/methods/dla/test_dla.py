"""Direct logit attribution on tiny models of five architectures, against hooks and the norms written out by hand."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.test_edits import state_edit, weight_edit
from tests.tiny import telling, tiny_loaded, tiny_tokenizer
from workbench.case import Case
from workbench.errors import Cancelled, InputError, ModelError
from workbench.methods.dla import logit_attribution as dla
from workbench.methods.dla.logit_attribution import DlaRequest, DlaResult
from workbench.methods.lens import logit_lens
from workbench.methods.lens.logit_lens import LensRequest
from workbench.models.anatomy import tensor_of
from workbench.models.tokens import encode
from workbench.protocol import silent
from workbench.settings import settings_of

CASE = Case(prompt="The capital of Australia is", target=",", foil=".")
NORMS_AFTER = "opt_norm_after"
five = pytest.mark.parametrize("architecture", telling(opt_norm_after="opt_projected"))


def run(loaded, case=CASE, position=None):
    return dla.run(loaded, DlaRequest(case=case, position=position), silent)


def by_hand(loaded, case, position, *, frozen=True):
    """Parts by name, the last state's scale held (or, for the twin that must not sum, each part's own)."""
    encoded = encode(loaded.tokenizer, case)
    seen = {}

    def keep(name):
        return lambda _module, _args, output: seen.update({name: tensor_of(output)[0, position].double()})

    def keep_input(_module, args, kwargs):
        seen.update(embedding=(args[0] if args else kwargs["hidden_states"])[0, position].double())

    hooks = [loaded.block_modules[0].register_forward_pre_hook(keep_input, with_kwargs=True)]
    hooks += [loaded.block_modules[-1].register_forward_hook(keep("last"))]
    for layer in range(loaded.info.layers):
        hooks.append(loaded.attention(layer).register_forward_hook(keep(("attention", layer))))
        hooks.append(loaded.mlp(layer).register_forward_hook(keep(("mlp", layer))))
    with torch.no_grad():
        logits = loaded.hf(input_ids=torch.tensor([encoded.ids])).logits[0, position].double()
    for hook in hooks:
        hook.remove()

    head = loaded.hf.get_output_embeddings()
    biases = torch.zeros(len(head.weight)) if getattr(head, "bias", None) is None else head.bias
    target = encoded.target.id if encoded.target else int(logits.argmax())
    u, bias = head.weight[target].double(), float(biases[target])
    if encoded.foil:
        u, bias = u - head.weight[encoded.foil.id].double(), bias - float(biases[encoded.foil.id])
    if loaded.anatomy.projection:
        u = u @ loaded.hf.get_submodule(loaded.anatomy.projection).weight.double()

    norm, last = loaded.hf.get_submodule(loaded.anatomy.final_norm), seen.pop("last")
    is_layer_norm = isinstance(norm, torch.nn.LayerNorm)
    epsilon = norm.eps if hasattr(norm, "eps") else norm.variance_epsilon
    weight = norm.weight.double() + ("Gemma" in type(norm).__name__)

    def centred(x):
        return x - x.mean() if is_layer_norm else x

    def scale(x):
        return ((centred(x) ** 2).mean() + epsilon).sqrt()

    if is_layer_norm:
        bias += float(u @ norm.bias.double())
    parts = {name: float(u @ (weight * centred(x) / scale(last if frozen else x))) for name, x in seen.items()}
    difference = logits[target] - (logits[encoded.foil.id] if encoded.foil else 0)
    return {**parts, "bias": bias}, float(difference), float(scale(last))


CHANGES = ({}, {"foil": None}, {"target": None, "foil": None}, {"prepend": "separator"}, {"prepend": "newline"})


@five
def test_the_parts_are_those_computed_by_hand_and_sum_to_the_models_own_difference(architecture):
    loaded = tiny_loaded(architecture)
    for case, position in [(CASE.model_copy(update=changes), at) for changes in CHANGES for at in (-1, 2)]:
        result = run(loaded, case, position)
        parts, difference, scale = by_hand(loaded, case, position)
        assert result.position == position % len(result.encoded.ids)
        assert result.embedding == pytest.approx(parts["embedding"], abs=1e-5)
        for layer in range(loaded.info.layers):
            assert result.attention[layer] == pytest.approx(parts["attention", layer], abs=1e-5)
            assert result.mlp[layer] == pytest.approx(parts["mlp", layer], abs=1e-5)
        assert result.bias == pytest.approx(parts["bias"], abs=1e-5)
        assert result.norm_scale == pytest.approx(scale, rel=1e-5)
        assert result.edits is None
        summed = result.embedding + sum(result.attention) + sum(result.mlp) + result.bias
        assert summed == pytest.approx(result.difference, abs=1e-4)
        assert result.total == pytest.approx(summed, abs=1e-5)
        if loaded.anatomy.softcap is None:
            assert result.difference == pytest.approx(difference, abs=1e-4)
        assert (result.checks[0].name, result.checks[0].level) == ("sum", "ok")
        assert sum(map(abs, result.attention + result.mlp)) > 0.1  # there is something to take apart


def test_without_a_target_it_is_the_first_choice_that_is_taken_apart_and_a_foil_counts_where_it_is_another():
    loaded = tiny_loaded("llama")
    first = run(loaded, CASE.model_copy(update={"target": None, "foil": None}))
    assert first.target == logit_lens.run(loaded, LensRequest(case=CASE), silent).columns[-1].top_tokens[-1][0]
    assert first.foil is None
    against = run(loaded, CASE.model_copy(update={"target": None}))
    assert (against.target, against.foil) == (first.target, ".")
    assert against.difference != pytest.approx(first.difference, abs=1e-2)


def test_a_foil_that_is_the_first_choice_itself_is_left_out():
    loaded = tiny_loaded("gptj")
    loaded.hf.lm_head.bias[encode(loaded.tokenizer, CASE).foil.id] += 100
    result = run(loaded, CASE.model_copy(update={"target": None}))
    assert (result.target, result.foil) == (".", None)
    assert result.difference > 50
    assert result.checks[0].level == "ok"


@five
def test_with_each_parts_own_scale_in_place_of_the_frozen_one_they_do_not_sum(architecture):
    loaded = tiny_loaded(architecture)
    parts, _, _ = by_hand(loaded, CASE, -1, frozen=False)
    assert abs(sum(parts.values()) - run(loaded).difference) > 0.05


def test_a_softcap_comes_after_the_sum_and_is_spoken_of():
    loaded = tiny_loaded("gemma2")
    case = CASE.model_copy(update={"target": None, "foil": None})
    result = run(loaded, case)
    _, capped, _ = by_hand(loaded, case, -1)
    cap = loaded.anatomy.softcap
    assert cap * torch.tensor(result.total / cap).tanh().item() == pytest.approx(capped, abs=1e-5)
    assert result.total != pytest.approx(capped, abs=1e-2)
    (said,) = [check.text for check in result.checks if check.name == "softcap"]
    assert said == f"the parts sum to what stands before the softcap of 5; after it {capped:+.2f}"


def test_logits_are_taken_apart_after_they_were_scaled():
    loaded = tiny_loaded("llama")
    plain = run(loaded)
    scaled = copy.copy(loaded)
    object.__setattr__(scaled, "anatomy", type(loaded.anatomy)(**{**vars(loaded.anatomy), "logit_scale": 0.25}))
    result = run(scaled)
    assert result.mlp == pytest.approx([part / 4 for part in plain.mlp], rel=1e-5)
    assert result.checks[0].level == "ok"


def test_a_chat_template_around_the_prompt_changes_nothing_about_the_sum():
    loaded = tiny_loaded("llama")
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = "Q: {{ messages[0].content }} A:"
    object.__setattr__(loaded, "tokenizer", tokenizer)
    case = CASE.model_copy(update={"chat": True})
    result = run(loaded, case)
    assert result.encoded.prepended > 0
    assert result.encoded.appended > 0
    parts, difference, _ = by_hand(loaded, case, -1)
    assert result.mlp[1] == pytest.approx(parts["mlp", 1], abs=1e-5)
    assert result.total == pytest.approx(difference, abs=1e-4)


@five
def test_edits_of_states_have_parts_of_their_own(architecture):
    loaded = tiny_loaded(architecture)
    loaded.edits.add(state_edit(loaded, "s"))
    result = run(loaded)
    assert result.edits is not None
    assert [bool(part) for part in result.edits] == [layer == 1 for layer in range(loaded.info.layers)]
    summed = result.embedding + sum((*result.attention, *result.mlp, *result.edits)) + result.bias
    assert summed == pytest.approx(result.difference, abs=1e-4)
    assert result.checks[0].level == "ok"


def test_an_edited_weight_is_in_its_layers_part():
    loaded = tiny_loaded("llama")
    before = run(loaded)
    loaded.edits.add(weight_edit(loaded, "a", layer=2))
    after = run(loaded)
    assert after.edits is None
    assert after.mlp[2] != pytest.approx(before.mlp[2], abs=1e-2)
    assert after.checks[0].level == "ok"


def test_half_precision_sums_as_far_as_it_goes():
    result = dla.run(tiny_loaded("llama", dtype=torch.bfloat16), DlaRequest(case=CASE), silent)
    assert result.checks[0].level == "ok"
    assert result.total == pytest.approx(run(tiny_loaded("llama")).total, abs=0.1)


def test_what_does_not_sum_is_warned_of(monkeypatch):
    loaded = tiny_loaded("llama")
    mlp = loaded.mlp(1)
    mlp.register_forward_hook(lambda _module, _args, output: output + 1)  # after what nnsight reads
    check = run(loaded).checks[0]
    assert check.level == "warn"


def test_a_model_with_norms_after_the_residual_is_refused_in_a_sentence():
    with pytest.raises(ModelError, match="norms after its residual additions"):
        run(tiny_loaded(NORMS_AFTER))


def test_a_final_norm_of_another_kind_is_refused_in_a_sentence():
    loaded = tiny_loaded("llama")
    norm = loaded.hf.get_submodule(loaded.anatomy.final_norm)
    norm.forward = lambda x: torch.tanh(x)
    with pytest.raises(ModelError, match="neither a layer norm nor an RMS norm"):
        run(loaded)


@pytest.mark.parametrize("position", [99, -99])
def test_a_token_outside_the_prompt_is_refused_in_a_sentence(position):
    with pytest.raises(InputError, match="there is no token"):
        run(tiny_loaded("llama"), position=position)


def test_it_can_be_cancelled_before_the_model_runs():
    loaded = tiny_loaded("llama")

    def cancelled(*_args, **_kwargs):
        raise Cancelled

    with pytest.raises(Cancelled):
        dla.run(loaded, DlaRequest(case=CASE), cancelled)


def test_the_token_is_all_that_can_be_set():
    assert [setting.name for setting in settings_of(DlaRequest)] == ["position"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"attention": [0.0]}, "there are 1 of attention and 3 of layers"),
        ({"edits": [0.0] * 4}, "there are 4 of edits and 3 of layers"),
        ({"position": 99}, "position is 99"),
        ({"layers": 0}, "layers"),
    ],
)
def test_a_result_in_a_file_that_does_not_hold_together_is_refused(changed, sentence):
    written = run(tiny_loaded("llama")).model_dump(mode="json")
    assert DlaResult.model_validate(written).model_dump(mode="json") == written
    with pytest.raises(ValueError, match=sentence):
        DlaResult.model_validate(written | changed)
