"""Direct logit attribution down to the single head: what each head and MLP adds to the logit difference target − foil.

The output projection is linear, so attention's contribution is a sum over heads: z_h · W_O[h] (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"; Wang et al. 2022, arXiv 2211.00593). Of the heads that add most it is
said where they look, and which tokens they write.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.lazy import torch
from workbench.methods.heads.written import added_by_head, top_tokens, vocabulary_logits
from workbench.models.forward.apart import Apart, checks, taken_apart
from workbench.models.forward.attending import Attending
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded, significant
from workbench.protocol import Check, Frozen, Progress, Request, Result
from workbench.shapes import Layer, LayerCount, Share, as_many, within

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

LOOKED_AT = 3
"""Tokens named for each head of those that add most, and tokens that it writes."""


class HeadsRequest(Request):
    """Ask what each head and MLP adds to the logit difference after one token.

    Without a foil it is the target's logit, without a target the model's first choice in its place.
    """

    kind: Literal["heads"] = "heads"
    case: Case
    position: Annotated[
        int | None, Field(description="The token after which the prediction is taken apart; else the last.")
    ] = None
    largest: Annotated[
        int, Field(description="Of so many heads say where they look and what they write.", ge=1, le=50)
    ] = 8


class Looked(Frozen):
    """A token of the prompt, by its index, and the share of a head's attention that it has."""

    token: int
    weight: Share


class RaisedToken(Frozen):
    """A token and what a head adds to its logit, by itself."""

    text: str
    logit: float


class LargeHead(Frozen):
    """One of the heads that add most (logits): the tokens it looks at most, and those it raises most."""

    layer: Layer
    head: Annotated[int, Field(ge=0)]
    added: float
    looked_at: tuple[Looked, ...]
    writes: tuple[RaisedToken, ...]


class HeadsResult(Result):
    """The parts, in logits; positive ones pull towards the target. They sum to ``total``.

    ``heads`` is ``(layers, heads)``; ``mlp`` has an entry a layer, and so have ``edits``, where changes to states are
    on. ``biases``, an entry a layer, are those of the output projections, which belong to no head; ``bias`` is that of
    the final norm and of the unembedding. ``embedding`` is all that stands in the residual stream before the first
    block. ``difference`` is the model's own, before the softcap if it has one. ``largest`` are the heads that add
    most, whatever the sign, the largest first.
    """

    kind: Literal["heads"] = "heads"
    encoded: EncodedCase
    layers: LayerCount
    n_heads: Annotated[int, Field(ge=1, le=10_000)]
    position: int
    target: str
    foil: str | None
    embedding: float
    heads: tuple[tuple[float, ...], ...]
    biases: tuple[float, ...]
    mlp: tuple[float, ...]
    edits: tuple[float, ...] | None = None
    bias: float
    total: float
    difference: float
    largest: tuple[LargeHead, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(layers=self.layers, heads=self.heads, biases=self.biases, mlp=self.mlp, edits=self.edits)
        for row in self.heads:
            as_many(n_heads=self.n_heads, heads=row)
        within("position", self.position, len(self.encoded.ids))
        for each in self.largest:
            within("a layer", each.layer, self.layers)
            within("a head", each.head, self.n_heads)
            for looked in each.looked_at:
                within("a token", looked.token, len(self.encoded.ids))
        return self


def run(model: LoadedModel, request: HeadsRequest, progress: Progress) -> HeadsResult:
    """Take the difference apart by one forward pass, then look at the heads that add most.

    Raises as `taken_apart` does, and `ModelError` for a model whose attention is no sum over heads.
    """
    progress(0, 2, stage="forward pass")
    apart = taken_apart(model, request.case, request.position, by_head=True)
    added = apart.added
    heads, by_head, biases = per_head(model, apart)
    parts = torch.cat([apart.part(added.embedding)[None], biases, apart.part(added.mlp), apart.part(added.edits)])
    total = float(parts.sum() + heads.sum()) + apart.readout.bias
    found = HeadsResult(
        encoded=apart.encoded,
        layers=model.info.layers,
        n_heads=model.heads.count,
        position=apart.position,
        target=token_text(model.tokenizer, apart.target),
        foil=None if apart.foil is None else token_text(model.tokenizer, apart.foil),
        embedding=significant(apart.part(added.embedding)),
        heads=significant(heads),
        biases=significant(biases),
        mlp=significant(apart.part(added.mlp)),
        edits=significant(apart.part(added.edits)) if bool(added.edits.any()) else None,
        bias=rounded(apart.readout.bias),
        total=rounded(total),
        difference=rounded(apart.difference),
        checks=checks(model, apart, total),
    )
    progress(1, 2, found, stage="where the largest heads look")
    largest, check = _largest(model, apart, heads, by_head, request.largest, progress)
    progress(2, 2, stage="where the largest heads look")
    return found.model_copy(update={"largest": largest, "checks": (*found.checks, check)})


def per_head(model: LoadedModel, apart: Apart) -> tuple[Tensor, Sequence[Tensor], Tensor]:
    """The parts of heads ``(layers, heads)``, what they add ``(heads, d_model)`` by layer, and the biases' parts."""
    read = apart.added.read.view(model.info.layers, model.heads.count, model.heads.width)
    added = [added_by_head(model, layer, read[layer]) for layer in range(model.info.layers)]
    heads = torch.stack([apart.part(by_head) for by_head, _ in added])
    return heads, [by_head for by_head, _ in added], torch.stack([apart.part(bias) for _, bias in added])


def _largest(
    model: LoadedModel, apart: Apart, heads: Tensor, by_head: Sequence[Tensor], count: int, progress: Progress
) -> tuple[tuple[LargeHead, ...], Check]:
    order = heads.abs().flatten().argsort(descending=True)[:count].tolist()
    places = [divmod(at, model.heads.count) for at in order]
    attending = Attending(model, apart.encoded.ids[: apart.position + 1])
    weights = {}
    for done, layer in enumerate(sorted({layer for layer, _ in places})):
        progress(1, 2, stage=f"where the largest heads look ({done + 1})")
        weights[layer] = attending.layer(layer, apart.position).weights[:, 0].float()
    found = []
    for layer, head in places:
        shares, tokens = weights[layer][head].clamp(0, 1).topk(min(LOOKED_AT, apart.position + 1))
        logits = vocabulary_logits(model, apart.added.last, by_head[layer][head])
        found.append(
            LargeHead(
                layer=layer,
                head=head,
                added=rounded(float(heads[layer, head])),
                looked_at=tuple(
                    Looked(token=token, weight=rounded(share))
                    for share, token in zip(shares.tolist(), tokens.tolist(), strict=True)
                ),
                writes=tuple(RaisedToken(text=text, logit=by) for text, by in top_tokens(model, logits, LOOKED_AT)),
            )
        )
    return tuple(found), Check(name="eager", text=f"blocks called alone are off by {attending.parity:.0e}", level="ok")
