"""The same by hooks on the plain model: what projections read, attention weights, and heads that are taken out."""

from __future__ import annotations

import torch
from transformers import DynamicCache

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
    return loaded.block_modules[layer].get_submodule(PROJECTIONS.get(architecture, loaded.heads.output_projection))


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


def without_edges(loaded, architecture, ids, edges):
    """Logits after the last token where what arrives over edges (layer, head, looking, at) is taken away.

    Layer by layer: each is looked at in a complete run that lacks the edges of those below.
    """
    changes = {}
    for layer in sorted({edge[0] for edge in edges}):
        weights, values = _observed(loaded, architecture, ids, changes, layer)

        def change(read, layer=layer, weights=weights, values=values):
            for _, head, looking, at in (edge for edge in edges if edge[0] == layer):
                read[looking, head] -= weights[head, looking, at] * values[head, at]
            return read

        changes[layer] = change
    return logits_with(loaded, architecture, ids, changes)[-1]


def _observed(loaded, architecture, ids, changes, layer):
    """Attention weights and values by head, in a complete run that is changed below the layer."""
    hooks = []
    for at, change in changes.items():

        def before(_module, args, change=change):
            read = args[0].reshape(len(ids), loaded.heads.count, loaded.heads.width).clone()
            return (change(read).reshape(args[0].shape),)

        hooks.append(projection(loaded, architecture, at).register_forward_pre_hook(before))
    weights = weights_of(loaded, ids)[layer]
    with torch.no_grad():
        cache = loaded.hf(torch.tensor([ids]), use_cache=True, past_key_values=DynamicCache()).past_key_values
    for hook in hooks:
        hook.remove()
    values = cache.layers[layer].values[0]
    return weights, values.repeat_interleave(len(weights) // len(values), dim=0)
