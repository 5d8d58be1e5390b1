"""Direct logit attribution: what the embedding, each attention and each MLP add to the logit difference target − foil.

The last state is the sum of what every sublayer added to the residual stream. With the final norm's scale frozen,
logits are affine in it, so that each sublayer has a part of its own in the difference: Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"; Wang et al. 2022 (arXiv 2211.00593), section 3. Direct is what a
sublayer writes for the unembedding to read; what it does by way of later sublayers counts as theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.errors import InputError, ModelError, NumericalError
from workbench.lazy import nnsight, torch
from workbench.methods.dla.readout import frozen_readout
from workbench.models.anatomy import tensor_of
from workbench.models.forward.maps import MAPS
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded, significant
from workbench.protocol import Check, Progress, Request, Result
from workbench.shapes import LayerCount, as_many, within

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

SUM = {"float32": 1e-4, "float64": 1e-4}
"""Largest difference (logits) between the parts' sum and the model's own that passes as the same, by dtype."""

SUM_OF_HALF = 0.5
"""The same in half precision, which rounds the residual stream and the logits coarsely."""


class DlaRequest(Request):
    """Ask what each sublayer adds to the logit difference after one token.

    Without a foil it is the target's logit that is taken apart, without a target the model's first choice in its
    place.
    """

    kind: Literal["dla"] = "dla"
    case: Case
    position: Annotated[
        int | None, Field(description="The token after which the prediction is taken apart; else the last.")
    ] = None


class DlaResult(Result):
    """The parts, in logits; positive ones pull towards the target. They sum to ``total``.

    ``position`` is an index into ``encoded``. ``target`` and ``foil`` are the tokens compared, as text; without a
    foil the parts are those of the target's logit. ``embedding`` is all that stands in the residual stream before the
    first block (positions included); ``attention`` and ``mlp`` have one entry a layer; ``edits``, too, where changes
    to states are on, and is None elsewhere; ``bias`` is that of the final norm and of the unembedding.
    ``difference`` is the model's own, before the softcap if the model has one. ``norm_scale`` is the final norm's
    at this token: the standard deviation of the last state, or its root mean square.
    """

    kind: Literal["dla"] = "dla"
    encoded: EncodedCase
    layers: LayerCount
    position: int
    target: str
    foil: str | None
    embedding: float
    attention: tuple[float, ...]
    mlp: tuple[float, ...]
    edits: tuple[float, ...] | None = None
    bias: float
    total: float
    difference: float
    norm_scale: float

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(layers=self.layers, attention=self.attention, mlp=self.mlp, edits=self.edits)
        within("position", self.position, len(self.encoded.ids))
        return self


@dataclass(frozen=True, eq=False)
class _Added:
    """What was added to the residual stream at one token, ``(layers, d_model)``, to the embedding ``(d_model,)``.

    ``last`` is the sum, the last block's output. ``unembedded`` are the model's logits ``(vocabulary,)`` before scale
    and softcap, ``logits`` those that it gives out.
    """

    embedding: Tensor
    attention: Tensor
    mlp: Tensor
    edits: Tensor
    last: Tensor
    unembedded: Tensor
    logits: Tensor


def run(model: LoadedModel, request: DlaRequest, progress: Progress) -> DlaResult:
    """Take the difference apart, by one forward pass.

    Raises `InputError` for a case that cannot be encoded or a position outside it, `ModelError` for a model whose
    residual stream is not the sum of what is added to it, `NumericalError` for NaN logits.
    """
    if not model.anatomy.adds_up:
        raise ModelError(
            f"{model.info.name} has norms after its residual additions, so its last state is not the sum of what its "
            "layers add; use another model for direct logit attribution"
        )
    encoded = model.encode(request.case)
    position = _index(request.position, len(encoded.ids))
    progress(0, 1, stage="forward pass")
    added = _forward(model, encoded.ids, position)
    if not bool(torch.isfinite(added.logits).all()):
        raise NumericalError(
            f"the model's logits are not finite in {model.info.dtype}; load it with --dtype float32 and try again"
        )
    target = encoded.target.id if encoded.target else int(added.logits.argmax())
    foil = encoded.foil.id if encoded.foil and encoded.foil.id != target else None
    readout = frozen_readout(model, added.last, target, foil)

    def part(states: Tensor) -> Tensor:
        return states.double() @ readout.direction

    own = added.unembedded.double() * model.anatomy.logit_scale
    difference = float(own[target] - (0 if foil is None else own[foil]))
    parts = [part(added.embedding), part(added.attention).sum(), part(added.mlp).sum(), part(added.edits).sum()]
    total = float(sum(parts)) + readout.bias
    progress(1, 1, stage="forward pass")
    return DlaResult(
        encoded=encoded,
        layers=model.info.layers,
        position=position,
        target=token_text(model.tokenizer, target),
        foil=None if foil is None else token_text(model.tokenizer, foil),
        embedding=significant(part(added.embedding)),
        attention=significant(part(added.attention)),
        mlp=significant(part(added.mlp)),
        edits=significant(part(added.edits)) if bool(added.edits.any()) else None,
        bias=rounded(readout.bias),
        total=rounded(total),
        difference=rounded(difference),
        norm_scale=rounded(readout.scale),
        checks=(_sum_check(total, difference, model.info.dtype), *_softcap_check(model, added, target, foil)),
    )


def _index(position: int | None, n_tokens: int) -> int:
    if position is None:
        return n_tokens - 1
    if not -n_tokens <= position < n_tokens:
        raise InputError(f"there is no token {position}: the prompt has {n_tokens}, counted from 0")
    return position % n_tokens


def _forward(model: LoadedModel, ids: tuple[int, ...], position: int) -> _Added:
    """One forward. An edit of states is what a block gives out beyond what came in and its two sublayers added."""
    input_ids = torch.tensor([ids], device=model.hf.device)
    with torch.no_grad():
        with model.nn.trace(input_ids=input_ids, use_cache=False):
            attention = nnsight.save([])
            mlp = nnsight.save([])
            states = nnsight.save([])
            states.append(model.nn.blocks[0].input[0, position].clone())
            for block in model.nn.blocks:
                attention.append(tensor_of(block.attention.output)[0, position].clone())
                mlp.append(tensor_of(block.mlp.output)[0, position].clone())
                states.append(tensor_of(block.output)[0, position].clone())
            unembedded = nnsight.save(model.nn.unembedding.output[0, position])
            logits = nnsight.save(model.nn.output.logits[0, position])
    by_attention, by_mlp = torch.stack(list(attention)), torch.stack(list(mlp))
    stream = torch.stack(list(states))
    edited = torch.tensor([[bool(vars(block)[MAPS])] for block in model.block_modules], device=stream.device)
    edits = (stream[1:].double() - stream[:-1].double() - by_attention.double() - by_mlp.double()) * edited
    return _Added(stream[0], by_attention, by_mlp, edits, stream[-1], unembedded, logits)


def _sum_check(total: float, difference: float, dtype: str) -> Check:
    error = abs(total - difference)
    allowed = SUM.get(dtype, SUM_OF_HALF)
    return Check(name="sum", text=f"off by {error:.0e}", level="ok" if error <= allowed else "warn")


def _softcap_check(model: LoadedModel, added: _Added, target: int, foil: int | None) -> tuple[Check, ...]:
    if not model.anatomy.softcap:
        return ()
    after = float(added.logits[target] - (0 if foil is None else added.logits[foil]))
    text = f"the parts sum to what stands before the softcap of {model.anatomy.softcap:g}; after it {after:+.2f}"
    return (Check(name="softcap", text=text),)
