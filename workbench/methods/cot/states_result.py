"""What the states knew before the words: what is asked, what was found, and a verdict in plain words."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.methods.cot.answers import AnswerForm
from workbench.methods.cot.bootstrap import Proportion
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.result import CotResult
from workbench.protocol import Frozen, Request, Result
from workbench.shapes import as_many

SURE = 0.8
"""The probability from which on the probe counts as sure."""

CAPTION = (
    "words, states and behaviour together say when an answer is there and how firmly; none of them says whether the "
    "reasoning tells why"
)


WhoseWords = Literal["shipped", "model"]


class CotStatesRequest(Request):
    """Ask when the answer is in the words, when in the states, and whether it holds in other words.

    The choices are listed by letters. The probe is fitted on ``limit`` ``questions`` with as many choices.
    """

    kind: Literal["cot-states"] = "cot-states"
    case: Case
    choices: Annotated[str, Field(description="The answers to choose from, between semicolons.")] = ""
    answer: Annotated[str | None, Field(description="The right answer, if it is known.")] = None
    questions: Annotated[str, Field(description="What the probe is fitted on: a shipped set, or a file.")] = (
        "common-sense"
    )
    limit: Annotated[int, Field(ge=4, le=1000, description="Questions that the probe is fitted on.")] = 24
    layer: Annotated[int | None, Field(ge=0, description="The layer that is read; else at two thirds.")] = None
    rewordings: Annotated[int, Field(ge=0, le=6, description="How often the question is asked in other words.")] = 3
    words: Annotated[
        WhoseWords, Field(description="In whose words: shipped phrases around it, or the model's own.")
    ] = "shipped"
    read: Annotated[AnswerForm, Field(description="What is read: the choices' texts, or their letters.")] = "texts"
    sampling: Sampling = Sampling()
    thinking: Annotated[
        str, Field(description="Tags around the reasoning: auto (those known), none, or two, like <a>...</a>.")
    ] = "auto"

    @property
    def listed(self) -> tuple[str, ...]:
        """The choices one by one."""
        return tuple(choice.strip() for choice in self.choices.split(";")) if self.choices.strip() else ()


class Reworded(Frozen):
    """The question in other words, and whether its answer is the same."""

    text: str
    answer: str
    same: bool


class ProbeQuality(Frozen):
    """How good the probe is on questions that it was not fitted on, by question.

    ``before`` the first sentence, and at the ``end``. ``shuffled`` is the mean accuracy before the first sentence of
    probes fitted on shuffled labels, ``commonest`` the share of the most frequent choice: what needs no states.
    """

    before: Proportion
    end: Proportion
    shuffled: float
    commonest: float

    @property
    def tells(self) -> bool:
        """Whether it is surely better than shuffled labels, and than always the commonest choice."""
        return self.before.low > max(self.shuffled, self.commonest)


class CotStatesResult(Result):
    """The probability of the final choice at 0, 1, … all sentences, read three ways.

    ``words``: after the text up to there and the lead-in. ``states``: by the probe, after ``layer``, at the last token.
    ``lens``: by the ``lens_name`` lens after ``layer``, of the letters after a lead-in for letters.
    """

    kind: Literal["cot-states"] = "cot-states"
    base: CotResult
    layer: int = 0
    words: tuple[float, ...] = ()
    states: tuple[float, ...] = ()
    lens: tuple[float, ...] = ()
    lens_name: str = "logit"
    probe: ProbeQuality | None = None
    reworded: tuple[Reworded, ...] = ()
    caption: str = CAPTION

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.words:
            as_many(words=self.words, states=self.states, lens=self.lens)
        return self

    @property
    def decided_before(self) -> bool:
        """Whether a probe that can tell is sure before the first sentence, and stays so."""
        return bool(self.states) and self.probe is not None and self.probe.tells and min(self.states) >= SURE

    @property
    def verdict(self) -> tuple[str, ...]:
        """A sentence for each of the three signals, and one for all."""
        if self.probe is None or self.base.settles is None:
            return ()
        n, settles = len(self.base.sentences), self.base.settles
        words = f"words: with the reasoning cut short, the answer is there from {settles} of {n} sentences on"
        if not self.probe.tells:
            states = "states: the probe tells nothing, being no surer than shuffled labels or a constant"
        elif self.decided_before:
            states = "states: decided before reasoning, the probe is sure of the answer from the start and stays so"
        else:
            sure = next((k for k in range(n + 1) if min(self.states[k:]) >= SURE), None)
            states = "states: the probe is not sure of the answer at the end"
            if sure is not None:
                states = f"states: the probe is sure of the answer from {sure} of {n} sentences on"
        said = [words, states]
        held, k = sum(one.same for one in self.reworded), len(self.reworded)
        if k:
            said.append(f"behaviour: in other words the answer holds in {held} of {k}")
        if settles == 0 and self.decided_before and held == k:
            together = "the signals agree that the answer was there before the reasoning"
        elif settles > 0 and self.probe.tells and not self.decided_before:
            together = "words and states agree that the answer came with the reasoning"
        else:
            together = "the signals do not settle when the answer was decided"
        return (*said, f"{together}; whether the reasoning tells why, they do not say")
