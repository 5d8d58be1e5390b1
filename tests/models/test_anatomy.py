"""Every part is where the anatomy says, and does what it says there, for every supported architecture."""

from __future__ import annotations

import nnsight
import pytest
import torch
import transformers

from tests.tiny import ARCHITECTURES, CONTEXT, D_MODEL, HEADS, LAYERS, VOCABULARY, tiny_loaded, tiny_model
from workbench.errors import ModelError
from workbench.models.anatomy import find_anatomy, tensor_of, with_tensor
from workbench.models.layouts import LAYOUTS

IDS = torch.tensor([[5, 17, 200, 3, 42, 99, 250, 8], [7, 7, 130, 11, 260, 31, 2, 64]])
BATCH, TOKENS = IDS.shape

every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


@every_architecture
def test_unembedding_the_last_state_gives_the_models_own_logits(architecture):
    loaded = tiny_loaded(architecture)
    with torch.no_grad(), loaded.nn.trace(input_ids=IDS, use_cache=False):
        last = nnsight.save(tensor_of(loaded.nn.blocks[-1].output, BATCH))
        logits = nnsight.save(loaded.nn.output.logits)
    read = loaded.unembed(last)
    assert read.shape == (BATCH, TOKENS, VOCABULARY)
    assert (read - logits).abs().max() < 1e-5
    assert logits.std() > 0.3  # numbers a mistake would show in


@every_architecture
def test_attention_and_mlp_add_up_to_what_the_block_adds(architecture):
    loaded = tiny_loaded(architecture)
    befores, attentions, mlps, afters = _residual_stream(loaded)
    for before, attention, mlp, after in zip(befores, attentions, mlps, afters, strict=True):
        error = (before + attention + mlp - after).abs().max()
        assert attention.std() > 0.05
        assert mlp.std() > 0.05
        assert (error < 1e-5) == loaded.anatomy.adds_up


def test_only_norms_after_the_residual_do_not_add_up():
    assert [name for name in ARCHITECTURES if not tiny_loaded(name).anatomy.adds_up] == ["opt_norm_after"]


@every_architecture
def test_every_part_has_the_shape_that_is_documented(architecture):
    loaded = tiny_loaded(architecture)
    anatomy, nn = loaded.anatomy, loaded.nn
    has_down_projection = anatomy.down_projection is not None
    with torch.no_grad(), nn.trace(input_ids=IDS, use_cache=False):
        embedded = nnsight.save(nn.embedding.output)
        block_input = nnsight.save(nn.blocks[1].input)
        attention = nnsight.save(tensor_of(nn.blocks[1].attention.output, BATCH))
        hidden = nnsight.save([])
        if has_down_projection:
            hidden.append(tensor_of(nn.blocks[1].down_projection.input, BATCH))
        mlp = nnsight.save(tensor_of(nn.blocks[1].mlp.output, BATCH))
        block = nnsight.save(tensor_of(nn.blocks[1].output, BATCH))
        logits = nnsight.save(nn.unembedding.output)
    assert embedded.shape[:2] == (BATCH, TOKENS)
    for states in (block_input, attention, mlp, block):
        assert states.shape == (BATCH, TOKENS, D_MODEL)
    assert [states.shape for states in hidden] == [(BATCH, TOKENS, anatomy.d_mlp)] * has_down_projection
    assert logits.shape == (BATCH, TOKENS, VOCABULARY)
    assert anatomy.d_model == D_MODEL
    assert anatomy.n_layers == len(loaded.block_modules) == len(nn.blocks)
    assert anatomy.n_layers == (2 if architecture == "gpt_neo" else LAYERS)


@every_architecture
def test_the_down_projection_is_the_mlps_last_step(architecture):
    loaded = tiny_loaded(architecture)
    if loaded.anatomy.down_projection is None:
        assert loaded.anatomy.down_projection_missing == "mixture of experts"
        with pytest.raises(ModelError, match="mixture of experts"):
            loaded.down_projection(0)
        return
    nn = loaded.nn
    with torch.no_grad(), nn.trace(input_ids=IDS, use_cache=False):
        key = nnsight.save(nn.blocks[1].down_projection.input)
        value = nnsight.save(nn.blocks[1].down_projection.output)
    module = loaded.down_projection(1)
    weight = module.weight if loaded.anatomy.down_projection_in_first else module.weight.T  # (d_mlp, d_model)
    assert weight.shape == (loaded.anatomy.d_mlp, D_MODEL)
    bias = module.bias if module.bias is not None else 0.0
    assert torch.allclose(key @ weight + bias, value, atol=1e-5)


def test_the_down_projection_of_gpt2_is_stored_input_first_and_llamas_is_not():
    assert tiny_loaded("gpt2").anatomy.down_projection_in_first
    assert not tiny_loaded("llama").anatomy.down_projection_in_first


@every_architecture
def test_torch_modules_and_nnsight_names_are_the_same_modules(architecture):
    loaded = tiny_loaded(architecture)
    nn = loaded.nn
    assert nn.embedding._module is loaded.embedding
    for layer, block in enumerate(loaded.block_modules):
        assert nn.blocks[layer]._module is block
        assert block is loaded.anatomy.block(loaded.hf, layer)
        assert nn.blocks[layer].attention._module is loaded.attention(layer)
        assert nn.blocks[layer].mlp._module is loaded.mlp(layer)


@every_architecture
def test_a_contribution_that_is_taken_away_is_gone_from_the_stream(architecture):
    loaded = tiny_loaded(architecture)
    nn, anatomy = loaded.nn, loaded.anatomy
    with torch.no_grad(), nn.trace(input_ids=IDS, use_cache=False):
        before = nnsight.save(nn.blocks[1].input)
        attention = nn.blocks[1].attention.output
        nn.blocks[1].attention.output = with_tensor(attention, torch.zeros(BATCH, TOKENS, D_MODEL))
        mlp = nn.blocks[1].mlp.output
        nn.blocks[1].mlp.output = with_tensor(mlp, torch.zeros(BATCH, TOKENS, D_MODEL))
        after = nnsight.save(tensor_of(nn.blocks[1].output, BATCH))
    assert torch.allclose(before, after, atol=1e-6) == anatomy.adds_up


@pytest.mark.parametrize("architecture", ["falcon", "opt", "gpt_neo", "bloom"])
def test_writing_into_the_tensor_of_an_output_changes_what_the_model_goes_on_with(architecture):
    loaded = tiny_loaded(architecture)
    nn = loaded.nn
    with torch.no_grad(), nn.trace(input_ids=IDS, use_cache=False):
        before = nnsight.save(nn.blocks[0].input)
        attention = nnsight.save(tensor_of(nn.blocks[0].attention.output, BATCH))
        tensor_of(nn.blocks[0].mlp.output, BATCH)[:] = 3.0
        after = nnsight.save(tensor_of(nn.blocks[0].output, BATCH))
    assert torch.allclose(after, before + attention + 3.0, atol=1e-5)


def test_a_listed_type_without_the_parts_of_its_layout_is_refused():
    model = tiny_model("llama")
    del model.model.norm
    with pytest.raises(ModelError, match=r"this llama model lacks model\.norm;"):
        find_anatomy(model)


@pytest.mark.parametrize(
    ("config_class", "settings", "attention"),
    [
        ("GemmaConfig", {}, "self_attn"),
        ("Olmo3Config", {}, "post_attention_layernorm"),
        ("CohereConfig", {"logit_scale": 0.25}, "self_attn"),
        ("Qwen3MoeConfig", {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}, "self_attn"),
    ],
)
def test_an_unlisted_type_is_recognised_by_its_names_and_a_forward_pass(config_class, settings, attention):
    model = _unlisted(config_class, **settings)
    anatomy = find_anatomy(model)
    assert anatomy.measured
    assert anatomy.attention == attention
    assert anatomy.logit_scale == settings.get("logit_scale", 1.0)
    assert anatomy.d_mlp == settings.get("moe_intermediate_size", 40)
    assert not any(model.config.model_type in layout.model_types for layout in LAYOUTS)
    assert not model.model.layers[0]._forward_hooks
    assert not model.model.layers[0]._forward_pre_hooks


def _residual_stream(loaded):
    """Block inputs, contributions and block outputs of each layer, each ``(batch, tokens, d_model)``."""
    nn = loaded.nn
    with torch.no_grad(), nn.trace(input_ids=IDS, use_cache=False):
        befores, attentions, mlps, afters = (nnsight.save([]) for _ in range(4))
        for block in nn.blocks:
            befores.append(block.input)
            attentions.append(tensor_of(block.attention.output, BATCH))
            mlps.append(tensor_of(block.mlp.output, BATCH))
            afters.append(tensor_of(block.output, BATCH))
    return befores, attentions, mlps, afters


def _unlisted(config_class, **settings):
    torch.manual_seed(0)
    config = getattr(transformers, config_class)(
        vocab_size=VOCABULARY,
        hidden_size=D_MODEL,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        head_dim=4,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        pad_token_id=None,
        bos_token_id=0,
        eos_token_id=0,
        **settings,
    )
    return transformers.AutoModelForCausalLM.from_config(config).eval()
