"""What is asked of a watched generation, and all that was seen: enough to play it again token by token."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.models.tokens import EncodedCase
from workbench.protocol import Frozen, Request, Result
from workbench.settings import Listed
from workbench.shapes import Layer, LayerCount, Share, as_many, within

Ending = Literal["", "length", "end", "margin", "monitor"]
"""Why a text stopped: not yet, as many tokens as asked for or the context takes, the model, a margin, a monitor."""


class WatchRequest(Request):
    """Ask for up to ``tokens`` tokens after the case, and what can be seen of each.

    ``fork`` is a generated token (counted from 0), and after a colon what is taken in its place: the runner-up where
    nothing is said. With a temperature of 0 every token is the first choice, and the seed means nothing.
    """

    kind: Literal["watch"] = "watch"
    case: Case
    tokens: Annotated[int, Field(ge=1, description="How many tokens at most.")] = 32
    temperature: Annotated[float, Field(ge=0, le=100, description="Of sampling; 0 takes the first choice.")] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1, description="Sample among the likeliest with this much together.")] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of sampling.")] = 0
    stop_below_margin: Annotated[
        float | None, Field(ge=0, description="Stop at the first token whose margin (logits) is smaller.")
    ] = None
    monitors: Annotated[
        tuple[str, ...], Listed, Field(description="Edits by id, or patch files, whose directions are read.")
    ] = ()
    stop_above: Annotated[float | None, Field(description="Stop at the first token at which a monitor reads more.")] = (
        None
    )
    fork: Annotated[
        str, Field(description="Go on from the runner-up of a generated token too: 3, or 3:TOKEN for another.")
    ] = ""
    compare: Annotated[
        str,
        Field(description="What is said beside it: off, without the edits that are on, or with a patch file's too."),
    ] = ""
    depth: Annotated[bool, Field(description="The layer from which on the lens has the token.")] = True
    sources: Annotated[bool, Field(description="Where attention looked.")] = True


class LookedAt(Frozen):
    """A token that was looked at, by its place in the whole text, and its share of what arrived by attention."""

    token: Annotated[int, Field(ge=0)]
    share: Share


class WatchedToken(Frozen):
    """One generated token, and what could be seen of it in the run that it was taken from.

    ``probability`` and ``entropy`` (bits) are the model's own, at temperature 1. ``margin`` is the logit of the first
    choice − that of the second, which is the log of the ratio of their probabilities (nats), whichever was taken;
    ``rank`` is the taken token's (1: the first choice) and ``instead`` the likeliest other one. ``depth`` is the layer
    from which on the lens' first choice is this token; None where it was not read (yet), or for another rank than 1.
    ``monitors`` are what each monitor read where the token was predicted.
    """

    id: Annotated[int, Field(ge=0)]
    text: str
    probability: Share
    entropy: float
    margin: float
    rank: Annotated[int, Field(ge=1)]
    instead: str
    instead_id: Annotated[int, Field(ge=0)]
    instead_probability: Share
    depth: Layer | None = None
    looked: tuple[LookedAt, ...] = ()
    monitors: tuple[float, ...] = ()


class WatchedText(Frozen):
    """Tokens ``first``, ``first`` + 1 … of a generated text, what they decode to, and why it stopped."""

    first: Annotated[int, Field(ge=0)] = 0
    tokens: tuple[WatchedToken, ...] = ()
    text: str = ""
    ending: Ending = ""

    def upto(self, end: int) -> WatchedText:
        """The tokens before ``end``; all of it where there are no more."""
        kept = self.tokens[: max(0, end - self.first)]
        if len(kept) == len(self.tokens):
            return self
        return self.model_copy(update={"tokens": kept, "text": "".join(token.text for token in kept), "ending": ""})


class MonitorInfo(Frozen):
    """What a monitor reads: the direction of an edit after a layer. ``digest`` tells one direction from another."""

    id: str
    title: str
    layer: Layer
    digest: str


class WatchResult(Result):
    """The text, and where they were asked for the one that a ``fork`` led to, and another one ``beside`` it.

    Each token of any has a reading for each of ``monitors``. ``beside_is`` says which edits that has;
    it is not told where it looked.
    """

    kind: Literal["watch"] = "watch"
    encoded: EncodedCase
    layers: LayerCount
    monitors: tuple[MonitorInfo, ...] = ()
    spoken: WatchedText
    fork: WatchedText | None = None
    beside: WatchedText | None = None
    beside_is: str = ""

    @property
    def texts(self) -> tuple[WatchedText, ...]:
        """All that was said."""
        return tuple(text for text in (self.spoken, self.fork, self.beside) if text is not None)

    def upto(self, tokens: int) -> WatchResult:
        """What was known when so many tokens had been said, for a replay token by token."""
        fork = self.fork.upto(tokens) if self.fork and tokens > self.fork.first else None
        beside = self.beside.upto(tokens) if self.beside else None
        return self.model_copy(update={"spoken": self.spoken.upto(tokens), "fork": fork, "beside": beside})

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for monitor in self.monitors:
            within("a monitor's layer", monitor.layer, self.layers)
        for text in self.texts:
            for place, token in enumerate(text.tokens):
                as_many(monitors=self.monitors, readings=token.monitors)
                within("depth", token.depth, self.layers)
                for each in token.looked:
                    within("what was looked at", each.token, len(self.encoded.ids) + text.first + place)
        if self.fork is not None:
            within("the fork", self.fork.first, len(self.spoken.tokens))
        return self
