"""A counterfactual prompt: the smallest change of its tokens that turns the answer.

Swaps are proposed by the gradient, as in HotFlip (Ebrahimi et al. 2018, arXiv 1712.06751): exchanging a token's
embedding for another one changes the logit difference, to first order, by the gradient along the step. What is
proposed is then run, and only what was run counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from workbench.case import Case
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.prefixes import Prefixes, shared_beginning
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, Request, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workbench.loading import LoadedModel

AT_ONCE = 64
"""Prompts whose logits are held at once."""


class CounterfactualRequest(Request):
    """Ask for the fewest swaps and deletions after which the target is likelier than the foil.

    Where it is likelier already, for those after which it is not. The subject's tokens stay, and neither target nor
    foil is put into the prompt.
    """

    kind: Literal["counterfactual"] = "counterfactual"
    case: Case
    most: Annotated[int, Field(ge=1, le=8, description="Most tokens to change.")] = 3
    candidates: Annotated[int, Field(ge=1, le=64, description="Swaps to try for each token, by the gradient.")] = 6


class TokenChange(Frozen):
    """Token ``place`` of the encoded case was ``before``; ``after`` is None where it is left out.

    ``difference`` is the logit difference target − foil with this change and those before it.
    """

    place: int
    before: str
    after: str | None
    difference: float


class CounterfactualResult(Result):
    """``changes`` in the order in which they were found; ``turned`` where the answer is another one after them.

    ``prompt`` is the text after them. ``difference`` is the logit difference target − foil without any; ``runs``
    counts the prompts that were run.
    """

    kind: Literal["counterfactual"] = "counterfactual"
    encoded: EncodedCase
    target: str
    foil: str
    difference: float
    changes: tuple[TokenChange, ...] = ()
    turned: bool = False
    prompt: str = ""
    runs: int = 0


@dataclass(frozen=True)
class _Trial:
    """A prompt to be run: token ids, the place of each in the encoded case, and what was changed in it."""

    ids: tuple[int, ...]
    places: tuple[int, ...]
    place: int
    after: int | None


def find_change(model: LoadedModel, request: CounterfactualRequest, progress: Progress) -> CounterfactualResult:
    """Search greedily: of all changes of one token that which moves the answer most, and on from there.

    Raises `InputError` for a case without target and foil, or one that cannot be encoded.
    """
    model.check_embeddings()
    encoded = model.encode(request.case)
    if encoded.target is None or encoded.foil is None:
        raise InputError("what turns the answer is asked of two answers; give a target and a foil")
    answers = encoded.target.id, encoded.foil.id
    ids, places = encoded.ids, tuple(range(len(encoded.ids)))
    difference = _differences(model, ids, [ids], answers)[0]
    sign = 1.0 if difference <= 0 else -1.0  # towards the other answer
    changes: list[TokenChange] = []
    runs = 1

    def found() -> CounterfactualResult:
        turned = bool(changes) and sign * changes[-1].difference > 0
        return CounterfactualResult(
            encoded=encoded,
            target=encoded.target.text if encoded.target else "",
            foil=encoded.foil.text if encoded.foil else "",
            difference=rounded(difference),
            changes=tuple(changes),
            turned=turned,
            prompt=_text(model, encoded, ids, places),
            runs=runs,
            checks=(_check(changes, turned, runs),),
        )

    progress(0, request.most, found(), stage="changes of one token")
    best = difference
    for number in range(request.most):
        trials = _trials(model, encoded, ids, places, answers, sign, request.candidates)
        if not trials:
            break

        def tried(number: int = number) -> None:
            progress(number, request.most, stage="changes of one token")

        measured = _differences(model, ids, [trial.ids for trial in trials], answers, tried)
        runs += len(trials)
        moved, trial = max(zip(measured, trials, strict=True), key=lambda each: sign * each[0])
        if sign * (moved - best) <= 0:
            break
        before = token_text(model.tokenizer, ids[places.index(trial.place)])
        after = None if trial.after is None else token_text(model.tokenizer, trial.after)
        changes.append(TokenChange(place=trial.place, before=before, after=after, difference=rounded(moved)))
        ids, places, best = trial.ids, trial.places, moved
        progress(number + 1, request.most, found(), stage="changes of one token")
        if sign * best > 0:
            break
    return found()


def _trials(
    model: LoadedModel,
    encoded: EncodedCase,
    ids: tuple[int, ...],
    places: tuple[int, ...],
    answers: tuple[int, int],
    sign: float,
    candidates: int,
) -> list[_Trial]:
    """Every deletion, and of every token the swaps that the gradient thinks best."""
    subject = range(*encoded.subject) if encoded.subject else range(0)
    free = [
        at
        for at, place in enumerate(places)
        if encoded.prepended <= place < len(encoded.ids) - encoded.appended and place not in subject
    ]
    if not free:
        return []
    trials = [_Trial(ids[:at] + ids[at + 1 :], places[:at] + places[at + 1 :], places[at], None) for at in free]
    for at, swaps in zip(free, _swaps(model, ids, free, answers, sign, candidates), strict=True):
        trials += [_Trial((*ids[:at], swap, *ids[at + 1 :]), places, places[at], swap) for swap in swaps]
    return [trial for trial in trials if len(trial.ids) > encoded.prepended + encoded.appended]


def _swaps(
    model: LoadedModel,
    ids: tuple[int, ...],
    free: Sequence[int],
    answers: tuple[int, int],
    sign: float,
    candidates: int,
) -> list[list[int]]:
    """For each of some tokens those whose embeddings lie furthest along the gradient of the logit difference."""
    tokens = torch.tensor([ids], device=model.hf.device)
    with torch.enable_grad():
        embedded = model.embedding(tokens).detach().requires_grad_(True)
        logits = model.hf(inputs_embeds=embedded, use_cache=False).logits[0, -1].float()
        (gradient,) = torch.autograd.grad(sign * (logits[answers[0]] - logits[answers[1]]), embedded)
    weights = model.hf.get_input_embeddings().weight
    scores = gradient[0, list(free)].to(weights.dtype) @ weights.T  # (free tokens, vocabulary)
    own = torch.tensor([ids[at] for at in free], device=scores.device)
    scores -= scores.gather(1, own[:, None])
    shut = [*answers, *model.tokenizer.all_special_ids]
    scores[:, [token for token in shut if token < scores.shape[1]]] = -torch.inf
    scores[:, len(model.tokenizer) :] = -torch.inf
    scores.scatter_(1, own[:, None], -torch.inf)
    best = scores.topk(min(candidates, scores.shape[1]), dim=1)
    return [
        [token for token, score in zip(row, gains, strict=True) if score > 0]
        for row, gains in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _differences(
    model: LoadedModel,
    ids: tuple[int, ...],
    prompts: Sequence[tuple[int, ...]],
    answers: tuple[int, int],
    tried: Callable[[], None] = lambda: None,
) -> list[float]:
    """The logit difference target − foil after each of some prompts, which begin as ``ids`` does: that is run once."""
    prefixes, found = Prefixes(model), [0.0] * len(prompts)
    if len(prompts) > 1:
        prefixes.keep(ids)
    alike = sorted(range(len(prompts)), key=lambda at: shared_beginning(prompts[at], ids))
    for begin in range(0, len(alike), AT_ONCE):
        some = alike[begin : begin + AT_ONCE]
        for at, logits in zip(some, prefixes.logits([prompts[at] for at in some]), strict=True):
            found[at] = float(logits[-1, answers[0]] - logits[-1, answers[1]])
        tried()
    return found


def _text(model: LoadedModel, encoded: EncodedCase, ids: tuple[int, ...], places: tuple[int, ...]) -> str:
    """The prompt's own text with its changes."""
    end = len(encoded.ids) - encoded.appended
    own = [token for token, place in zip(ids, places, strict=True) if encoded.prepended <= place < end]
    return str(model.tokenizer.decode(own, clean_up_tokenization_spaces=False))


def _check(changes: Sequence[TokenChange], turned: bool, runs: int) -> Check:
    if turned:
        return Check(name="turned", text=f"by {len(changes)} of the tokens; {runs} prompts were run", level="ok")
    return Check(name="turned", text=f"by no change that was tried; {runs} prompts were run", level="warn")
