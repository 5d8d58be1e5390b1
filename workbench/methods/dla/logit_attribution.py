"""Direct logit attribution: what the embedding, each attention and each MLP add to the logit difference target − foil.

The last state is the sum of what every sublayer added to the residual stream. With the final norm's scale frozen,
logits are affine in it, so that each sublayer has a part of its own in the difference: Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"; Wang et al. 2022 (arXiv 2211.00593), section 3. Direct is what a
sublayer writes for the unembedding to read; what it does by way of later sublayers counts as theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.models.forward.apart import checks, taken_apart
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded, significant
from workbench.protocol import Progress, Request, Result
from workbench.shapes import LayerCount, as_many, within

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


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


def run(model: LoadedModel, request: DlaRequest, progress: Progress) -> DlaResult:
    """Take the difference apart, by one forward pass. Raises as `taken_apart` does."""
    progress(0, 1, stage="forward pass")
    apart = taken_apart(model, request.case, request.position)
    added, part, bias = apart.added, apart.part, apart.readout.bias
    parts = [part(added.embedding), part(added.attention).sum(), part(added.mlp).sum(), part(added.edits).sum()]
    total = float(sum(parts)) + bias
    progress(1, 1, stage="forward pass")
    return DlaResult(
        encoded=apart.encoded,
        layers=model.info.layers,
        position=apart.position,
        target=token_text(model.tokenizer, apart.target),
        foil=None if apart.foil is None else token_text(model.tokenizer, apart.foil),
        embedding=significant(part(added.embedding)),
        attention=significant(part(added.attention)),
        mlp=significant(part(added.mlp)),
        edits=significant(part(added.edits)) if bool(added.edits.any()) else None,
        bias=rounded(bias),
        total=rounded(total),
        difference=rounded(apart.difference),
        norm_scale=rounded(apart.readout.scale),
        checks=checks(model, apart, total),
    )
