"""Where a model keeps what the methods read and change: embedding, blocks, attention, MLP, unembedding.

`find_anatomy` picks the row of `workbench.models.layouts` for a model's type, or recognises the row of an unlisted type
by its module names and one forward pass. What fits no row is looked at module by module (`workbench.models.structure`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.lazy import torch
from workbench.models.layouts import LAYOUTS, Layout, has_module, path_in
from workbench.models.structure import Structure, find_structure, shared_expert

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True)
class Anatomy:
    """Where the parts of one model are; paths as in `workbench.models.layouts.Layout`.

    ``final_norm`` and ``projection`` are None where the model has none. ``down_projection`` is W_out, the MLP's
    last matrix, from ``d_mlp`` to ``d_model``; its weight is stored ``(d_mlp, d_model)`` where
    ``down_projection_in_first`` and ``(d_model, d_mlp)`` elsewhere; ``down_projection_missing`` says why there is
    none. ``mlp_widths`` are the d_mlp of each layer, one expert's in a mixture of experts; in the layers
    ``shared_experts`` of such a mixture W_out is that of the expert that every token goes through. ``softcap`` c turns
    logits z into c·tanh(z / c), after they are multiplied by ``logit_scale``. (Multipliers on embeddings are inside the
    embedding module or the model, and so in the first block's input.) ``not_sum`` says why block output is not block
    input + attention + MLP, and is empty where it is. ``attention``, ``mlp`` and ``down_projection`` may name several
    paths between bars, of which each block has one; the former two are empty where there is none. ``keeps``: keys and
    values of all layers can be kept and gone on from. ``takes_embeddings``: it can be run on embeddings that are none
    of its vocabulary's. ``measured`` marks an unlisted type that was recognised.
    """

    architecture: str
    n_layers: int
    d_model: int
    mlp_widths: tuple[int, ...]
    embedding: str
    blocks: str
    attention: str
    mlp: str
    down_projection: str | None
    down_projection_missing: str
    down_projection_in_first: bool
    final_norm: str | None
    projection: str | None
    unembedding: str
    logit_scale: float
    softcap: float | None
    not_sum: str
    overwritten: str | None
    measured: bool
    heads: int = 1
    keeps: bool = True
    takes_embeddings: bool = True
    shared_experts: tuple[int, ...] = ()

    @property
    def d_mlp(self) -> int:
        """The width of the widest MLP."""
        return max(self.mlp_widths)

    @property
    def mixes_experts(self) -> bool:
        """Whether blocks send each token to some of several experts."""
        return self.down_projection is None or bool(self.shared_experts)

    @property
    def adds_up(self) -> bool:
        """Whether block output = block input + attention + MLP."""
        return not self.not_sum

    def module(self, model: Module, path: str) -> Module:
        """The module at a path that starts at the model, such as ``anatomy.embedding``."""
        return model.get_submodule(path)

    def block(self, model: Module, layer: int) -> Module:
        """The block of one layer, counted from 0."""
        return model.get_submodule(f"{self.blocks}.{layer}")

    def in_block(self, model: Module, layer: int, path: str) -> Module:
        """The module at a path that starts at a block, such as ``anatomy.mlp``."""
        return model.get_submodule(self.path(model, layer, path))

    def path(self, model: Module, layer: int, path: str) -> str:
        """The same path from the model on."""
        return f"{self.blocks}.{layer}.{path_in(self.block(model, layer), path)}"


def find_anatomy(hf_model: Any) -> Anatomy:
    """Find the parts of a causal language model in eval mode.

    An unlisted ``config.model_type`` is accepted if exactly one layout has all its paths in the model and agrees
    with a forward pass over three tokens: contributions add up, and the last state is unembedded to the model's
    logits. Any other is looked at by `workbench.models.structure.find_structure`. Raises `ModelError` as that does, and
    for a listed type without its parts.
    """
    model_type = hf_model.config.model_type
    for layout in LAYOUTS:
        if model_type in layout.model_types:
            if absent := layout.missing(hf_model):
                raise ModelError(
                    f"this {model_type} model lacks {', '.join(absent)}; load it as a causal language model of the "
                    "transformers library, without adapters or wrappers"
                )
            return _anatomy(hf_model, layout, measured=False)

    modules = [path for path, _ in hf_model.named_modules()]
    by_name = [
        layout
        for layout in LAYOUTS
        if not layout.missing(hf_model) and not (layout.experts and shared_expert(layout.blocks, modules))
    ]
    found = [_anatomy(hf_model, layout, measured=True) for layout in by_name]
    fitting = [anatomy for anatomy in found if _agrees_with_a_forward_pass(hf_model, anatomy)]
    return fitting[0] if len(fitting) == 1 else _measured(hf_model, find_structure(hf_model))


def unembed(hf_model: Module, anatomy: Anatomy, states: torch.Tensor, normed: bool = False) -> torch.Tensor:
    """Read states of the residual stream ``(..., d_model)`` as logits ``(..., vocabulary)``, in the states' dtype.

    Final norm (unless they are ``normed`` already), projection, unembedding, scale and softcap, as the model itself
    does after its last block.
    """
    if anatomy.final_norm and not normed:
        states = anatomy.module(hf_model, anatomy.final_norm)(states)
    if anatomy.projection:
        states = anatomy.module(hf_model, anatomy.projection)(states)
    logits: torch.Tensor = anatomy.module(hf_model, anatomy.unembedding)(states)
    if anatomy.logit_scale != 1:
        logits = logits * anatomy.logit_scale
    if anatomy.softcap:
        logits = torch.tanh(logits / anatomy.softcap) * anatomy.softcap
    return logits


def tensor_of(output: Any, batch: int = 1) -> torch.Tensor:
    """The states ``(batch, tokens, width)`` in what a block, attention or MLP module returned.

    Some return a tuple that starts with them, and OPT's MLP returns ``(batch x tokens, width)``. The result
    shares its memory with ``output``, so writing into it changes what the model goes on with.
    """
    states: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return states if states.ndim == 3 else states.view(batch, -1, states.shape[-1])


def with_tensor(output: Any, states: torch.Tensor) -> Any:
    """What the module would have returned with ``states`` ``(batch, tokens, width)`` in place of its own."""
    if isinstance(output, tuple):
        return (states, *output[1:])
    return states.reshape(output.shape)


def matrix_shape(module: Module) -> tuple[int, int]:
    """What a matrix writes and what it reads, whatever way round the model stores it."""
    written, read = module.weight.shape  # type: ignore[misc]
    return (read, written) if input_first(module) else (written, read)


def input_first(module: Module) -> bool:
    """Whether a module stores its matrix as what it reads by what it writes."""
    return type(module).__name__ == "Conv1D"


def _anatomy(model: Any, layout: Layout, *, measured: bool) -> Anatomy:
    config = model.config
    blocks = model.get_submodule(layout.blocks)
    found = [block.get_submodule(layout.down_projection) for block in blocks] if layout.down_projection else []
    return Anatomy(
        architecture=config.model_type,
        n_layers=len(blocks),
        d_model=config.hidden_size,
        mlp_widths=_widths(config, found, len(blocks)),
        embedding=layout.embedding,
        blocks=layout.blocks,
        attention=layout.attention,
        mlp=layout.mlp,
        down_projection=layout.down_projection,
        down_projection_missing="" if found else "mixture of experts",
        down_projection_in_first=bool(found) and input_first(found[0]),
        final_norm=layout.final_norm if has_module(model, layout.final_norm) else None,
        projection=layout.projection if layout.projection and has_module(model, layout.projection) else None,
        unembedding=layout.unembedding,
        logit_scale=getattr(config, "logit_scale", None) or 1.0,
        softcap=getattr(config, "final_logit_softcapping", None),
        not_sum=_norms_after(config),
        overwritten=layout.overwritten,
        measured=measured,
        heads=getattr(config, "num_attention_heads", None) or 1,
    )


def _measured(model: Any, found: Structure) -> Anatomy:
    config = model.config.get_text_config(decoder=True)
    blocks = list(model.get_submodule(found.blocks).children())
    path = found.down_projection
    down = [block.get_submodule(path_in(block, path)) for block in blocks] if path else []
    return Anatomy(
        architecture=model.config.model_type,
        n_layers=len(blocks),
        d_model=config.hidden_size,
        mlp_widths=_widths(config, down, len(blocks)),
        embedding=found.embedding,
        blocks=found.blocks,
        attention=found.attention or "",
        mlp=found.mlp or "",
        down_projection=path,
        down_projection_missing=found.no_down_projection,
        down_projection_in_first=bool(down) and input_first(down[0]),
        final_norm=found.final_norm,
        projection=None,
        unembedding=found.unembedding,
        logit_scale=found.scale,
        softcap=found.softcap,
        not_sum=found.not_sum,
        overwritten=None,
        measured=True,
        heads=getattr(config, "num_attention_heads", None) or 1,
        keeps=found.keeps,
        takes_embeddings=found.takes_embeddings,
        shared_experts=found.shared,
    )


def _norms_after(config: Any) -> str:
    before = getattr(config, "do_layer_norm_before", True)
    if before and not getattr(config, "apply_residual_connection_post_layernorm", False):
        return ""
    return "has norms after its residual additions"


def _widths(config: Any, down_projections: Sequence[Module], layers: int) -> tuple[int, ...]:
    """What each layer's down-projection reads; an expert's width where layers have none."""
    return tuple(matrix_shape(each)[1] for each in down_projections) or (_expert_width(config),) * layers


def _expert_width(config: Any) -> int:
    """One expert's width, or that of whatever is widest in a block that has no MLP."""
    widths = (getattr(config, name, None) for name in ("moe_intermediate_size", "intermediate_size"))
    return next((int(width) for width in widths if isinstance(width, int)), 4 * int(config.hidden_size))


def _agrees_with_a_forward_pass(model: Any, anatomy: Anatomy) -> bool:
    """Whether, over three tokens, every block adds up and the last state is unembedded to the model's logits.

    Each sum may be off by 2 % of its terms, which is what bfloat16 needs and no wrong layout meets.
    """
    seen: dict[tuple[int, str], torch.Tensor] = {}
    hooks = []
    for layer in range(anatomy.n_layers):
        modules = {"block": anatomy.block(model, layer)}
        for name in ("attention", "mlp"):
            modules[name] = anatomy.in_block(model, layer, getattr(anatomy, name))
        for name, module in modules.items():
            hooks.append(module.register_forward_hook(_keep(seen, (layer, name))))
        hooks.append(modules["block"].register_forward_pre_hook(_keep_input(seen, (layer, "input")), with_kwargs=True))
    try:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[1, 2, 3]], device=model.device), use_cache=False).logits
            last = unembed(model, anatomy, seen[anatomy.n_layers - 1, "block"])
    finally:
        for hook in hooks:
            hook.remove()

    def close(terms: list[torch.Tensor], total: torch.Tensor) -> bool:
        if any(term.shape != total.shape for term in terms):  # several streams in place of one, as in Gemma 3n
            return False
        size = torch.stack([term.abs() for term in [*terms, total]]).sum(dim=0)
        return bool(((torch.stack(terms).sum(dim=0) - total).abs() <= 0.02 * size + 1e-6).all())

    parts = ("input", "attention", "mlp")
    return close([last], logits) and all(
        close([seen[layer, part] for part in parts], seen[layer, "block"]) for layer in range(anatomy.n_layers)
    )


def _keep(seen: dict[tuple[int, str], torch.Tensor], key: tuple[int, str]) -> Any:
    def hook(_module: Module, _args: Any, output: Any) -> None:
        seen[key] = tensor_of(output).clone()

    return hook


def _keep_input(seen: dict[tuple[int, str], torch.Tensor], key: tuple[int, str]) -> Any:
    def hook(_module: Module, args: Any, kwargs: Any) -> None:
        seen[key] = (args[0] if args else kwargs["hidden_states"]).clone()

    return hook
