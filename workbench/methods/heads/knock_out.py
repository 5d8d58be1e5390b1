"""Knock-out: what the answer becomes without a head, without an edge of attention, or without some of them together.

Ablation of heads: Michel et al. 2019 (arXiv 1905.10650), Wang et al. 2022 (arXiv 2211.00593). Whatever turns an answer
is knocked out in control prompts as well, and is called a cause only where these keep their answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.methods.heads.controls import ControlPrompt
from workbench.models.forward.knockout import Ablation
from workbench.models.tokens import EncodedCase
from workbench.protocol import Frozen, Progress, Request, Result
from workbench.settings import Listed
from workbench.shapes import LayerCount, Share, as_many, within

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

Swept = Literal["heads", "edges"]

KnockOutKind = Literal["single", "best", "random", "chosen"]

CauseVerdict = Literal["stays", "cause", "breaks controls", "untested"]


class KnockoutRequest(Request):
    """Ask what becomes of the answer after one token.

    Where ``heads`` or ``edges`` are named these are knocked out together; else each head, or each layer's attention to
    each token, one at a time, and then the best together. Without a target it is the model's first choice that is
    compared, without a foil with the next best token.
    """

    kind: Literal["knockout"] = "knockout"
    case: Case
    position: Annotated[
        int | None, Field(description="The token after which the answer is read, and at which heads are knocked out.")
    ] = None
    heads: Annotated[
        tuple[str, ...], Listed, Field(description="Heads to knock out together, as L23H4,L29H1; L23 is a whole layer.")
    ] = ()
    edges: Annotated[
        tuple[str, ...],
        Listed,
        Field(description="Edges to knock out with them: the token looked at, as 12, L23:12, L23H4:12 or L23H4:19>12."),
    ] = ()
    each: Annotated[
        Swept, Field(description="What is knocked out one at a time where nothing is named: heads or edges.")
    ] = "heads"
    ablate: Annotated[Ablation, Field(description="In its place: zero, or the mean over the tokens of the prompt.")] = (
        "zero"
    )
    everywhere: Annotated[
        bool, Field(description="Knock heads out at every token, not only at the one that answers.")
    ] = False
    best: Annotated[int, Field(description="Knock out up to so many of the best heads together, too.", ge=0, le=50)] = 5
    made: Annotated[
        bool, Field(description="Make control prompts by reordering the passage and asking about the other owner.")
    ] = True
    seed: Annotated[int, Field(description="Draws the random heads that a set of heads is compared with.", ge=0)] = 0
    controls: tuple[ControlPrompt, ...] = ()


class ControlOutcome(Frozen):
    """A control prompt with nothing knocked out: its ``difference``, target − foil in logits.

    It ``counts`` where the model gives the right answer there.
    """

    control: ControlPrompt
    difference: float

    @property
    def counts(self) -> bool:
        """Whether a knock-out could break something here."""
        return self.control.right is None or (self.control.right == "target") == (self.difference > 0)


class KnockedOut(Frozen):
    """Some heads and edges, by name, and what there is without them.

    ``difference`` is target − foil in logits, ``p_target`` and ``p_foil`` are probabilities, ``top`` is the first
    choice. ``controls`` are the differences in the control prompts, None where it was not tried; there are none of
    what does not turn the answer.
    """

    what: KnockOutKind
    heads: tuple[str, ...] = ()
    edges: tuple[str, ...] = ()
    difference: float
    p_target: Share
    p_foil: Share
    top: str
    controls: tuple[float | None, ...] = ()


class KnockoutResult(Result):
    """What was found of the answer after token ``position``.

    ``difference`` (logits of target − foil), ``p_target``, ``p_foil`` and ``top`` are with nothing knocked out.
    ``effects`` is by how much a single knock-out changes the difference: ``(layers, heads)``, or, for edges,
    ``(layers, tokens up to the position)``; None where it is not known yet; no rows where some were named. ``added``
    ``(layers, heads)`` is what each head adds directly, where that is known, and ``agreement`` the correlation of
    the effects with what direct attribution would have them be. ``tried`` are the knock-outs that turn the answer, the
    best together, random ones, or those that were named.
    """

    kind: Literal["knockout"] = "knockout"
    encoded: EncodedCase
    layers: LayerCount
    n_heads: Annotated[int, Field(ge=1, le=10_000)]
    position: int
    target: str
    foil: str
    difference: float
    p_target: Share
    p_foil: Share
    top: str
    swept: Swept | None
    ablate: Ablation
    effects: tuple[tuple[float | None, ...], ...] = ()
    added: tuple[tuple[float, ...], ...] = ()
    agreement: Annotated[float | None, Field(ge=-1, le=1)] = None
    controls: tuple[ControlOutcome, ...] = ()
    tried: tuple[KnockedOut, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        within("position", self.position, len(self.encoded.ids))
        if self.effects:
            as_many(layers=self.layers, effects=self.effects)
        for row in self.effects:
            as_many(columns=self.n_heads if self.swept == "heads" else self.position + 1, effects=row)
        if self.added:
            as_many(layers=self.layers, added=self.added)
        for part in self.added:
            as_many(n_heads=self.n_heads, added=part)
        for each in self.tried:
            if each.controls:
                as_many(controls=self.controls, tried=each.controls)
        return self

    def turns(self, each: KnockedOut) -> bool:
        """Whether the other of target and foil is ahead without it."""
        return (each.difference > 0) != (self.difference > 0)

    def breaks(self, each: KnockedOut) -> tuple[int, ...]:
        """The control prompts, by their places, that the model answers well, and not without it."""
        return tuple(
            place
            for place, (outcome, after) in enumerate(zip(self.controls, each.controls, strict=False))
            if outcome.counts and after is not None and (after > 0) != (outcome.difference > 0)
        )

    def tested(self, each: KnockedOut) -> int:
        """In how many control prompts that the model answers well it was tried."""
        pairs = zip(self.controls, each.controls, strict=False)
        return sum(outcome.counts and after is not None for outcome, after in pairs)

    def verdict(self, each: KnockedOut) -> CauseVerdict:
        """Whether it may be called a cause of the answer."""
        if not self.turns(each):
            return "stays"
        if self.breaks(each):
            return "breaks controls"
        return "cause" if self.tested(each) else "untested"


def run(model: LoadedModel, request: KnockoutRequest, progress: Progress) -> KnockoutResult:
    """Knock out what was named, or one after the other and the best together; then try control prompts.

    Raises `InputError` for a case that cannot be encoded, for a head, an edge or a token that is not there, and where
    all would be knocked out; `ModelError` for a model whose attention cannot be taken apart.
    """
    from workbench.methods.heads.knocking import Knocking

    return Knocking(model, request, progress).result()


def names_in_words(each: KnockedOut, most: int = 4) -> str:
    """What was knocked out, in a few words."""
    names: Sequence[str] = (*each.heads, *each.edges)
    shown = " ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"{len(names)} random heads" if each.what == "random" else shown
