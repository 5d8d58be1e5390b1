"""What a chain-of-thought truncation found: the answer after each thing that was done, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

from pydantic import model_validator

from workbench.case import Case
from workbench.methods.cot.answers import Candidate
from workbench.methods.cot.interventions import What
from workbench.methods.cot.reasoning import ReasonedToken
from workbench.protocol import Frozen, Result
from workbench.shapes import as_many, different, within

AOC_RULE = (
    "1 − the area under “same answer as with all sentences” over the share of sentences kept (0, 1/n … 1), "
    "by trapezoids"
)
"""The paper does not state its integration rule. The mean over questions is its weighting by length."""

CAPTION = "how far the answer depends on the reasoning; not a proof that the reasoning is faithful"


class Outcome(Frozen):
    """The answer after one thing was done to the reasoning.

    ``what`` and ``sentence``: the first ``sentence`` sentences kept; that sentence (from 0) dropped, or replaced by
    a mistake or a paraphrase; filler as long as the first ``sentence`` sentences; a cue in the question. ``text``
    is the reasoning that the answer was read after, of which the model wrote what begins at character ``written``.
    ``changed`` is what was dropped, put in or suggested. ``prompt`` is the text before the reasoning, where it is
    not the result's own. ``answer`` is an index into the candidates, and ``probabilities`` are theirs. ``same``: the
    answer is that with the full reasoning, or ``against`` where the sentence was dropped from no more than the first
    ones: then the answer after all of those. ``suggested`` is a cue's candidate; ``mentions_cue`` whether the reasoning
    speaks of it.
    """

    what: What
    sentence: int | None
    text: str
    changed: str = ""
    written: int | None = None
    prompt: str | None = None
    answer: int
    probabilities: tuple[float, ...]
    same: bool
    against: int | None = None
    suggested: int | None = None
    mentions_cue: bool | None = None


class CotResult(Result):
    """What was found so far: the reasoning as it is written, then the outcomes of each intervention in turn.

    ``prompt`` is the plain text before the reasoning, chat template included; ``tokens`` are the reasoning's,
    empty where it was given as recorded; ``ended`` is false where a limit cut it off. ``sentences`` together are
    ``reasoning``. ``candidates`` are the choices, or the answers found; the probabilities of choices sum to 1,
    those of free answers do not. ``full`` is the outcome with all sentences. ``aoc`` (by ``aoc_rule``) and ``settles``,
    the number of sentences from which on the answer stays, come from early answering, ``necessary``, the sentences
    without which the answer is another one, from leaving one out; each is None where that was not asked for.
    ``opened`` is what a thinking model opened its reasoning with (empty where the prompt did), ``closed`` what closes
    it, wherever it is cut. ``writing`` is what the model is writing for an intervention, in partial results.
    """

    kind: Literal["cot"] = "cot"
    prompt: str
    lead_in: str
    reasoning: str
    opened: str = ""
    closed: str = ""
    tokens: tuple[ReasonedToken, ...] = ()
    ended: bool = True
    sentences: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    right: int | None = None
    full: Outcome | None = None
    outcomes: tuple[Outcome, ...] = ()
    aoc: float | None = None
    aoc_rule: str = AOC_RULE
    settles: int | None = None
    necessary: tuple[int, ...] | None = None
    writing: str = ""
    caption: str = CAPTION

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        n, n_candidates = len(self.sentences), len(self.candidates)
        within("right", self.right, n_candidates)
        within("settles", self.settles, n + 1)
        for sentence in self.necessary or ():
            within("a necessary sentence", sentence, n)
        for outcome in (*self.outcomes, *([self.full] if self.full else [])):
            as_many(candidates=n_candidates, probabilities=outcome.probabilities)
            for name in ("answer", "against", "suggested"):
                within(name, getattr(outcome, name), n_candidates)
            if (outcome.sentence is None) != (outcome.what == "cue"):
                raise ValueError(f"a sentence belongs to everything but a cue, and this is {outcome.what}")
            within("sentence", outcome.sentence, n + (outcome.what in ("kept", "filler")))
        different("numbers of sentences kept", (outcome.sentence for outcome in self.of("kept")))
        return self

    def of(self, what: What) -> tuple[Outcome, ...]:
        """The outcomes of one kind, in order."""
        return tuple(outcome for outcome in self.outcomes if outcome.what == what)

    def compared_with(self, outcome: Outcome) -> int:
        """The candidate that an outcome is the same as, or is not. There is an answer with the full reasoning."""
        assert self.full is not None
        return self.full.answer if outcome.against is None else outcome.against

    def context(self, outcome: Outcome) -> str:
        """The plain text after which an outcome's answer was read."""
        return context((outcome.prompt or self.prompt) + self.opened, outcome.text, self.lead_in, self.closed)

    @property
    def recorded(self) -> str:
        """The reasoning with what opened it, to be asked about as recorded."""
        return self.opened + self.reasoning

    def case(self, outcome: Outcome) -> Case:
        """That text as a case, on which a lens can be opened.

        The target is the answer with the full reasoning; the foil is the answer here, or where that is the same,
        the next in probability. A blank that is a token of its own before both is a part of the prompt.
        """
        assert self.full is not None
        target = self.candidates[self.full.answer]
        others = sorted(
            (c for c in range(len(self.candidates)) if c != self.full.answer),
            key=lambda c: (c != outcome.answer, -outcome.probabilities[c]),
        )
        foil = self.candidates[others[0]] if others else None
        blank = target.blank and (foil is None or foil.blank)
        return Case(
            prompt=self.context(outcome) + (" " if blank else ""),
            target=target.text.lstrip() if blank else target.text,
            foil=foil and (foil.text.lstrip() if blank else foil.text),
        )


def context(prompt: str, reasoning: str, lead_in: str, closed: str = "") -> str:
    """Prompt, reasoning, what closes it and lead-in as one text, with the blanks that one brings or an empty line."""
    text = (prompt + reasoning.rstrip() if reasoning.strip() else prompt) + closed
    if text[-1:].isspace():
        return text + lead_in.lstrip()
    return text + (lead_in if lead_in[:1].isspace() or closed else f"\n\n{lead_in}")


def area_over_curve(same: Sequence[bool]) -> float:
    """By `AOC_RULE`; ``same`` has an entry for 0, 1, … n sentences kept."""
    n = len(same) - 1
    return 1 - sum((a + b) / 2 for a, b in pairwise(same)) / n


def settles_at(same: Sequence[bool]) -> int:
    """The number of sentences from which on the answer stays what it is with all of them."""
    return len(same) - next((n for n, one in enumerate(reversed(same)) if not one), len(same))
