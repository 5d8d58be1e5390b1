"""Where a model keeps its attention heads: how many there are, how wide, and the matrix that reads what they attend to.

It is found by one short run and not by names: the output projection W_O is the last matrix from
heads × head width to d_model that runs before attention's contribution is there, so that head h writes
z_h · W_O[h], with z_h the h-th slice of what the matrix reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError, ModelError
from workbench.lazy import torch, transformers
from workbench.models.anatomy import tensor_of
from workbench.models.layouts import path_in

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.models.anatomy import Anatomy

PROBED = 5
"""Tokens of the run by which heads are found."""

MISFIT = 0.02
"""Largest relative difference at which a contribution passes as made by the projection; bfloat16 needs this much."""


@dataclass(frozen=True)
class Heads:
    """The heads of every layer; paths start at a block.

    ``output_projection`` is W_O. ``weights`` is the module that returns attention weights ``(rows, heads, tokens,
    tokens)`` under the eager kernel. ``normed``: attention's contribution is a norm of what W_O puts out.
    ``kv_heads`` is how many heads of keys and values there are, each of which serves as many heads.
    """

    count: int
    kv_heads: int
    width: int
    output_projection: str
    weights: str
    normed: bool

    def check(self, layer: int, head: int, layers: int) -> None:
        """Raises `InputError` for a head that does not exist."""
        if not 0 <= layer < layers:
            raise InputError(f"there is no layer {layer}: the model has {layers}, counted from 0")
        if not 0 <= head < self.count:
            raise InputError(f"there is no head {head} in layer {layer}: each has {self.count}, counted from 0")


def find_heads(hf_model: Any, anatomy: Anatomy) -> Heads:
    """Find the heads by a run over a few tokens.

    Raises `ModelError` for a model without attention, with attention in some layers only, or with attention that is not
    a sum over heads.
    """
    count = getattr(hf_model.config.get_text_config(decoder=True), "num_attention_heads", None)
    if not count or not anatomy.attention:
        raise ModelError(f"a model of type {anatomy.architecture} has no attention heads; use a transformer")
    with ExitStack() as hooks, eager(hf_model):
        watched = [_Watched(hf_model, anatomy, layer, hooks) for layer in range(anatomy.n_layers)]
        cache = transformers.DynamicCache()
        ids = torch.arange(1, 1 + PROBED, device=hf_model.device)[None]
        kept = {"past_key_values": cache, "use_cache": True} if anatomy.keeps else {"use_cache": False}
        with torch.no_grad():
            hf_model.base_model(input_ids=ids, **kept)
    found = [each.found(count) for each in watched]
    if not any(found):
        raise ModelError(
            f"the attention of a model of type {anatomy.architecture} cannot be taken apart: no matrix maps its "
            f"{count} heads to the residual stream; use a transformer with an output projection"
        )
    if len(set(found)) > 1 or found[0] is None:
        raise ModelError(
            f"only some layers of this {anatomy.architecture} model have attention heads of one shape; use a model "
            "whose layers are all alike"
        )
    projection, weights, normed = found[0]
    width = watched[0].read[projection].shape[-1] // count
    values = [layer.values.shape[1] for layer in cache.layers if getattr(layer, "values", None) is not None]
    return Heads(count, values[0] if values else count, width, projection, weights, normed)


@contextmanager
def eager(hf_model: Any) -> Iterator[None]:
    """While it lasts, the model computes attention by the kernel that returns its weights."""
    configs = {id(each.config): each.config for each in hf_model.modules() if hasattr(each, "config")}
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        for config, _ in before:
            config._attn_implementation = "eager"
        yield
    finally:
        for config, kernel in before:
            config._attn_implementation = kernel


def weights_in(output: Any) -> Tensor | None:
    """The attention weights ``(rows, heads, tokens, tokens)`` in what a module returned, if there are any."""
    if not isinstance(output, tuple):
        return None
    return next((each for each in output if isinstance(each, torch.Tensor) and each.ndim == 4), None)


class _Watched:
    """What the modules of one block read and returned, in the order in which they ended."""

    def __init__(self, hf_model: Any, anatomy: Anatomy, layer: int, hooks: ExitStack) -> None:
        self.read: dict[str, Tensor] = {}
        self._returned: dict[str, Any] = {}
        self._attention = path_in(anatomy.block(hf_model, layer), anatomy.attention)
        self._d_model = anatomy.d_model
        block = anatomy.block(hf_model, layer)
        self._modules = {path: module for path, module in block.named_modules() if path}
        for path, module in self._modules.items():
            handle = module.register_forward_hook(self._keep(path), with_kwargs=True)
            hooks.callback(handle.remove)

    def _keep(self, path: str) -> Any:
        def hook(_module: Module, args: Any, _kwargs: Any, output: Any) -> None:
            if path not in self._returned and args and isinstance(args[0], torch.Tensor):
                self.read[path] = args[0].detach()
            self._returned.setdefault(path, output)

        return hook

    def found(self, heads: int) -> tuple[str, str, bool] | None:
        """The paths of the projection and of what returns weights, and whether a norm follows the projection."""
        if self._attention not in self._returned:
            return None
        order = list(self._returned)
        before = order[: order.index(self._attention) + 1]
        after = order[order.index(self._attention) + 1 :]
        above = [path for path in after if self._attention.startswith(f"{path}.")]
        shape = (heads, PROBED, PROBED)
        weights = [
            path
            for path in (*before, *above)
            if (found := weights_in(self._returned[path])) is not None and tuple(found.shape[1:]) == shape
        ]
        for path in reversed(before):
            if weights and self._is_projection(path, heads) and (normed := self._normed(path)) is not None:
                return path, weights[-1], normed
        return None

    def _is_projection(self, path: str, heads: int) -> bool:
        weight, read, returned = getattr(self._modules[path], "weight", None), self.read.get(path), self._returned[path]
        if weight is None or weight.ndim != 2 or read is None or not isinstance(returned, torch.Tensor):
            return False
        return returned.shape[-1] == self._d_model and not read.shape[-1] % heads

    def _normed(self, path: str) -> bool | None:
        """Whether a norm makes the contribution of what the projection puts out; None where it is made otherwise."""
        contribution = tensor_of(self._returned[self._attention])
        if _close(tensor_of(self._returned[path]), contribution):
            return False
        norm = self._modules[self._attention]
        with torch.no_grad():
            inside = path.startswith(f"{self._attention}.")
            return None if inside or not _close(norm(self._returned[path]), contribution) else True


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= MISFIT * other.abs().max())
