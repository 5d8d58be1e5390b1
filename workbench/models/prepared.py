"""A model made ready for the methods: names for nnsight, blocks that end with maps, outputs that stay as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.lazy import nnsight
from workbench.models.anatomy import Anatomy
from workbench.models.devices import parts_of
from workbench.models.forward.maps import end_with_maps
from workbench.models.framing import EMBEDDED, check_embedded
from workbench.models.layouts import path_in

if TYPE_CHECKING:
    from torch.nn import Module


def prepare(hf_model: Module, anatomy: Anatomy, tokenizer: Any) -> None:
    """Change what a model's modules do around their forwards; before nnsight has it."""
    _protect_overwritten(hf_model, anatomy)
    for block in hf_model.get_submodule(anatomy.blocks).children():
        end_with_maps(block)
    _say_what_has_no_embedding(hf_model, anatomy, tokenizer)


def named(hf_model: Module, anatomy: Anatomy) -> Any:
    """The model for nnsight, with the names that `workbench.loading.LoadedModel` lists."""
    names = {anatomy.embedding: "embedding", anatomy.blocks: "blocks", anatomy.unembedding: "unembedding"}
    if anatomy.final_norm:
        names[anatomy.final_norm] = "final_norm"
    if parts_of(hf_model):
        _keep_together(hf_model)
    nn = nnsight.NNsight(hf_model, rename=names)
    parts = {"attention": anatomy.attention, "mlp": anatomy.mlp, "down_projection": anatomy.down_projection}
    for block in nn.blocks:
        # `rename` refuses to hide a module, and Gemma's blocks, say, have an "mlp" that is not what is added.
        found = {name: block.get(path_in(block._module, path)) for name, path in parts.items() if path}
        for name, module in found.items():
            object.__setattr__(block, name, module)
    return nn


def _keep_together(hf_model: Module) -> None:
    """Let nnsight see what modules with divided matrices give when the processes have put it together.

    Where nothing is said, it takes the place of the function that does so, for its own, which does not know the layout
    of this version of transformers.
    """
    from nnsight.intervention.source import BODY_FORWARD

    for module in hf_model.modules():
        if "forward" in vars(module):
            vars(module)[BODY_FORWARD] = True


def _protect_overwritten(hf_model: Module, anatomy: Anatomy) -> None:
    """Let the block change a copy, so that the MLP output one has saved stays what it was."""
    if anatomy.overwritten:
        for layer in range(anatomy.n_layers):
            module = anatomy.in_block(hf_model, layer, anatomy.overwritten)
            module.register_forward_hook(lambda _module, _args, output: output.clone())


def _say_what_has_no_embedding(hf_model: Module, anatomy: Anatomy, tokenizer: Any) -> None:
    """Make a token beyond the embedding's rows a sentence where it is used, and not an index that is out of range."""
    embedding = anatomy.module(hf_model, anatomy.embedding)
    rows = getattr(embedding, "num_embeddings", None)
    if rows is not None and len(tokenizer) > rows:
        setattr(tokenizer, EMBEDDED, rows)
        embedding.register_forward_pre_hook(lambda _module, args: check_embedded(tokenizer, args[0].flatten().tolist()))
