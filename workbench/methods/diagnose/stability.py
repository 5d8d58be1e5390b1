"""Stability: how the answer changes with what is prepended, with the chat template, and with the phrasing.

An answer that is right in other words is known to the model, and one that changes with the first position is the
prompt's failure as much as the model's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from workbench.case import Case
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.methods.diagnose.passage import sentences_of_prompt
from workbench.methods.diagnose.variants import Variant, variants
from workbench.models.forward.unembedding import TextRow, read_predictions
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import significant
from workbench.protocol import Check, Frozen, Progress, Request, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from workbench.loading import LoadedModel


class StabilityRequest(Request):
    """Ask a case in other words, with other starts, and through the chat template."""

    kind: Literal["stability"] = "stability"
    case: Case


class FollowedToken(Frozen):
    """A token's probability after a prompt, and its rank among all tokens (1 is the top)."""

    probability: float
    rank: int


class VariedAnswer(Frozen):
    """What the model says to one variant. ``target`` and ``foil`` are those of the case asked, None where unnamed."""

    variant: Variant
    top: str
    probability: float
    target: FollowedToken | None = None
    foil: FollowedToken | None = None

    @property
    def ahead(self) -> bool | None:
        """Whether the target is likelier than the foil; None where one of them is not named."""
        if self.target is None or self.foil is None:
            return None
        return self.target.probability > self.foil.probability

    @property
    def right(self) -> bool | None:
        """Whether the target is the first choice: ahead of the foil alone it may be, and the answer a third one."""
        return None if self.target is None or self.foil is None else bool(self.ahead and self.target.rank == 1)


class StabilityResult(Result):
    """``answers`` has the case itself first. ``left_out`` are variants that could not be asked, and why."""

    kind: Literal["stability"] = "stability"
    encoded: EncodedCase
    answers: tuple[VariedAnswer, ...]
    left_out: tuple[str, ...] = ()

    def of(self, *kinds: str) -> tuple[VariedAnswer, ...]:
        """The answers to variants of some kinds."""
        return tuple(answer for answer in self.answers if answer.variant.kind in kinds)


def vary(model: LoadedModel, request: StabilityRequest, progress: Progress) -> StabilityResult:
    """Ask every variant for its next token, in batches of like length.

    Raises `InputError` for a case that cannot be encoded; a variant that cannot is left out, with the reason.
    """
    encoded = model.encode(request.case)
    progress(0, 1, stage="other phrasings")
    asked: list[tuple[Variant, EncodedCase]] = []
    left_out: list[str] = []
    for variant in variants(request.case, sentences_of_prompt(request.case.prompt), model.info.chat_template):
        try:
            one = model.encode(variant.case)
        except InputError as error:
            left_out.append(f"{variant.label}: {error}")
            continue
        if one.ids not in [other.ids for _, other in asked]:  # BOS that is prepended anyway is no other start
            asked.append((variant, one))
    found: dict[int, VariedAnswer] = {}

    def result() -> StabilityResult:
        answers = tuple(found[row] for row in sorted(found))
        checks = _checks(answers) if 0 in found else ()
        return StabilityResult(encoded=encoded, answers=answers, left_out=tuple(left_out), checks=checks)

    def read(places: Sequence[tuple[int, int]], log_p: Tensor) -> None:
        for (row, _), one in zip(places, log_p, strict=True):
            found[row] = _answer(model, *asked[row], one)

    rows = [TextRow(one.ids, (len(one.ids) - 1,)) for _, one in asked]
    with torch.no_grad():
        for _ in read_predictions(model, rows, read):
            progress(len(found), len(asked), result() if 0 in found else None, stage="other phrasings")
    return result()


def _answer(model: LoadedModel, variant: Variant, encoded: EncodedCase, log_p: Tensor) -> VariedAnswer:
    p = log_p.exp()
    top = int(p.argmax())

    def followed(token: int) -> FollowedToken:
        return FollowedToken(probability=significant(p[token]), rank=int((p > p[token]).sum()) + 1)

    return VariedAnswer(
        variant=variant,
        top=token_text(model.tokenizer, top),
        probability=significant(p[top]),
        target=followed(encoded.target.id) if encoded.target else None,
        foil=followed(encoded.foil.id) if encoded.foil else None,
    )


def _checks(answers: tuple[VariedAnswer, ...]) -> tuple[Check, ...]:
    first, *others = answers
    same = sum(other.top == first.top for other in others)
    text = f"{same} of {len(others)} variants have the same first choice"
    return (Check(name="stable", text=text, level="ok" if same == len(others) else "warn"),)
