"""Resampling of a reasoning: what is asked, and what was found."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.methods.cot.about import AboutReasoning
from workbench.methods.cot.importance import Difference
from workbench.methods.cot.reasoning import Sampling
from workbench.methods.cot.result import CotResult
from workbench.protocol import Frozen, Result
from workbench.shapes import within

CAPTION = (
    "importance is how far the answers differ when the model goes on after this sentence, or writes another one in its "
    "place: dependence of what the model goes on to write, not faithfulness"
)


class ResampleRequest(AboutReasoning):
    """Ask what each sentence of a reasoning changes: from each on the model writes ``rollouts`` continuations anew.

    The reasoning itself is greedy, or ``reasoning`` as recorded; the continuations are sampled as ``sampling`` says,
    each with random numbers of its own (seed, sentence, number).
    """

    kind: Literal["resample"] = "resample"
    rollouts: Annotated[int, Field(ge=2, le=1000, description="Continuations from each sentence on.")] = 20
    encoder: Annotated[
        str,
        Field(
            description="A sentence encoder that tells whether sentences say the same: its folder, or all-minilm where "
            "that is installed. Empty: the model's own states."
        ),
    ] = ""
    sampling: Sampling = Sampling(temperature=0.6, top_p=0.95)


class Rollout(Frozen):
    """One continuation after the first ``after`` sentences, and the ``answer`` that it leads to.

    ``sentence`` is the first that it wrote, in the place of the next one of the reasoning; ``likeness`` is the cosine
    between the two, None where there is no next one.
    """

    after: int
    answer: int
    sentence: str
    likeness: float | None
    ended: bool


class SentenceImportance(Frozen):
    """What one sentence changes, as far as it is known yet.

    ``forced``: the distance between the answers forced after the sentence and before it, by their probabilities.
    ``resampling``: the difference between rollouts after the sentence and from its place on. ``counterfactual``: the
    same with those of the latter alone whose sentence says something else, ``others`` of them. ``share`` and
    ``share_before`` are the shares of rollouts that end with the answer of the reasoning. ``necessary``: left out of
    the finished reasoning, the answer is another one. ``disagree``: that and resampling say different things.
    """

    forced: float
    resampling: Difference | None
    counterfactual: Difference | None
    others: int
    share: float | None
    share_before: float | None
    necessary: bool
    disagree: bool

    @property
    def disagreement(self) -> str:
        """Where leaving the sentence out and resampling disagree, what each of them says; else nothing."""
        if not self.disagree or self.resampling is None:
            return ""
        found = f"({self.resampling.value:.2f}, chance up to {self.resampling.chance:.2f})"
        if self.necessary:
            return f"without it the answer is another one, but resampled the model gets there {found}"
        return f"left out the answer stays, but resampled the model goes elsewhere {found}"


class ResampleResult(Result):
    """What was found so far. ``base`` is the reasoning with early answering and leaving one out.

    ``sentences`` has an entry for each of the base's. ``answers`` are the answers of rollouts by name, the first that
    of the reasoning. ``layer`` and ``threshold`` are those of the cosine below which a sentence says something else.
    """

    kind: Literal["resample"] = "resample"
    base: CotResult
    answers: tuple[str, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    asked: int = 0
    sentences: tuple[SentenceImportance, ...] = ()
    layer: int = 0
    threshold: float = 1.0
    caption: str = CAPTION

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for rollout in self.rollouts:
            within("answer", rollout.answer, len(self.answers))
            within("after", rollout.after, len(self.base.sentences) + 1)
        if len(self.sentences) not in (0, len(self.base.sentences)):
            raise ValueError(f"{len(self.sentences)} sentences where there are {len(self.base.sentences)}")
        return self

    def shares(self, after: int) -> dict[int, float]:
        """The share of each answer among the rollouts after so many sentences."""
        ended = [rollout.answer for rollout in self.rollouts if rollout.after == after]
        return {answer: ended.count(answer) / len(ended) for answer in dict.fromkeys(ended)}
