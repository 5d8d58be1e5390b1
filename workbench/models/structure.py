"""Where an unknown architecture keeps its parts: found from the graph of its modules and one run over a few tokens.

What ran once a layer, one after the other, from states to states, are the blocks; what adds up to what a block does are
its attention and its MLP; what reads the last state as the model's logits is final norm and unembedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.lazy import torch, transformers
from workbench.models.probing import PROBE, Seen, off, proportional, run_once

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

CLOSE = {"float32": 1e-3, "float64": 1e-3}
"""How far a sum may be off, as a part of its terms, by dtype; no wrong structure comes near."""

CLOSE_OF_HALF = 0.02

MIXERS = ("self_attn", "attn", "attention", "linear_attn", "mamba", "mixer", "conv", "temporal_block", "short_conv")
MLPS = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "experts", "mlp_block", "shared_mlp")
"""What these are called where nothing adds up: their outputs can be replaced all the same."""

SHARED = ("shared_experts", "shared_expert", "shared_mlp")
"""What the expert of a mixture is called that every token goes through."""


@dataclass(frozen=True)
class Structure:
    """Dotted paths as in `workbench.models.anatomy.Layout`; of several between bars a block has one.

    ``attention`` is what mixes tokens, a state-space layer too. ``mlp`` is None where the blocks have none.
    ``shared`` are the layers whose ``down_projection`` is that of a mixture's shared expert.
    ``not_sum`` says why block output is not block input + attention + MLP; empty where it is. ``scale`` and ``softcap``
    are what becomes of what the unembedding gives. ``keeps``: a plain cache holds keys and values of every layer, and
    the model goes on from it. ``takes_embeddings``: it can be run on embeddings that are none of its vocabulary's.
    """

    embedding: str
    blocks: str
    final_norm: str | None
    attention: str | None
    mlp: str | None
    down_projection: str | None
    no_down_projection: str
    shared: tuple[int, ...]
    unembedding: str
    scale: float
    softcap: float | None
    not_sum: str
    keeps: bool
    takes_embeddings: bool


def find_structure(model: Any) -> Structure:
    """The structure of a causal language model in eval mode. Raises `ModelError`, which says what is missing."""
    kind = model.config.model_type
    modules = dict(model.named_modules())
    names = {id(module): path for path, module in modules.items()}
    embedding, unembedding = (
        names.get(id(each())) for each in (model.get_input_embeddings, model.get_output_embeddings)
    )
    if embedding is None or unembedding is None:
        raise ModelError(f"the architecture {kind} has no embedding and unembedding to be found; use another model")
    seen, logits = run_once(model, modules)
    blocks = _blocks(kind, modules, seen, int(logits.shape[1]))
    paths = [f"{blocks}.{layer}" for layer in range(len(list(modules[blocks].children())))]
    tolerance = CLOSE.get(str(model.dtype).removeprefix("torch."), CLOSE_OF_HALF)
    final_norm, scale, softcap = _readout(model, modules, seen, paths[-1], unembedding, logits, tolerance)
    found = [_parts(path, seen, tolerance) for path in paths]
    sums = all(parts is not None for parts in found)
    named = found if sums else [_by_name(path, modules) for path in paths]
    attention, mlp = (_together([parts[at] for parts in named if parts]) for at in (0, 1))
    keeps = _keeps(model, logits, len(paths), tolerance)
    mlps = [parts[1] if parts else None for parts in named]
    down, why, shared = _down_projection(paths, modules, seen, mlps, tolerance)
    if not keeps:
        down, why, shared = None, "model without keys and values in every layer", ()
    not_sum = "" if sums and attention and mlp else _why_not_sum(sums, attention, mlp)
    return Structure(
        embedding,
        blocks,
        final_norm,
        attention,
        mlp,
        down,
        why,
        shared,
        unembedding,
        scale,
        softcap,
        not_sum,
        keeps,
        _takes_embeddings(model, modules[embedding]),
    )


def _blocks(kind: str, modules: dict[str, Module], seen: Seen, tokens: int) -> str:
    """The longest list of modules that each ran once, in order, and turn states into states of the same shape."""
    found: list[tuple[int, int, str, Tensor]] = []
    for path, module in modules.items():
        children = [f"{path}.{name}" for name, _ in module.named_children()]
        if not isinstance(module, torch.nn.ModuleList) or not children or any(seen.times.get(c) != 1 for c in children):
            continue
        through = [(seen.read.get(child), seen.returned.get(child)) for child in children]
        first = through[0][1]
        if first is not None and all(a is not None and b is not None and a.shape == b.shape for a, b in through):
            found.append((len(children), -len(path), path, first))
    of_states = [each for each in found if each[3].ndim >= 3 and each[3].shape[-2] == tokens]
    if not of_states:
        raise ModelError(
            f"the architecture {kind} has no blocks, one after the other, that turn states into states, so that there "
            "is no residual stream to read; use a decoder of blocks"
        )
    _, _, path, states = max(of_states, key=lambda each: each[:2])
    if states.ndim > 3:
        raise ModelError(
            f"the architecture {kind} keeps {states.shape[0]} streams of states beside one another, which each block "
            "mixes anew, so that there is no one residual stream to read or to change; use a model that has one"
        )
    return path


def _readout(
    model: Any,
    modules: dict[str, Module],
    seen: Seen,
    last: str,
    unembedding: str,
    logits: Tensor,
    tolerance: float,
) -> tuple[str | None, float, float | None]:
    """The final norm, the factor of the logits, and their softcap. Raises `ModelError` where logits come otherwise."""
    state = seen.returned[last]
    blocks = last.rpartition(".")[0]
    norms = [
        path
        for path, made in seen.returned.items()
        if not path.startswith(f"{blocks}.")
        and made.shape == state.shape
        and "norm" in type(modules[path]).__name__.lower()
    ]
    caps = [
        float(value)
        for name, value in model.config.get_text_config(decoder=True).to_dict().items()
        if "softcap" in name.replace("_", "") and "att" not in name and value
    ]
    with torch.no_grad():
        for norm in (*norms, None):
            raw = modules[unembedding](state if norm is None else modules[norm](state))
            for cap in (None, *caps):
                plain = logits if cap is None else cap * torch.atanh((logits / cap).clamp(-1 + 1e-6, 1 - 1e-6))
                scale = float((raw * plain).double().sum() / (raw * raw).double().sum())
                made = raw * scale if cap is None else torch.tanh(raw * scale / cap) * cap
                if off(made, logits) <= tolerance:
                    return norm, 1.0 if abs(scale - 1) < tolerance else scale, cap
    raise ModelError(
        f"the architecture {model.config.model_type} does something between its last block and its logits that is "
        "neither a norm nor a matrix, so that no state can be read as a prediction; use another model"
    )


def _parts(block: str, seen: Seen, tolerance: float) -> tuple[str, str | None] | None:
    """The two modules (or the one) whose outputs add up to what the block adds, by their paths in it."""
    before, after = seen.read[block], seen.returned[block]
    inside = [
        path
        for path in seen.ended
        if path.startswith(f"{block}.") and seen.returned[path].numel() == before.numel() and seen.times[path] == 1
    ]
    outputs = {path: seen.returned[path].reshape(before.shape) for path in inside}
    outermost = sorted(inside, key=lambda path: path.count("."))

    def fits(*some: str) -> bool:
        return off(before + sum(outputs[path] for path in some), after) <= tolerance

    def local(path: str) -> str:
        return path.removeprefix(f"{block}.")

    for one, other in combinations(outermost, 2):
        if fits(one, other):
            first, second = sorted((one, other), key=seen.ended.index)
            return local(first), local(second)
    return next(((local(path), None) for path in outermost if fits(path)), None)


def _by_name(block: str, modules: dict[str, Module]) -> tuple[str | None, str | None]:
    def first(names: Sequence[str]) -> str | None:
        return next((name for name in names if f"{block}.{name}" in modules), None)

    return first(MIXERS), first(MLPS)


def _together(paths: Sequence[str | None]) -> str | None:
    """One path of all layers, or several between bars; None where a layer has none."""
    return None if None in paths or not paths else "|".join(dict.fromkeys(str(path) for path in paths))


def _down_projection(
    blocks: Sequence[str], modules: dict[str, Module], seen: Seen, mlps: Sequence[str | None], tolerance: float
) -> tuple[str | None, str, tuple[int, ...]]:
    """The matrix whose output is the MLP's, or in a mixture of experts that of the one that all tokens go through.

    Its path in the blocks, what the model is without one, and the layers where it is a shared expert's.
    """
    found, shared = [], []
    for layer, (block, mlp) in enumerate(zip(blocks, mlps, strict=True)):
        if mlp is None:
            return None, "model whose blocks have no MLP", ()
        path = _last_matrix(block, f"{block}.{mlp}", modules, seen, tolerance)
        if path is None and (expert := shared_expert(block, modules)):
            path = _last_matrix(expert, expert, modules, seen, tolerance)
            shared.append(layer)
        if path is None:
            return None, "mixture of experts", ()
        found.append(path.removeprefix(f"{block}."))
    return _together(found), "", tuple(shared)


def shared_expert(root: str, modules: Iterable[str]) -> str | None:
    """The path of the expert below ``root`` that every token goes through, None where there is none."""
    return next((path for path in modules if path.startswith(root) and path.rpartition(".")[2] in SHARED), None)


def _last_matrix(inside: str, part: str, modules: dict[str, Module], seen: Seen, tolerance: float) -> str | None:
    """The matrix in a module whose output is what a part returns, or what it reads where that is a norm."""
    made_of = [each[part] for each in (seen.returned, seen.read) if part in each]
    for path in seen.ended:
        weight = getattr(modules[path], "weight", None)
        if not path.startswith(f"{inside}.") or weight is None or weight.ndim != 2 or seen.times[path] != 1:
            continue
        output = seen.returned[path]
        if any(output.numel() == each.numel() and proportional(output, each, tolerance) for each in made_of):
            return path
    return None


def _keeps(model: Any, logits: Tensor, layers: int, tolerance: float) -> bool:
    """Whether the model goes on from a plain cache of keys and values with the numbers of a whole run."""
    ids = torch.tensor([PROBE], device=model.device)
    try:
        cache = transformers.DynamicCache()
        with torch.no_grad():
            model(input_ids=ids[:, :-2], past_key_values=cache, use_cache=True)
            if len(cache.layers) != layers or any(layer.get_seq_length() != len(PROBE) - 2 for layer in cache.layers):
                return False
            again = model(input_ids=ids[:, -2:], past_key_values=cache, use_cache=True).logits
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError):
        return False
    return off(again, logits[:, -2:]) <= max(tolerance, 1e-3)


def _takes_embeddings(model: Any, embedding: Module) -> bool:
    """Whether it can be run on embeddings of no token: not where other tables are looked up by the tokens, too."""
    try:
        with torch.no_grad():
            embedded = embedding(torch.tensor([PROBE], device=model.device))
            model(inputs_embeds=embedded + embedded.std(), use_cache=False)
    except (TypeError, ValueError, LookupError, AttributeError, RuntimeError):
        return False
    return True


def _why_not_sum(sums: bool, attention: str | None, mlp: str | None) -> str:
    if attention is None:
        return "has blocks in which no one module mixes tokens"
    if mlp is None:
        return "has blocks without an MLP"
    return "has blocks that do more than add attention and MLP to the residual stream" if not sums else ""
