"""The logit lens: what the model would say if it stopped at each layer.

The state after every block (and the embedding, the state before the first) is read through the model's own final
norm and unembedding, at every token: nostalgebraist, "interpreting GPT: the logit lens" (2020). A corrected lens maps
each state to the final residual stream first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from workbench.case import Case
from workbench.errors import InputError
from workbench.lazy import nnsight, torch
from workbench.memory import in_batches
from workbench.methods.lens.corrected import chosen_lens, fit_checks
from workbench.methods.lens.row_numbers import row_numbers
from workbench.methods.lens.translators import LensFit, LensName
from workbench.models.anatomy import tensor_of
from workbench.models.tokens import EncodedCase, token_texts
from workbench.numbers import significant
from workbench.protocol import Check, Frozen, Progress, Request, Result
from workbench.shapes import LayerCount, as_many

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from workbench.loading import LoadedModel

PARITY = 1e-3
"""Largest difference (logits, float32) between the last row and the model's own output that passes as the same."""

MOST_KEPT = 100
"""Most tokens that can be kept in a cell: a session holds them all."""

STAGES = ("forward pass", "unembedding")
"""What a lens does once it is there; before that a corrected one may have to be fitted or measured."""

LOGITS_BUDGET = 32 * 2**20
"""Bytes of logits held at once: about ten tokens of the default model with all its layers."""


class LensRequest(Request):
    """Ask for the lens at every token of a case, or at ``positions`` only.

    ``first`` is the token (index into the encoded case) that is computed first, the last one by default, so that a
    pane can show it while the others follow. Negative tokens count from the end. ``top_k`` tokens are kept in each
    cell. ``lens`` says how states are read: a ridge lens that was not fitted yet is fitted first, and a tuned or a
    Jacobian one is that of ``lens_file``, or else the last one of these weights.
    """

    kind: Literal["lens"] = "lens"
    case: Case
    first: int | None = None
    positions: tuple[int, ...] | None = None
    top_k: Annotated[int, Field(description="Tokens listed for each layer.")] = 5
    lens: Annotated[LensName, Field(description="How the states are read: plainly, or by a corrected lens.")] = "logit"
    lens_file: Annotated[str | None, Field(description="A tuned or Jacobian lens that somebody has fitted.")] = None


class TokenTrack(Frozen):
    """One token followed through the layers: probability and rank (1 is the top) in each row."""

    probability: tuple[float, ...]
    rank: tuple[PositiveInt, ...]


class LensColumn(Frozen):
    """The lens at one token. Every field has one entry a row: the embedding first, then the blocks in order.

    ``entropy`` is in bits. ``kl`` is KL(final ‖ row) in nats: what is lost by believing this row in place of the
    model's answer. ``logit_difference`` is the target's logit minus the foil's.
    """

    top_tokens: tuple[tuple[str, ...], ...]
    top_probabilities: tuple[tuple[float, ...], ...]
    entropy: tuple[float, ...]
    kl: tuple[float, ...]
    target: TokenTrack | None = None
    foil: TokenTrack | None = None
    logit_difference: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(
            entropy=self.entropy,
            top_tokens=self.top_tokens,
            top_probabilities=self.top_probabilities,
            kl=self.kl,
            logit_difference=self.logit_difference,
        )
        for track in filter(None, (self.target, self.foil)):
            as_many(entropy=self.entropy, probability=track.probability, rank=track.rank)
        kept = {len(row) for row in (*self.top_tokens, *self.top_probabilities)}
        if len(kept) != 1 or 0 in kept:
            raise ValueError("every row must have as many top_tokens and top_probabilities, and there must be some")
        return self


class LensAnswer(Frozen):
    """The most likely next token and the probabilities of target and foil beside it."""

    token: str
    probability: float
    target: float | None = None
    foil: float | None = None


class LensResult(Result):
    """``columns`` has one entry a token of ``encoded``; None where not asked for, or not there yet.

    A column has ``layers + 1`` rows. ``after_separator`` is the answer at the last token when the same prompt
    has BOS or separator prepended: given where the first position holds a word of the prompt, which models that
    use that position as an attention sink read badly. ``fit`` is what is known of a corrected lens.
    """

    kind: Literal["lens"] = "lens"
    encoded: EncodedCase
    layers: LayerCount
    columns: tuple[LensColumn | None, ...]
    after_separator: LensAnswer | None = None
    fit: LensFit | None = None

    @property
    def lens(self) -> LensName:
        """How the states were read."""
        return self.fit.lens if self.fit is not None else "logit"

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(tokens=self.encoded.ids, columns=self.columns)
        if self.fit is not None:
            as_many(layers_and_embedding=self.layers + 1, held_out=self.fit.held_out.lens)
        for column in filter(None, self.columns):
            as_many(layers_and_embedding=self.layers + 1, rows=column.entropy)
            for name in ("target", "foil"):
                if (getattr(column, name) is None) != (getattr(self.encoded, name) is None):
                    raise ValueError(f"a column must follow the {name} where there is one, and only there")
        return self


def run(model: LoadedModel, request: LensRequest, progress: Progress) -> LensResult:
    """Compute the lens, the cursor's token first.

    Raises `InputError` for a case that cannot be encoded, a position outside it or a lens that is not there or for
    other weights, `NumericalError` for NaN logits.
    """
    encoded = model.encode(request.case)
    order = order_of(request, len(encoded.ids))
    fit, translators = chosen_lens(model, request.lens, request.lens_file, progress)
    progress(0, len(order), stage=STAGES[0])
    states, logits = _forward(model, encoded.ids)
    if not bool(torch.isfinite(logits).all()):
        raise model.not_finite("the model's logits are")

    columns: list[LensColumn | None] = [None] * len(encoded.ids)
    parity = 0.0
    separated: LensAnswer | None = None
    edited = bool(model.edits.active)

    def found() -> LensResult:
        checks = (
            parity_check(parity, model.info.dtype),
            *(fit_checks(fit, (model.info.layers + 1) // 2, edited=edited) if fit else ()),
            *_first_position_check(columns, separated),
        )
        return LensResult(
            encoded=encoded,
            layers=model.info.layers,
            columns=tuple(columns),
            after_separator=separated,
            fit=fit,
            checks=checks,
        )

    def read(positions: list[int]) -> None:
        nonlocal parity
        some = states[:, positions]
        if translators is None:
            rows = model.unembed(some).float()  # (layers + 1, positions, vocabulary)
        else:
            rows = torch.stack([translators.logits(model, row, each).float() for row, each in enumerate(some)])
        parity = max(parity, float((rows[-1] - logits[positions].float()).abs().max()))
        for index, position in enumerate(positions):
            numbers = row_numbers(rows[:, index], rows[-1:, index], request.top_k, watched(encoded))
            columns[position] = column_of(numbers, model.tokenizer, encoded)

    with torch.no_grad():
        read(order[:1])
        progress(1, len(order), found(), stage=STAGES[1])
        if encoded.starts_bare and len(encoded.ids) - 1 in order:
            separated = _answer_after_separator(model, request.case)
        bytes_each = len(states) * logits.shape[-1] * 4
        for done in in_batches(order[1:], max(1, LOGITS_BUDGET // bytes_each), read, bytes_each):
            progress(1 + done, len(order), found(), stage=STAGES[1])
    return found()


def order_of(request: LensRequest, n_tokens: int) -> list[int]:
    """The tokens asked for, the first one first and its neighbors next: where the cursor goes from there."""
    wanted = range(n_tokens) if request.positions is None else [_index(p, n_tokens) for p in request.positions]
    first = _index(request.first, n_tokens) if request.first is not None else max(wanted, default=n_tokens - 1)
    if not 1 <= request.top_k <= MOST_KEPT:
        raise InputError(f"top-k must be between 1 and {MOST_KEPT}, not {request.top_k}")
    return [first, *sorted(set(wanted) - {first}, key=lambda p: (abs(p - first), p))]


def _index(position: int, n_tokens: int) -> int:
    if not -n_tokens <= position < n_tokens:
        raise InputError(f"there is no token {position}: the prompt has {n_tokens}, counted from 0")
    return position % n_tokens


def _forward(model: LoadedModel, ids: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """One forward: states ``(layers + 1, tokens, d_model)`` and the model's logits ``(tokens, vocabulary)``."""
    input_ids = torch.tensor([ids], device=model.hf.device)
    with torch.no_grad():
        with model.nn.trace(input_ids=input_ids, use_cache=False):
            states = nnsight.save([])
            states.append(model.nn.blocks[0].input)
            for block in model.nn.blocks:
                states.append(tensor_of(block.output))
            logits = nnsight.save(model.nn.output.logits)
    return torch.cat(list(states)), logits[0]


def column_of(
    numbers: Mapping[str, torch.Tensor], tokenizer: PreTrainedTokenizerBase, encoded: EncodedCase
) -> LensColumn:
    """One token's rows as plain numbers, from what `row_numbers` says of them and of the `watched` tokens."""
    rows, k = numbers["top"].shape
    texts = token_texts(tokenizer, numbers["top"].flatten().tolist())
    tracks = [
        TokenTrack(probability=significant(p), rank=tuple(rank.tolist()))
        for p, rank in zip(numbers["p"].T, numbers["rank"].T, strict=True)
    ]
    logits = numbers["logit"]
    return LensColumn(
        top_tokens=tuple(tuple(texts[row * k : (row + 1) * k]) for row in range(rows)),
        top_probabilities=significant(numbers["top_p"]),
        entropy=significant(numbers["entropy"]),
        kl=significant(numbers["kl"]),
        target=tracks[0] if encoded.target else None,
        foil=tracks[-1] if encoded.foil else None,
        logit_difference=significant(logits[:, 0] - logits[:, 1]) if encoded.target and encoded.foil else None,
    )


def watched(encoded: EncodedCase) -> tuple[int, ...]:
    """The tokens that are followed through the layers: target, then foil, as far as there are any."""
    return tuple(choice.id for choice in (encoded.target, encoded.foil) if choice)


def _answer_after_separator(model: LoadedModel, case: Case) -> LensAnswer | None:
    try:
        encoded = model.encode(case.model_copy(update={"prepend": "separator"}))
    except InputError:  # no such token, or no room for it: then there is nothing to compare with
        return None
    input_ids = torch.tensor([encoded.ids], device=model.hf.device)
    p = model.hf(input_ids=input_ids, use_cache=False).logits[0, -1].float().softmax(dim=-1)
    best = p.topk(1)
    return LensAnswer(
        token=token_texts(model.tokenizer, best.indices.tolist())[0],
        probability=significant(best.values)[0],
        target=significant(p[encoded.target.id]) if encoded.target else None,
        foil=significant(p[encoded.foil.id]) if encoded.foil else None,
    )


def parity_check(parity: float, dtype: str) -> Check:
    """The lens' last row against the model's own logits; half precision rounds more coarsely."""
    allowed = PARITY if dtype == "float32" else 0.5
    return Check(name="lens parity", text=f"{parity:.0e}", level="ok" if parity <= allowed else "warn")


def _first_position_check(columns: list[LensColumn | None], separated: LensAnswer | None) -> tuple[Check, ...]:
    """What the first position does to the answer: a failure can be the prompt's and not the model's."""
    last = columns[-1]
    if separated is None or last is None:
        return ()
    now = last.top_tokens[-1][0]
    verb = "stays" if separated.token == now else "becomes"
    text = f"the top answer {verb} “{separated.token.strip()}” {separated.probability:.2f} after BOS or separator"
    return (Check(name="first position", text=text, level="info" if verb == "stays" else "warn"),)
