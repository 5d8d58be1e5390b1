"""Where families of models that are known by name keep their parts: a row of dotted paths for each set of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class Layout:
    """Dotted paths of one family: ``attention``, ``mlp``, ``down_projection`` and ``experts`` start at a block.

    ``attention`` and ``mlp`` name the module whose *output* is added to the residual stream: where the family
    has a norm after the sublayer that is this norm, and where the module adds the residual itself, its last
    matrix. ``experts`` stands where a mixture of experts has no single down-projection. ``overwritten`` names a
    module whose output the block changes in place afterwards. ``projection`` stands between the final norm and
    the unembedding, if at all.
    """

    model_types: tuple[str, ...]
    embedding: str
    blocks: str
    final_norm: str
    attention: str
    mlp: str
    down_projection: str | None
    unembedding: str = "lm_head"
    projection: str | None = None
    experts: str | None = None
    overwritten: str | None = None

    def missing(self, model: Module) -> list[str]:
        """The paths of this layout that ``model`` does not have."""
        absent = [path for path in (self.embedding, self.blocks, self.unembedding) if not has_module(model, path)]
        absent += [path for path in (self.final_norm, self.projection) if path and not _names_an_attribute(model, path)]
        if self.blocks in absent:
            return absent
        inside = (self.attention, self.mlp, self.down_projection, self.experts)
        blocks = list(model.get_submodule(self.blocks).children())
        lacking = [path for path in inside if path and not all(has_module(block, path) for block in blocks)]
        return absent + [f"{self.blocks}.*.{path}" for path in lacking]


LAYOUTS = (
    Layout(
        model_types=("gpt2", "gpt_neo"),
        embedding="transformer.wte",
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        attention="attn",
        mlp="mlp",
        down_projection="mlp.c_proj",
    ),
    Layout(
        model_types=("gptj",),
        embedding="transformer.wte",
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        attention="attn",
        mlp="mlp",
        down_projection="mlp.fc_out",
    ),
    Layout(
        model_types=("gpt_neox",),
        embedding="gpt_neox.embed_in",
        blocks="gpt_neox.layers",
        final_norm="gpt_neox.final_layer_norm",
        attention="attention",
        mlp="mlp",
        down_projection="mlp.dense_4h_to_h",
    ),
    # No MLP module: its two matrices stand in the block, and run on (batch x tokens, width).
    Layout(
        model_types=("opt",),
        embedding="model.decoder.embed_tokens",
        blocks="model.decoder.layers",
        final_norm="model.decoder.final_layer_norm",
        attention="self_attn",
        mlp="fc2",
        down_projection="fc2",
        projection="model.decoder.project_out",
    ),
    # BLOOM's attention and MLP add the residual themselves; Falcon's block adds attention into the MLP's tensor.
    Layout(
        model_types=("bloom", "falcon"),
        embedding="transformer.word_embeddings",
        blocks="transformer.h",
        final_norm="transformer.ln_f",
        attention="self_attention.dense",
        mlp="mlp.dense_4h_to_h",
        down_projection="mlp.dense_4h_to_h",
        overwritten="mlp",
    ),
    Layout(
        model_types=("llama", "mistral", "qwen2", "qwen3", "stablelm"),
        embedding="model.embed_tokens",
        blocks="model.layers",
        final_norm="model.norm",
        attention="self_attn",
        mlp="mlp",
        down_projection="mlp.down_proj",
    ),
    Layout(
        model_types=("phi",),
        embedding="model.embed_tokens",
        blocks="model.layers",
        final_norm="model.final_layernorm",
        attention="self_attn",
        mlp="mlp",
        down_projection="mlp.fc2",
    ),
    Layout(
        model_types=("gemma2", "gemma3_text", "olmo2"),
        embedding="model.embed_tokens",
        blocks="model.layers",
        final_norm="model.norm",
        attention="post_attention_layernorm",
        mlp="post_feedforward_layernorm",
        down_projection="mlp.down_proj",
    ),
    Layout(
        model_types=("mixtral",),
        embedding="model.embed_tokens",
        blocks="model.layers",
        final_norm="model.norm",
        attention="self_attn",
        mlp="mlp",
        down_projection=None,
        experts="mlp.experts",
    ),
)


def path_in(block: Any, path: str) -> str:
    """Of several paths between bars the one that a block has."""
    return next((each for each in path.split("|") if has_module(block, each)), path)


def has_module(root: Module, path: str) -> bool:
    """Whether there is a module at a path."""
    try:
        root.get_submodule(path)
    except AttributeError:
        return False
    return True


def _names_an_attribute(root: Module, path: str) -> bool:
    """As `has_module`, but None counts: it is what a model holds in place of an optional part that it leaves out."""
    parent, _, name = path.rpartition(".")
    return has_module(root, parent) and hasattr(root.get_submodule(parent), name)
