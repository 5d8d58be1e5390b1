"""Tiny random models of every supported architecture, and a tokenizer, so that numerics are tested in milliseconds.

The weights are larger than a fresh initialisation (which is nearly the identity), so that attention, MLPs, norms
and softcaps all show in the logits and a test that ignores one of them fails.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from workbench.loading import wrap

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

torch.set_num_threads(1)  # more threads only slow such small tensors down

VOCABULARY = 300
D_MODEL = 16
LAYERS = 3
HEADS = 4
CONTEXT = 64

_COMMON: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
_MODERN: dict[str, Any] = {
    **_COMMON,
    "hidden_size": D_MODEL,
    "intermediate_size": 40,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": CONTEXT,
}
_GROUPED: dict[str, Any] = {**_MODERN, "num_key_value_heads": 2, "head_dim": 4}
_GPT: dict[str, Any] = {
    **_COMMON,
    "n_embd": D_MODEL,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_positions": CONTEXT,
    "n_inner": 40,
}
_OPT: dict[str, Any] = {
    **_COMMON,
    "hidden_size": D_MODEL,
    "ffn_dim": 40,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": CONTEXT,
}
_FALCON: dict[str, Any] = {
    **_COMMON,
    "hidden_size": D_MODEL,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "ffn_hidden_size": 40,
    "max_position_embeddings": CONTEXT,
}
_GEMMA: dict[str, Any] = {
    **_GROUPED,
    "sliding_window": 4,
    "query_pre_attn_scalar": 4,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}

# Name: (configuration class, its settings). Sliding windows are shorter than the tests' prompts, so they matter.
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", _GPT),
    "gpt_neo": (
        "GPTNeoConfig",
        {
            **_COMMON,
            "hidden_size": D_MODEL,
            "intermediate_size": 40,
            "num_layers": 2,
            "num_heads": HEADS,
            "max_position_embeddings": CONTEXT,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 4,
        },
    ),
    "gptj": ("GPTJConfig", {**_GPT, "rotary_dim": 2, "tie_word_embeddings": False}),
    "gpt_neox": ("GPTNeoXConfig", _MODERN),
    "gpt_neox_sequential": ("GPTNeoXConfig", {**_MODERN, "use_parallel_residual": False}),
    "opt": ("OPTConfig", {**_OPT, "word_embed_proj_dim": D_MODEL}),
    "opt_projected": ("OPTConfig", {**_OPT, "word_embed_proj_dim": 8}),
    # As OPT-350m: the norms stand after the residual, and there is none at the end.
    "opt_norm_after": ("OPTConfig", {**_OPT, "word_embed_proj_dim": 8, "do_layer_norm_before": False}),
    "bloom": ("BloomConfig", {**_COMMON, "hidden_size": D_MODEL, "n_layer": LAYERS, "n_head": HEADS}),
    "falcon": ("FalconConfig", _FALCON),
    "falcon_grouped": ("FalconConfig", {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "phi": ("PhiConfig", _MODERN),
    "llama": ("LlamaConfig", {**_GROUPED, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {**_GROUPED, "sliding_window": 4}),
    "qwen2": ("Qwen2Config", {**_MODERN, "num_key_value_heads": 2}),
    "qwen3": ("Qwen3Config", _GROUPED),
    "gemma2": ("Gemma2Config", {**_GEMMA, "final_logit_softcapping": 5.0, "attn_logit_softcapping": 2.0}),
    "gemma3_text": ("Gemma3TextConfig", _GEMMA),
    "olmo2": ("Olmo2Config", {**_MODERN, "num_key_value_heads": 2}),
    "stablelm": ("StableLmConfig", {**_MODERN, "num_key_value_heads": 2}),
    "mixtral": ("MixtralConfig", {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2}),
}

ARCHITECTURES: tuple[str, ...] = tuple(_CONFIGS)
"""All of them, for what finds the parts of a model and cuts its forward pass up."""


def telling(**instead: str) -> tuple[str, ...]:
    """Five architectures for what a method does with the parts, one for each thing that it may trip over.

    Transposed matrices, learned positions and one matrix for both embeddings; norms after the residual, none at the
    end and projected embeddings; attention and MLP side by side and an unembedding with biases; norms around
    everything, a softcap and a sliding window; a mixture of experts. Where a method takes one of them not at all, or
    there is one that tells more, ``instead`` names another in its place.
    """
    return tuple(instead.get(name, name) for name in ("gpt2", "opt_norm_after", "gptj", "gemma2", "mixtral"))


_SENTENCES = (
    "The capital of Australia is Canberra, and the largest city of Australia is Sydney.",
    "The Eiffel Tower is located in the city of Paris. The Colosseum is located in the city of Rome.",
    "Tom has 3 apples and buys 4 more, so Tom has 3 + 4 = 7 apples. The answer is 7.",
    "What is the capital of France? The capital of France is Paris.",
)


def tiny_model(architecture: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """A causal language model of 2 or 3 layers, d_model 16 and vocabulary 300, in eval mode.

    The same `architecture` and `seed` give the same weights, whatever else was drawn before.
    """
    class_name, settings = _CONFIGS[architecture]
    config = getattr(transformers, class_name)(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(zlib.crc32(architecture.encode()) + seed)
    for name, parameter in model.named_parameters():
        _enliven(name, parameter.data, generator)
    return model.to(dtype).eval()


def _enliven(name: str, weight: torch.Tensor, generator: torch.Generator) -> None:
    """Matrices get a standard deviation of 0.25, biases 0.1, and norms keep theirs plus 0.2."""
    noise = torch.randn(weight.shape, generator=generator)
    if weight.ndim >= 2:
        weight.copy_(0.25 * noise)
    elif name.endswith("bias"):
        weight.copy_(0.1 * noise)
    else:  # a norm's gain, which stands around 1 (around 0 in Gemma, which adds the 1 itself)
        weight.add_(0.2 * noise)


@cache
def tiny_tokenizer() -> Any:
    """A fast byte-level BPE tokenizer of at most 300 tokens; <|endoftext|> (id 0) starts and ends documents."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )


def tiny_loaded(architecture: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A fresh tiny model with the tiny tokenizer, wrapped as the methods take it."""
    return wrap(tiny_model(architecture, seed, dtype), tiny_tokenizer(), f"tiny-{architecture}")


def save_tiny(architecture: str, folder: Path, seed: int = 0) -> Path:
    """Write a tiny model and its tokenizer to `folder`, as `workbench.loading.load` opens it."""
    tiny_model(architecture, seed).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder
