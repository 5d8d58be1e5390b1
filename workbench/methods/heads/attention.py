"""Where one attention head looks, what it takes from each token, and which tokens it writes.

Weights alone mislead: a token that is looked at much may give a value of nearly nothing (Kobayashi et al. 2020, arXiv
2004.10102). So beside each weight stands what arrives from that token in the logit difference: weight × value · W_O,
read by the unembedding. These sum to what the head adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.lazy import torch
from workbench.methods.heads.head_attribution import RaisedToken, per_head
from workbench.methods.heads.names import head_named
from workbench.methods.heads.written import AFTER_ATTENTION, top_tokens, vocabulary_logits
from workbench.models.forward.apart import Apart, taken_apart
from workbench.models.forward.attending import Attended, Attending, written_by_head
from workbench.models.forward.readout import measured_norm
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded, significant
from workbench.protocol import Check, Progress, Request, Result
from workbench.shapes import Layer, Share, as_many, within

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

SINK = 0.3
"""A token with more of the attention of those after it, on average, is a sink (Gu et al. 2024, arXiv 2410.10781)."""

LATER = 3
"""So many tokens must come after a sink, or their average says little."""

GRID = 192
"""Prompts of more tokens have no grid: a session would hold its square in numbers."""

WRITTEN = 10
"""Tokens that are named as raised, and as lowered."""

PRODUCT = {"float32": 1e-4, "float64": 1e-4}
"""Largest relative difference at which weights × values pass as what the output projection reads, by dtype."""

PRODUCT_OF_HALF = 0.05


class AttentionRequest(Request):
    """Ask where a head looks from one token; without a head it is the one that adds most to the difference there."""

    kind: Literal["attention"] = "attention"
    case: Case
    position: Annotated[int | None, Field(description="The token that looks; else the last.")] = None
    head: Annotated[
        str, Field(description="Layer and head, as L23H4; else the head that adds most to the difference.")
    ] = ""


class AttentionResult(Result):
    """What a head does after token ``position``.

    ``weights`` is the share of its attention on each token up to there, ``(tokens,)``; ``beyond`` what is missing to 1,
    which a model with learned sinks gives to no token. ``arriving`` ``(tokens,)`` is what comes from each token, in
    logits of target − foil; with the values' biases, they sum to ``added`` but for what a norm after attention adds.
    ``grid`` has the weights of every token of the prompt, as many as tokens up to it; it is empty for long prompts.
    ``sinks`` are the tokens that get much of everybody's attention. ``raises`` and ``lowers`` are the tokens whose
    logits the head changes most.
    """

    kind: Literal["attention"] = "attention"
    encoded: EncodedCase
    position: int
    layer: Layer
    head: Annotated[int, Field(ge=0)]
    shared_by: Annotated[int, Field(ge=1)]
    target: str
    foil: str | None
    added: float
    weights: tuple[Share, ...]
    beyond: Share = 0.0
    arriving: tuple[float, ...]
    grid: tuple[tuple[Share, ...], ...] = ()
    sinks: tuple[int, ...] = ()
    raises: tuple[RaisedToken, ...]
    lowers: tuple[RaisedToken, ...]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        tokens = len(self.encoded.ids)
        within("position", self.position, tokens)
        as_many(tokens=self.position + 1, weights=self.weights, arriving=self.arriving)
        if self.grid:
            as_many(tokens=tokens, grid=self.grid)
        for token, row in enumerate(self.grid):
            as_many(tokens=token + 1, weights=row)
        for sink in self.sinks:
            within("a sink", sink, tokens)
        return self


def run(model: LoadedModel, request: AttentionRequest, progress: Progress) -> AttentionResult:
    """Look at one head.

    Raises as `taken_apart` does, `InputError` for a head that does not exist, and `ModelError` for a model without
    attention, or whose attention cannot be taken apart.
    """
    heads = model.heads
    wanted = head_named(request.head) if request.head else None
    if wanted:
        heads.check(*wanted, model.info.layers)
    progress(0, 2, stage="forward pass")
    apart = taken_apart(model, request.case, request.position, by_head=True)
    parts, by_head, _ = per_head(model, apart)
    layer, head = wanted or divmod(int(parts.abs().argmax()), heads.count)
    progress(1, 2, stage="attention")
    attending = Attending(model, apart.encoded.ids)
    attended = attending.layer(layer)
    weights = attended.weights[head].float().clamp(0, 1)
    row = weights[apart.position, : apart.position + 1]
    logits = vocabulary_logits(model, apart.added.last, by_head[layer][head])
    progress(2, 2, stage="attention")
    return AttentionResult(
        encoded=apart.encoded,
        position=apart.position,
        layer=layer,
        head=head,
        shared_by=heads.count // heads.kv_heads,
        target=token_text(model.tokenizer, apart.target),
        foil=None if apart.foil is None else token_text(model.tokenizer, apart.foil),
        added=rounded(float(parts[layer, head])),
        weights=significant(row, 5),
        beyond=_beyond(row),
        arriving=significant(_arriving(model, apart, attended, layer, head), 5),
        grid=_grid(weights) if len(weights) <= GRID else (),
        sinks=sinks(weights),
        raises=tuple(RaisedToken(text=text, logit=by) for text, by in top_tokens(model, logits, WRITTEN)),
        lowers=tuple(RaisedToken(text=text, logit=-by) for text, by in top_tokens(model, -logits, WRITTEN)),
        checks=(_product(model, attended), Check(name="eager", text=f"off by {attending.parity:.0e}", level="ok")),
    )


def sinks(weights: Tensor) -> tuple[int, ...]:
    """The tokens that are sinks, by what looks at what ``(tokens, tokens)``."""
    tokens = len(weights)
    received = [float(weights[token + 1 :, token].mean()) for token in range(tokens - LATER)]
    return tuple(token for token, share in enumerate(received) if share > SINK)


def _beyond(row: Tensor) -> float:
    missing = 1 - float(row.double().sum())
    return rounded(missing) if missing > 1e-3 else 0.0


def _grid(weights: Tensor) -> tuple[tuple[float, ...], ...]:
    rows = significant(weights, 4)
    return tuple(row[: token + 1] for token, row in enumerate(rows))


def _arriving(model: LoadedModel, apart: Apart, attended: Attended, layer: int, head: int) -> Tensor:
    """What comes from each token ``(tokens,)``, in the logit difference."""
    own = (
        attended.weights[head, apart.position, : apart.position + 1, None] * attended.values[head][: apart.position + 1]
    )
    read = torch.zeros(len(own), model.heads.count, model.heads.width, dtype=own.dtype, device=own.device)
    read[:, head] = own
    written = written_by_head(model, layer, read)[0][:, head]
    if model.heads.normed:
        module = model.anatomy.in_block(model.hf, layer, model.heads.output_projection)
        with torch.no_grad():
            whole = module(attended.read[apart.position].flatten()[None])[0]
        written = measured_norm(model.attention(layer), whole, model, AFTER_ATTENTION).without_bias(written)
    return apart.part(written)


def _product(model: LoadedModel, attended: Attended) -> Check:
    allowed = PRODUCT.get(model.info.dtype, PRODUCT_OF_HALF)
    misfit = attended.misfit
    text = f"weights × values are off by {misfit:.0e}"
    return Check(name="product", text=text, level="ok" if misfit <= allowed else "warn")
