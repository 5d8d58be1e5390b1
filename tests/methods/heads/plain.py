"""The same by hooks on the plain model: what projections read, attention weights, and heads that are taken out."""

from __future__ import annotations

import torch

from workbench.case import Case
from workbench.models.heads import eager, weights_in

CASE = Case(prompt="The capital of Australia is", target=",", foil=".")

PROJECTIONS = {
    "gpt2": "attn.c_proj",
    "gptj": "attn.out_proj",
    "opt_projected": "self_attn.out_proj",
    "opt_norm_after": "self_attn.out_proj",
    "bloom": "self_attention.dense",
    "falcon": "self_attention.dense",
    "gemma2": "self_attn.o_proj",
    "mixtral": "self_attn.o_proj",
    "llama": "self_attn.o_proj",
    "mistral": "self_attn.o_proj",
    "olmo2": "self_attn.o_proj",
}


def projection(loaded, architecture, layer):
    """W_O by its own name."""
    return loaded.block_modules[layer].get_submodule(PROJECTIONS[architecture])


def weights_of(loaded, ids):
    """Attention weights ``(heads, tokens, tokens)`` by layer, of a complete run under the eager kernel."""
    found = {}

    def keep(layer):
        def hook(_module, _args, output):
            if (weights := weights_in(output)) is not None:
                found[layer] = weights[0]

        return hook

    hooks = [
        module.register_forward_hook(keep(layer))
        for layer, block in enumerate(loaded.block_modules)
        for module in block.modules()
        if module is not block
    ]
    with eager(loaded.hf), torch.no_grad():
        loaded.hf(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return [found[layer] for layer in range(loaded.info.layers)]


def logits_with(loaded, architecture, ids, changes):
    """Logits ``(tokens, vocabulary)`` where ``changes[layer]`` changes what W_O reads ``(tokens, heads, width)``."""
    hooks = []
    for layer, change in changes.items():

        def before(_module, args, change=change):
            read = args[0].reshape(len(ids), loaded.heads.count, loaded.heads.width).clone()
            return (change(read).reshape(args[0].shape),)

        hooks.append(projection(loaded, architecture, layer).register_forward_pre_hook(before))
    with torch.no_grad():
        logits = loaded.hf(torch.tensor([ids])).logits[0]
    for hook in hooks:
        hook.remove()
    return logits


def read_by(loaded, architecture, ids):
    """What W_O reads in every layer ``(layers, tokens, heads, width)``."""
    seen = {}

    def keep(layer):
        return lambda read: seen.setdefault(layer, read.clone())

    logits_with(loaded, architecture, ids, {layer: keep(layer) for layer in range(loaded.info.layers)})
    return torch.stack([seen[layer] for layer in range(loaded.info.layers)])
