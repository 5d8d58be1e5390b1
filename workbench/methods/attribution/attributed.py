"""What attribution explains: one number that the model says, as a function of the prompt's own embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from workbench.case import Case
from workbench.errors import InputError, NumericalError
from workbench.lazy import torch
from workbench.memory import is_out_of_memory
from workbench.models.tokens import EncodedCase, TokenChoice, token_text

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


MOST_IN_FLOAT64 = 500_000_000
"""Parameters of the largest model that is copied in float64 (4 GB) where float32 rounds too coarsely."""


@dataclass(frozen=True)
class ComparedTokens:
    """The next token that is explained, and the one it is compared with. ``origin`` says who chose the target."""

    target: TokenChoice
    foil: TokenChoice | None
    origin: str


@dataclass(frozen=True, eq=False)
class Attributed:
    """The target's logit minus the foil's, or its log-probability without one, after the last token.

    ``inputs`` and ``baseline`` ``(tokens, width)`` are embeddings of tokens [start, stop) of the encoded case, the
    prompt's own; ``before`` and ``after`` ``(tokens, width)`` stay fixed around them. All are what the embedding
    module puts out, in float32. ``weights`` are copies of the model's, by name, to run it in another dtype than its
    own; ``dtype`` is what it runs in.
    """

    model: LoadedModel
    start: int
    stop: int
    before: Tensor
    inputs: Tensor
    after: Tensor
    baseline: Tensor
    baseline_text: str
    compared: ComparedTokens
    weights: dict[str, Tensor]
    dtype: str

    @cached_property
    def in_float64(self) -> Attributed | None:
        """The same question in float64, for where float32 rounds too coarsely; None where that costs too much.

        (The models' own norms and rotations still go through float32; what they are added to does not.)
        """
        model = self.model
        small = model.info.parameters <= MOST_IN_FLOAT64
        mixture_of_experts = model.anatomy.mixes_experts  # its matrix kernel knows no float64
        if self.dtype != "float32" or not small or mixture_of_experts or model.hf.device.type == "mps":
            return None
        with torch.no_grad():
            parts = {name: getattr(self, name).double() for name in ("before", "inputs", "after", "baseline")}
            return replace(self, **parts, weights=_copies(model, torch.float64), dtype="float64")

    def value(self, embeddings: Tensor) -> Tensor:
        """The number ``(batch,)``, logits or nats, with ``(batch, tokens, width)`` in the place of ``inputs``."""
        logits = _logits(self.model, self.weights, self.before, embeddings, self.after)
        target, foil = self.compared.target, self.compared.foil
        if foil is None:
            return logits.log_softmax(dim=-1)[:, target.id]
        return logits[:, target.id] - logits[:, foil.id]

    def bytes_each(self, *, gradient: bool) -> int:
        """About what one evaluation holds: activations of a layer, or with a gradient of all, and the logits."""
        anatomy, tokens = self.model.anatomy, len(self.before) + len(self.inputs) + len(self.after)
        heads = self.model.anatomy.heads
        # Counted on Llama's block: the residual stream, norms, queries, keys, values and attention's output are
        # about twelve times d_model, the MLP's five times d_mlp, and attention weights where the kernel keeps them.
        layer = tokens * (12 * anatomy.d_model + 5 * anatomy.d_mlp) + heads * tokens**2
        return 4 * (layer * (anatomy.n_layers if gradient else 2) + 3 * self.model.info.vocabulary)


def ask(
    model: LoadedModel,
    case: Case,
    position: int | None = None,
    baseline: str = "mean",
    target: str | None = None,
    foil: str | None = None,
) -> tuple[EncodedCase, int, Attributed]:
    """Make the question of a case, and say which token (``position``) its answer follows.

    ``target`` and ``foil`` replace the case's. Those of the case belong to the end of the prompt: after an earlier
    token the target is the token that really follows, without a foil. A target that nobody named at the end is the
    model's own top token. Raises `InputError` for a position outside the prompt's own text, a baseline that is not
    one token, and a target equal to the foil; `NumericalError` where the logits are not finite.
    """
    named = {name: text for name, text in (("target", target), ("foil", foil)) if text is not None}
    model.check_embeddings()
    encoded = model.encode(case)
    place = _place(encoded, position)
    ids = torch.tensor(encoded.ids[: place + 1], device=model.hf.device)
    start, stop = encoded.prepended, min(place + 1, len(encoded.ids) - encoded.appended)
    with torch.no_grad():
        embeddings = _embeddings(model, ids)
        base, base_text = _baseline(model, baseline, embeddings.shape[-1])
        weights, dtype = _float32_weights(model)
        parts = embeddings[:start], embeddings[start:stop], embeddings[stop:]
        logits = _logits(model, weights, parts[0], parts[1][None], parts[2])[0]
    if not bool(torch.isfinite(logits).all()):
        raise NumericalError("the model's logits are not finite; load another checkpoint, or switch edits off")
    if place == len(encoded.ids) - 1:
        if named:
            encoded = model.encode(case.model_copy(update=named))
        compared = _at_the_end(model, encoded, int(logits.argmax()), named)
    else:
        compared = _inside(model, encoded, place, named)
    if compared.foil is not None and compared.foil.id == compared.target.id:
        raise InputError(
            f"the foil “{compared.foil.text}” is the target too, as {compared.origin}; name another target or foil"
        )
    question = Attributed(model, start, stop, *parts, base.expand_as(parts[1]), base_text, compared, weights, dtype)
    return encoded, place, question


def _place(encoded: EncodedCase, position: int | None) -> int:
    n_tokens = len(encoded.ids)
    position = n_tokens - 1 if position is None else position
    if not -n_tokens <= position < n_tokens:
        raise InputError(f"there is no token {position}: the prompt has {n_tokens}, counted from 0")
    place = position % n_tokens
    if place < encoded.prepended:
        raise InputError(f"token {place} stands before the prompt's own text; choose one from {encoded.prepended} on")
    return place


def _at_the_end(model: LoadedModel, encoded: EncodedCase, top: int, named: dict[str, str]) -> ComparedTokens:
    if encoded.target is not None:
        return ComparedTokens(encoded.target, encoded.foil, "named here" if "target" in named else "the case's")
    own = TokenChoice(id=top, text=token_text(model.tokenizer, top), pieces=1)
    return ComparedTokens(own, encoded.foil, "the model's own top token")


def _inside(model: LoadedModel, encoded: EncodedCase, place: int, named: dict[str, str]) -> ComparedTokens:
    """After an earlier token. What was named is encoded as a continuation of the text up to there."""
    follows = TokenChoice(id=encoded.ids[place + 1], text=encoded.texts[place + 1], pieces=1)
    if not named:
        return ComparedTokens(follows, None, "the token that follows")
    text = model.tokenizer.decode(encoded.ids[encoded.prepended : place + 1], clean_up_tokenization_spaces=False)
    if not text.strip():
        raise InputError(f"nothing but blanks stands before token {place + 1}; choose a later one")
    there = model.encode(Case(prompt=text, **named))
    if there.target is None:
        return ComparedTokens(follows, there.foil, "the token that follows")
    return ComparedTokens(there.target, there.foil, "named here")


def _embeddings(model: LoadedModel, ids: Tensor) -> Tensor:
    """What the embedding module puts out, scaled where it scales, ``(tokens, width)`` in float32."""
    embeddings: Tensor = model.embedding(ids)
    return embeddings.float()


def _baseline(model: LoadedModel, baseline: str, width: int) -> tuple[Tensor, str]:
    """An embedding ``(1, width)`` that says as little as possible, and what it is in words."""
    device = model.hf.device
    if baseline == "zero":
        return torch.zeros(1, width, device=device), "zero"
    if baseline == "mean":
        vocabulary = torch.arange(model.hf.get_input_embeddings().weight.shape[0], device=device)
        sums = [_embeddings(model, ids).sum(dim=0, keepdim=True) for ids in torch.split(vocabulary, 8192)]
        return torch.stack(sums).sum(dim=0) / len(vocabulary), "mean embedding"
    if baseline == "eos":
        ids = [model.tokenizer.eos_token_id]
        if ids == [None]:
            raise InputError("this tokenizer has no end token; use the baseline mean, zero or a token")
    else:
        ids = model.tokenizer(baseline, add_special_tokens=False)["input_ids"]
        if len(ids) != 1 or ids[0] == model.tokenizer.unk_token_id:
            raise InputError(
                f"the baseline {baseline!r} is not one token of this model ({len(ids)} were found); use mean, eos, "
                "zero or the text of a single token"
            )
    text = f"“{token_text(model.tokenizer, ids[0])}”"
    return _embeddings(model, torch.tensor(ids, device=device)), text


def _float32_weights(model: LoadedModel) -> tuple[dict[str, Tensor], str]:
    """What a half-precision model needs to run in float32, and the dtype it will run in.

    The model itself stays as it is. Where the copies do not fit, its own dtype has to do.
    """
    try:
        return _copies(model, torch.float32), "float32"
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return {}, model.info.dtype


def _copies(model: LoadedModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's floating-point weights that are of another dtype, in this one, by name."""
    state = {**dict(model.hf.named_parameters()), **dict(model.hf.named_buffers())}
    return {
        name: tensor.detach().to(dtype)
        for name, tensor in state.items()
        if tensor.is_floating_point() and tensor.dtype.itemsize < dtype.itemsize
    }


def _logits(
    model: LoadedModel, weights: dict[str, Tensor], before: Tensor, embeddings: Tensor, after: Tensor
) -> Tensor:
    """The next token's logits ``(batch, vocabulary)`` in the dtype of ``embeddings`` ``(batch, tokens, width)``."""
    batch = len(embeddings)
    whole = torch.cat([before.expand(batch, -1, -1), embeddings, after.expand(batch, -1, -1)], dim=1)
    if not weights:  # either it is float32 already, or there is no room for that
        whole = whole.to(model.hf.dtype)
    settings: dict[str, Any] = {"inputs_embeds": whole, "use_cache": False, "logits_to_keep": 1}
    output = torch.func.functional_call(model.hf, weights, (), settings)
    logits: Tensor = output.logits[:, -1].to(embeddings.dtype)
    return logits
