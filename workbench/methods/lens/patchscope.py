"""A patchscope: what the model itself says of one state when it is put into a prompt that repeats what it is given.

Ghandeharioun et al. 2024, "Patchscopes" (arXiv 2401.06102), section 4.1: the residual stream after a layer at a token
of the prompt takes the place of that of the last token of an identity prompt, after the same layer, and the rest of
the model reads it there. Unlike a lens it is nonlinear and fitted to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from workbench.case import Case
from workbench.errors import InputError
from workbench.figures import Cell, Column, Figure, Table, notes, said
from workbench.lazy import torch
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.tokens import EncodedCase, encode, token_texts
from workbench.numbers import significant
from workbench.protocol import Check, Progress, Request, Result

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

IDENTITY = "cat -> cat\n1135 -> 1135\nhello -> hello\n?"
"""What repeats: the last token's state is replaced."""

PARITY, PARITY_OF_HALF = 1e-3, 0.5
"""Largest difference in logits that passes as the same where the prompt's own state was put in its own place."""


class PatchscopeRequest(Request):
    """Ask what the state after a layer, at a token of a case, says in the identity prompt.

    Layer −1 is the embedding, ``None`` the layer in the middle. Negative positions count from the end.
    """

    kind: Literal["patchscope"] = "patchscope"
    case: Case
    layer: Annotated[int | None, Field(description="The layer whose state is read, else the middle one.")] = None
    position: Annotated[int, Field(description="The token to read at, from 0; negative from the end.")] = -1
    top_k: Annotated[int, Field(ge=1, le=100, description="Tokens that are listed.")] = 5


class PatchscopeResult(Result):
    """The likeliest tokens after the patched state, and target's and foil's probabilities there.

    ``kl`` is KL(final ‖ patchscope) in nats, final being the model's answer at the token the state was taken from.
    ``unpatched`` is what the identity prompt says by itself.
    """

    kind: Literal["patchscope"] = "patchscope"
    encoded: EncodedCase
    layer: Annotated[int, Field(ge=-1)]
    position: Annotated[int, Field(ge=0)]
    top_tokens: Annotated[tuple[str, ...], Field(min_length=1)]
    top_probabilities: Annotated[tuple[float, ...], Field(min_length=1)]
    target: float | None
    foil: float | None
    kl: float
    unpatched: str


def run(model: LoadedModel, request: PatchscopeRequest, progress: Progress) -> PatchscopeResult:
    """Three forwards: the prompt, the identity prompt, and that with the state put in; a fourth checks the patch.

    Raises `InputError` for a layer or token that does not exist, `NumericalError` for NaN logits.
    """
    encoded = model.encode(request.case)
    layers, tokens = model.info.layers, len(encoded.ids)
    layer = layers // 2 if request.layer is None else request.layer
    if not -1 <= layer < layers:
        raise InputError(f"there is no layer {layer}: the model has {layers}, counted from 0; −1 is the embedding")
    if not -tokens <= request.position < tokens:
        raise InputError(f"there is no token {request.position}: the prompt has {tokens}, counted from 0")
    position = request.position % tokens
    identity = encode(model.tokenizer, Case(prompt=IDENTITY, prepend="separator"), model.info.context).ids
    progress(0, 4, stage="the prompt")
    state, final = _run(model, encoded.ids, layer, position)
    progress(1, 4, stage="the identity prompt")
    own, unpatched = _run(model, identity, layer, len(identity) - 1)
    progress(2, 4, stage="patched")
    _, patched = _run(model, identity, layer, len(identity) - 1, state)
    progress(3, 4, stage="checking the patch")
    _, again = _run(model, identity, layer, len(identity) - 1, own)
    if not bool(patched.isfinite().all() and final.isfinite().all()):
        raise model.not_finite("the logits are")
    log_p, log_final = patched.log_softmax(dim=-1), final.log_softmax(dim=-1)
    p = log_p.exp()
    top = p.topk(min(request.top_k, len(p)))
    texts = token_texts(model.tokenizer, [*top.indices.tolist(), int(unpatched.argmax())])
    return PatchscopeResult(
        encoded=encoded,
        layer=layer,
        position=position,
        top_tokens=tuple(texts[:-1]),
        top_probabilities=significant(top.values),
        target=significant(p[encoded.target.id]) if encoded.target else None,
        foil=significant(p[encoded.foil.id]) if encoded.foil else None,
        kl=max(0.0, float((log_final.exp() * (log_final - log_p)).nan_to_num(0.0).sum())),
        unpatched=texts[-1],
        checks=_checks(model, float((again - unpatched).abs().max()), texts[0], texts[-1]),
    )


def _run(
    model: LoadedModel, ids: tuple[int, ...], layer: int, position: int, put: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The state ``(d_model,)`` after a layer at a token, and the logits there; ``put`` stands in the state's place."""
    seen: list[Tensor] = []

    def changed(states: Tensor) -> Tensor:
        seen.append(states[0, position].clone())
        if put is not None:
            states = states.clone()
            states[0, position] = put
        return states

    def before(_module: Any, args: Any, kwargs: Any) -> Any:
        states = changed(args[0] if args else kwargs["hidden_states"])
        return ((states, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": states})

    def after(_module: Any, _args: Any, output: Any) -> Any:
        return with_tensor(output, changed(tensor_of(output)))

    block = model.block_modules[max(layer, 0)]
    with ExitStack() as hooks, torch.no_grad():
        undo: Callable[[], None]
        if layer < 0:
            undo = block.register_forward_pre_hook(before, with_kwargs=True).remove
        else:
            undo = block.register_forward_hook(after).remove
        hooks.callback(undo)
        logits = model.hf(input_ids=torch.tensor([ids], device=model.hf.device), use_cache=False).logits
    return seen[0], logits[0, position].float()


def _checks(model: LoadedModel, parity: float, first: str, unpatched: str) -> tuple[Check, ...]:
    allowed = PARITY if model.info.dtype == "float32" else PARITY_OF_HALF
    found = Check(name="patch parity", text=f"{parity:.0e}", level="ok" if parity <= allowed else "warn")
    if first != unpatched:
        return (found,)
    text = f"it says “{unpatched.strip()}” without the state too, so that this may be the prompt's"
    return (found, Check(name="identity prompt", text=text, level="warn"))


def patchscope_figures(result: PatchscopeResult) -> tuple[Figure, ...]:
    """The likeliest tokens, and what became of target and foil."""
    encoded = result.encoded
    where = "the embedding" if result.layer < 0 else f"layer {result.layer}"
    pairs = ((encoded.target, result.target), (encoded.foil, result.foil))
    tracked = [f"p(“{choice.text.strip()}”) {p:.2f}" for choice, p in pairs if choice is not None and p is not None]
    rows = [
        (Cell(text=token.strip() or token), Cell(text=f"{p:.2f}"))
        for token, p in zip(result.top_tokens, result.top_probabilities, strict=True)
    ]
    columns = (Column(heading="token"), Column(heading="p", right=True))
    title = f"Patchscope of {where} at “{encoded.texts[result.position].strip()}” (token {result.position})"
    sums = ", ".join([*tracked, f"KL to the final distribution {result.kl:.2f} nats"])
    return (
        Table(title=title, columns=columns, rows=tuple(rows)),
        *said(sums, f"The identity prompt by itself says “{result.unpatched.strip()}”"),
        *notes(encoded.notes),
    )
