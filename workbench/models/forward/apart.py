"""A logit difference at one token, and all that was added to the residual stream there, for what takes it apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.errors import InputError, ModelError
from workbench.lazy import nnsight, torch
from workbench.models.anatomy import tensor_of
from workbench.models.forward.maps import MAPS
from workbench.models.forward.readout import Readout, frozen_readout
from workbench.models.tokens import EncodedCase
from workbench.protocol import Check

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

SUM = {"float32": 1e-4, "float64": 1e-4}
"""Largest difference (logits) between the parts' sum and the model's own that passes as the same, by dtype."""

SUM_OF_HALF = 0.5
"""The same in half precision, which rounds the residual stream and the logits coarsely."""


@dataclass(frozen=True, eq=False)
class Added:
    """What was added to the residual stream at one token, ``(layers, d_model)``, to the embedding ``(d_model,)``.

    ``last`` is the sum, the last block's output. ``read`` ``(layers, heads x head width)`` is what the output
    projections of attention read, where that was asked for, and else has no rows. ``unembedded`` are the model's logits
    ``(vocabulary,)`` before scale and softcap, ``logits`` those that it gives out.
    """

    embedding: Tensor
    attention: Tensor
    mlp: Tensor
    edits: Tensor
    last: Tensor
    read: Tensor
    unembedded: Tensor
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Apart:
    """The logit of token ``target``, minus that of ``foil`` if there is one, after token ``position``.

    ``difference`` is the model's own, before the softcap if it has one.
    """

    encoded: EncodedCase
    position: int
    target: int
    foil: int | None
    added: Added
    readout: Readout
    difference: float

    def part(self, states: Tensor) -> Tensor:
        """What states ``(..., d_model)`` that were added have in the difference ``(...)``."""
        return states.double() @ self.readout.direction


def taken_apart(
    model: LoadedModel,
    case: Case,
    position: int | None,
    *,
    by_head: bool = False,
    compared: tuple[int, int] | None = None,
) -> Apart:
    """Take the difference apart, by one forward pass.

    Without a target it is the model's first choice; ``compared`` are target and foil where these are known. Raises
    `InputError` for a case that cannot be encoded or a position outside it, `ModelError` for a model whose residual
    stream is not the sum of what is added to it, `NumericalError` for NaN logits.
    """
    if not model.anatomy.adds_up:
        raise ModelError(
            f"{model.info.name} {model.anatomy.not_sum}, so its last state is not the sum of what its "
            "layers add; use another model to take logits apart"
        )
    encoded = model.encode(case)
    at = token_index(position, len(encoded.ids))
    added = _forward(model, encoded.ids, at, by_head)
    check_finite(model, added.logits)
    target = encoded.target.id if encoded.target else int(added.logits.argmax())
    foil = encoded.foil.id if encoded.foil and encoded.foil.id != target else None
    target, foil = compared or (target, foil)
    own = added.unembedded.double() * model.anatomy.logit_scale
    difference = float(own[target] - (0 if foil is None else own[foil]))
    return Apart(encoded, at, target, foil, added, frozen_readout(model, added.last, target, foil), difference)


def token_index(position: int | None, n_tokens: int) -> int:
    """A token counted from 0, the last where none is given. Raises `InputError` for one that is not there."""
    if position is None:
        return n_tokens - 1
    if not -n_tokens <= position < n_tokens:
        raise InputError(f"there is no token {position}: the prompt has {n_tokens}, counted from 0")
    return position % n_tokens


def check_finite(model: LoadedModel, logits: Tensor) -> None:
    """Raises `NumericalError` for logits that mean nothing."""
    if not bool(torch.isfinite(logits).all()):
        raise model.not_finite("the model's logits are")


def checks(model: LoadedModel, apart: Apart, total: float) -> tuple[Check, ...]:
    """Whether the parts sum to the model's own difference, and what a softcap makes of that."""
    error = abs(total - apart.difference)
    allowed = SUM.get(model.info.dtype, SUM_OF_HALF)
    summed = Check(name="sum", text=f"off by {error:.0e}", level="ok" if error <= allowed else "warn")
    if not model.anatomy.softcap:
        return (summed,)
    logits = apart.added.logits
    after = float(logits[apart.target] - (0 if apart.foil is None else logits[apart.foil]))
    text = f"the parts sum to what stands before the softcap of {model.anatomy.softcap:g}; after it {after:+.2f}"
    return summed, Check(name="softcap", text=text)


def _forward(model: LoadedModel, ids: tuple[int, ...], position: int, by_head: bool) -> Added:
    """One forward. An edit of states is what a block gives out beyond what came in and its two sublayers added."""
    input_ids = torch.tensor([ids], device=model.hf.device)
    projection = model.heads.output_projection if by_head else ""
    with torch.no_grad():
        with model.nn.trace(input_ids=input_ids, use_cache=False):
            attention = nnsight.save([])
            mlp = nnsight.save([])
            read = nnsight.save([])
            states = nnsight.save([])
            states.append(model.nn.blocks[0].input[0, position].clone())
            for block in model.nn.blocks:
                if by_head:
                    read.append(block.get(projection).input[0, position].clone())
                attention.append(tensor_of(block.attention.output)[0, position].clone())
                mlp.append(tensor_of(block.mlp.output)[0, position].clone())
                states.append(tensor_of(block.output)[0, position].clone())
            unembedded = nnsight.save(model.nn.unembedding.output[0, position])
            logits = nnsight.save(model.nn.output.logits[0, position])
    by_attention, by_mlp = torch.stack(list(attention)), torch.stack(list(mlp))
    stream = torch.stack(list(states))
    edited = torch.tensor([[bool(vars(block)[MAPS])] for block in model.block_modules], device=stream.device)
    edits = (stream[1:].double() - stream[:-1].double() - by_attention.double() - by_mlp.double()) * edited
    by_heads = torch.stack(list(read)) if by_head else by_attention[:0]
    return Added(stream[0], by_attention, by_mlp, edits, stream[-1], by_heads, unembedded, logits)
