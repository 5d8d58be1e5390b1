"""Continue the prompt greedily for a few tokens, so that the failure can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from workbench.case import Case
from workbench.errors import InputError
from workbench.models.forward.decoding import generate, one_by_one
from workbench.models.forward.stopping import stop_ids
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import significant
from workbench.protocol import Frozen, Progress, Request, Result

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


class ContinueRequest(Request):
    """Ask for up to ``tokens`` greedy tokens after the case; fewer when the model ends its text or the context."""

    kind: Literal["continue"] = "continue"
    case: Case
    tokens: Annotated[int, Field(description="How many tokens at most.")] = 12


class ContinuedToken(Frozen):
    """One generated token, its probability, and the token that came second."""

    text: str
    probability: float
    runner_up: str
    runner_up_probability: float


class ContinueResult(Result):
    """The tokens generated so far. ``text`` is what they decode to together. ``ended`` when the model stopped."""

    kind: Literal["continue"] = "continue"
    encoded: EncodedCase
    generated: tuple[ContinuedToken, ...]
    text: str
    ended: bool = False


def run(model: LoadedModel, request: ContinueRequest, progress: Progress) -> ContinueResult:
    """Generate token by token, each a step of progress with everything so far as the partial result.

    Raises `InputError` for a case that cannot be encoded or has no room after it, `NumericalError` for NaN logits.
    """
    encoded, total = room_for(model, request)
    stops = stop_ids(model)
    ids: list[int] = []
    generated: list[ContinuedToken] = []
    ended = False

    def found() -> ContinueResult:
        return ContinueResult(encoded=encoded, generated=tuple(generated), text=text_of(model, ids), ended=ended)

    def choose(_row: int, _at: int, logits: Tensor) -> int:
        nonlocal ended
        top = logits.softmax(dim=-1).topk(2)
        best, second = top.indices.tolist()
        first_p, second_p = significant(top.values)
        ids.append(best)
        generated.append(
            ContinuedToken(
                text=token_text(model.tokenizer, best),
                probability=first_p,
                runner_up=token_text(model.tokenizer, second),
                runner_up_probability=second_p,
            )
        )
        ended = best in stops
        progress(len(generated), total, found(), stage="continuing")
        return -1 if ended else best

    generate(model, [encoded.ids], total, one_by_one(choose))
    return found()


def room_for(model: LoadedModel, request: ContinueRequest) -> tuple[EncodedCase, int]:
    """The case, and how many tokens at most are generated after it. Raises `InputError` as `run` does."""
    if request.tokens < 1:
        raise InputError(f"the number of tokens to continue by must be at least 1, not {request.tokens}")
    encoded = model.encode(request.case)
    room = model.info.context - len(encoded.ids)
    if room < 1:
        raise InputError(f"the prompt fills the whole context of {model.info.context} tokens; shorten it to continue")
    return encoded, min(request.tokens, room)


def text_of(model: LoadedModel, ids: list[int]) -> str:
    """What generated tokens decode to together."""
    text: str = model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text
