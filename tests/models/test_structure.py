"""Architectures that no table lists: their parts are found, what cannot be had of them is said, and methods hold."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

import pytest
import torch
import transformers

from tests.tiny import _enliven, tiny_tokenizer
from workbench.errors import InputError, ModelError, WorkbenchError
from workbench.loading import LoadedModel, wrap
from workbench.models.anatomy import _keep, _keep_input, find_anatomy, tensor_of
from workbench.models.layouts import LAYOUTS
from workbench.protocol import silent
from workbench.registry import method
from workbench.scripting import request

IDS = torch.tensor([[5, 17, 200, 3, 9, 41]])
COMMON: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
MODERN = {**COMMON, "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2}
WIDE = {**MODERN, "head_dim": 4}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 12}
ROUTED = {**EXPERTS, "n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1}
ROUTED |= {"n_group": 1, "topk_group": 1}
LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4}
GRANITE = {"embedding_multiplier": 2.0, "logits_scaling": 3.0, "residual_multiplier": 0.3, "attention_multiplier": 0.2}
MIXED = ["linear_attention", "full_attention", "linear_attention"]
MAMBA = {"mamba_d_state": 4, "mamba_d_conv": 4}

CONFIGS: dict[str, dict[str, Any]] = {
    "granite": {**MODERN, **GRANITE},
    "glm4": {**WIDE, "partial_rotary_factor": 0.5},
    "mpt": {"vocab_size": 300, "d_model": 16, "n_heads": 4, "n_layers": 3, "expansion_ratio": 2, "max_seq_len": 256},
    "starcoder2": {**MODERN, "sliding_window": 4},
    "nanochat": WIDE,
    "gemma3": {  # the half of it that reads text
        "text_config": {**WIDE, "sliding_window": 4},
        "vision_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
        | {"image_size": 28, "patch_size": 14},
        "mm_tokens_per_image": 4,
        "image_token_index": 299,
        "boi_token_index": 298,
        "eoi_token_index": 297,
    },
    "deepseek_v2": {**MODERN, "num_key_value_heads": 4, **ROUTED, **LATENT, "head_dim": 4},
    "deepseek_v3": {**MODERN, "num_key_value_heads": 4, **ROUTED, **LATENT},
    "glm4_moe": {**WIDE, **ROUTED},
    "granitemoe": {**MODERN, **GRANITE, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {
        **MODERN,
        **EXPERTS,
        "num_experts": 4,
        "shared_expert_intermediate_size": 20,
        "mlp_only_layers": [0],
    },
    "granitemoeshared": {
        **MODERN,
        **GRANITE,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 20,
    },
    "flex_olmo": {**MODERN, "num_experts": 4, "num_experts_per_tok": 2},
    "llama4_text": {
        **WIDE,
        "intermediate_size_mlp": 40,
        "num_local_experts": 2,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 2,
        "moe_layers": [1],
    },
    "minimax": {
        **WIDE,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "layer_types": MIXED,
        "block_size": 8,
    },
    "gemma4_text": {
        **WIDE,
        "vocab_size_per_layer_input": 300,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 1,
        "layer_types": ["sliding_attention", "full_attention", "full_attention"],
        "global_head_dim": 4,
    },
    "lfm2": {**MODERN, "conv_L_cache": 3, "block_multiple_of": 4, "layer_types": ["conv", "full_attention", "conv"]},
    "qwen3_next": {
        **WIDE,
        **EXPERTS,
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 4,
        "linear_value_head_dim": 4,
        "shared_expert_intermediate_size": 12,
        "num_experts": 4,
        "layer_types": MIXED,
    },
    "falcon_h1": {
        **WIDE,
        **MAMBA,
        "mamba_d_ssm": 16,
        "mamba_n_heads": 4,
        "mamba_d_head": 4,
        "mamba_n_groups": 1,
        "mamba_chunk_size": 8,
    },
    "jamba": {
        **MODERN,
        **MAMBA,
        "mamba_expand": 2,
        "mamba_dt_rank": 4,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "use_mamba_kernels": False,
    },
    "mamba2": {**COMMON, "num_heads": 8, "head_dim": 4, "state_size": 4, "n_groups": 1, "chunk_size": 8},
}
DENSE = ("granite", "glm4", "mpt", "starcoder2", "nanochat", "gemma3")
SHARED = {
    "deepseek_v2": (40, 12, 12),
    "deepseek_v3": (40, 12, 12),
    "glm4_moe": (40, 12, 12),
    "llama4_text": (40, 40, 40),
    "qwen2_moe": (40, 20, 20),
    "granitemoeshared": (20, 20, 20),
}
"""Mixtures of experts of which one is shared, with the width of the MLP or the shared expert of each layer."""

RECURRENT = ("minimax", "gemma4_text", "lfm2", "qwen3_next", "falcon_h1", "jamba", "mamba2")
"""Not all of their layers keep keys and values: some have a state instead, or those of another layer."""

CASE = {"prompt": "The capital of Australia is ", "subject": "Australia", "target": "a", "foil": "b"}


@cache
def model_of(architecture: str) -> LoadedModel:
    config = transformers.AutoConfig.for_model(architecture, **CONFIGS[architecture])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(zlib.crc32(architecture.encode()))
    for name, parameter in model.named_parameters():
        _enliven(name, parameter.data, generator)
    return wrap(model.eval(), tiny_tokenizer(), architecture)


every_architecture = pytest.mark.parametrize("architecture", CONFIGS)


@every_architecture
def test_the_last_state_is_read_as_the_models_own_logits(architecture: str) -> None:
    model = model_of(architecture)
    assert model.anatomy.measured
    assert not any(architecture in layout.model_types for layout in LAYOUTS)
    states = []
    handle = model.block_modules[-1].register_forward_hook(lambda _m, _a, output: states.append(tensor_of(output)))
    with torch.no_grad():
        logits = model.hf(input_ids=IDS, use_cache=False).logits
        handle.remove()
        found = model.unembed(states[0])
    torch.testing.assert_close(found, logits, atol=2e-5, rtol=1e-4)
    assert logits.std() > 0.01


@every_architecture
def test_where_a_block_is_a_sum_the_parts_are_its_terms_and_elsewhere_it_is_said(architecture: str) -> None:
    model = model_of(architecture)
    sums = {"granite", "granitemoe", "granitemoeshared", "minimax", "gemma4_text", "falcon_h1", "mamba2"}.isdisjoint(
        [architecture]
    )
    assert model.anatomy.adds_up == sums
    seen: dict[tuple[int, str], torch.Tensor] = {}
    hooks: list[Any] = []
    for layer, block in enumerate(model.block_modules):
        parts = {"attention": model.attention(layer), "block": block}
        if model.anatomy.mlp:
            parts["mlp"] = model.mlp(layer)
        hooks += [module.register_forward_hook(_keep(seen, (layer, name))) for name, module in parts.items()]
        hooks.append(block.register_forward_pre_hook(_keep_input(seen, (layer, "input")), with_kwargs=True))
    with torch.no_grad():
        model.hf(input_ids=IDS, use_cache=False)
    for hook in hooks:
        hook.remove()
    for layer in range(model.info.layers):
        terms = [seen[layer, name] for name in ("input", "attention", "mlp") if (layer, name) in seen]
        off = (sum(terms) - seen[layer, "block"]).abs().max()
        assert (off < 1e-4) == sums or architecture == "mamba2"
    if not sums:
        with pytest.raises(ModelError, match=model.anatomy.not_sum):
            method("dla").run(model, request("dla", case=CASE), silent)


@every_architecture
def test_the_down_projection_makes_what_the_mlp_adds_or_there_is_none_and_that_is_said(architecture: str) -> None:
    model = model_of(architecture)
    if architecture in DENSE:
        weight = model.down_projection(1).weight
        assert tuple(weight.shape) == (16, model.anatomy.d_mlp)
        return
    if architecture in SHARED:
        assert model.anatomy.mlp_widths == SHARED[architecture]
        assert [tuple(model.down_projection(layer).weight.shape) for layer in range(3)] == [
            (16, width) for width in SHARED[architecture]
        ]
        named = {layer for layer in range(3) if "shared" in model.down_projection_path(layer)}
        assert set(model.anatomy.shared_experts) == named != set()
        return
    why = "keep no keys and values" if architecture in RECURRENT else "mixture of experts"
    with pytest.raises(ModelError, match=why):
        model.down_projection(1)


@every_architecture
def test_generated_text_is_that_of_whole_runs(architecture: str) -> None:
    model = model_of(architecture)
    assert model.anatomy.keeps == (architecture not in RECURRENT)
    found = method("continue").run(model, request("continue", case=CASE, tokens=4), silent)
    ids = list(found.encoded.ids)
    for token in found.generated:
        with torch.no_grad():
            p = model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].softmax(-1)
        assert float(p.max()) == pytest.approx(token.probability, abs=1e-4)
        ids.append(int(p.argmax()))


ASKED = {
    "lens": {"case": CASE},
    "attribution": {"case": CASE, "method": "input-x-gradient"},
    "trace": {"case": CASE, "samples": 2, "estimate": False},
    "cot": {"question": "What is it?", "sampling": {"tokens": 4}},
}


@every_architecture
@pytest.mark.parametrize("kind", ASKED)
def test_reading_methods_hold_their_own_checks(architecture: str, kind: str) -> None:
    if (architecture, kind) == ("gemma4_text", "attribution"):
        with pytest.raises(ModelError, match="looks its tokens up in other tables than its embedding"):
            method(kind).run(model_of(architecture), request(kind, **ASKED[kind]), silent)
        return
    result = method(kind).run(model_of(architecture), request(kind, **ASKED[kind]), silent)
    by_name = {check.name: check for check in result.checks}
    if kind == "lens":
        assert float(by_name["lens parity"].text) < 1e-4
    elif kind == "trace":
        assert ("plain" in by_name["path"].text) == (architecture in (*RECURRENT, "mpt"))


@pytest.mark.parametrize("architecture", SHARED)
def test_rome_on_a_shared_expert_adds_to_what_it_says_and_leaves_the_routed_ones_as_they_were(
    architecture: str,
) -> None:
    """Against plain hooks: what the shared expert's last matrix puts out gains δ (u · what it read)."""
    model = model_of(architecture)
    layer = model.anatomy.shared_experts[0]
    assert layer + 1 < model.info.layers  # or nothing after the subject could read the change
    before = {name: weight.clone() for name, weight in model.hf.named_parameters()}
    settings = {"layer": layer, "prefixes": 1, "steps": 10, "rate": 0.02, "kl": 0, "decay": 0}
    result = method("edit").run(model, request("edit", case=CASE, editor="rome", settings=settings, test=False), silent)
    with torch.no_grad():
        edited = model.hf(input_ids=IDS, use_cache=False).logits
    changed = [name for name, weight in model.hf.named_parameters() if not torch.equal(weight, before[name])]
    (change,) = model.edits.get(result.edit.id).changes
    model.edits.remove(result.edit.id)
    assert list(result.details.losses) == sorted(result.details.losses, reverse=True)
    assert changed == [model.down_projection_path(layer)]
    assert next(check for check in result.checks if check.name == "shared expert").level == "info"

    def hook(_module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        return output + (args[0] @ change.right) @ change.left.T

    handle = model.hf.get_submodule(changed[0].removesuffix(".weight")).register_forward_hook(hook)
    with torch.no_grad():
        expected = model.hf(input_ids=IDS, use_cache=False).logits
    handle.remove()
    torch.testing.assert_close(edited, expected, atol=1e-4, rtol=1e-4)
    assert all(torch.equal(weight, before[name]) for name, weight in model.hf.named_parameters())


@pytest.mark.parametrize("editor", ["memit", "alphaedit", "ft-m", "ft-batch", "grace"])
@pytest.mark.parametrize("architecture", ["deepseek_v3", "qwen2_moe"])
def test_other_editors_take_shared_experts_and_layers_of_several_widths(architecture: str, editor: str) -> None:
    model = model_of(architecture)
    where = {"memit": {"layers": (0, 1)}, "alphaedit": {"layers": (0, 1)}}.get(editor, {"layer": 1})
    asked = request("edit", case=CASE, editor=editor, settings=where, test=False)
    result = method("edit").run(model, asked, silent)
    model.edits.remove(result.edit.id)
    assert result.after[0].target > result.before[0].target


def test_no_network_is_trained_for_layers_of_several_widths() -> None:
    asked = request("train-editor", layers=(0, 1), steps=1)
    with pytest.raises(InputError, match="these layers have different widths"):
        method("train-editor").run(model_of("deepseek_v3"), asked, silent)


@pytest.mark.parametrize("architecture", DENSE)
def test_an_edit_of_weights_says_what_it_was_made_to_say(architecture: str) -> None:
    model = model_of(architecture)
    settings = {"layer": 1, "prefixes": 1, "steps": 10}
    asked = request("edit", case=CASE, editor="rome", settings=settings, test=False)
    before = model.down_projection(1).weight.clone()
    result = method("edit").run(model, asked, silent)
    assert result.after[0].target > result.before[0].target
    model.edits.remove(result.edit.id)
    assert torch.equal(model.down_projection(1).weight, before)


def test_several_streams_and_missing_parts_are_said_in_words() -> None:
    config = transformers.AutoConfig.for_model(
        "gemma3n_text",
        **{**WIDE, "intermediate_size": [40] * 3},
        vocab_size_per_layer_input=300,
        hidden_size_per_layer_input=8,
        num_kv_shared_layers=1,
        layer_types=["sliding_attention", "full_attention", "full_attention"],
        activation_sparsity_pattern=[0.0] * 3,
        laurel_rank=4,
        altup_num_inputs=2,
        altup_active_idx=0,
    )
    with pytest.raises(ModelError, match="keeps 2 streams of states beside one another") as refusal:
        find_anatomy(transformers.AutoModelForCausalLM.from_config(config).eval())
    assert "model.layers" not in str(refusal.value)
    for kind, asked, why in (
        ("trace", {"case": CASE, "kinds": ("states", "mlp")}, "has blocks without an MLP; leave mlp out"),
        ("knockout", {"case": CASE}, "has no attention heads"),
    ):
        with pytest.raises(WorkbenchError, match=why):
            method(kind).run(model_of("mamba2"), request(kind, **asked), silent)
