"""What a diagnosis rests on: numbers read off the steps that it asked for, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import StatisticsError, correlation
from typing import TypeVar

from workbench.case import Case
from workbench.methods.attribution.attribution import AttributionResult
from workbench.methods.diagnose.counterfactual import CounterfactualResult
from workbench.methods.diagnose.stability import FollowedToken, StabilityResult, VariedAnswer
from workbench.methods.generation.continuation import ContinueResult
from workbench.methods.heads.head_attribution import HeadsResult
from workbench.methods.heads.names import named
from workbench.methods.lens.logit_lens import LensColumn, LensResult
from workbench.methods.tracing.causal_trace import Peak, TraceResult
from workbench.protocol import Result

Read = TypeVar("Read", bound=Result)

UPPER = 0.5
"""From this part of the depth on the lens says something about the answer."""

COMPLETE = 0.3
"""To this part of the difference integrated gradients are completed: what is wanted of them is how they agree with
occlusion. On “The capital of Australia is” both correlate 0.300 at 5 % (720 gradients) and at 30 % (456)."""


@dataclass(frozen=True)
class Evidence:
    """The case with whatever was proposed, and for each name of a step its number and its result.

    ``guessed``: the target is one that neither a person nor a shipped fact has said to be right.

    Names are ``continue``, ``stability``, ``attribution``, ``occlusion``, ``counterfactual``, ``lens``, ``heads``
    and ``trace``; a step that failed is missing.
    """

    case: Case
    steps: Mapping[str, tuple[int, Result]]
    guessed: bool = False

    def step(self, name: str) -> int:
        """The number of a step, 0 where there is none or it is not recorded."""
        return self.steps[name][0] if name in self.steps else 0

    def _result(self, name: str, kind: type[Read]) -> Read | None:
        found = self.steps.get(name)
        return found[1] if found is not None and isinstance(found[1], kind) else None

    # --- the failure ---

    @property
    def continuation(self) -> str:
        """What the model goes on with."""
        found = self._result("continue", ContinueResult)
        return found.text if found else ""

    @property
    def stability(self) -> StabilityResult | None:
        """The same question in other words."""
        return self._result("stability", StabilityResult)

    @property
    def asked(self) -> VariedAnswer | None:
        """The answer to the case as it was asked."""
        return self.stability.answers[0] if self.stability else None

    @property
    def target(self) -> str:
        """The token that is wanted, as text."""
        return (self.case.target or "").strip()

    @property
    def foil(self) -> str:
        """The token it is compared with, as text."""
        return (self.case.foil or "").strip()

    @property
    def margin(self) -> float | None:
        """Target's probability minus the foil's, as asked."""
        return _margin(self.asked) if self.asked else None

    def turned(self, *kinds: str) -> VariedAnswer | None:
        """Of the variants of some kinds that are answered right the one with the largest margin."""
        right = [answer for answer in self.stability.of(*kinds) if answer.right] if self.stability else []
        return max(right, key=lambda answer: _margin(answer) or 0.0, default=None)

    def right_among(self, *kinds: str) -> tuple[int, int]:
        """How many variants of some kinds are answered right, of how many."""
        answers = self.stability.of(*kinds) if self.stability else ()
        return sum(bool(answer.right) for answer in answers), len(answers)

    # --- the input ---

    @property
    def complete(self) -> bool:
        """Whether integrated gradients have converged, as far as a diagnosis wants."""
        gradients = self._result("attribution", AttributionResult)
        share = None if gradients is None else gradients.completeness_share
        return share is not None and share <= COMPLETE

    @property
    def agreement(self) -> float | None:
        """Pearson's correlation of two attributions over the prompt's tokens, None where it is not defined."""
        one, other = (self._result(name, AttributionResult) for name in ("attribution", "occlusion"))
        if one is None or other is None or len(one.scores) != len(other.scores):
            return None
        start, stop = one.attributed
        try:
            return correlation(one.scores[start:stop], other.scores[start:stop])
        except StatisticsError:  # one token, or all scores the same
            return None

    @property
    def change(self) -> CounterfactualResult | None:
        """The smallest change of the prompt that turns the answer, None where none was found."""
        found = self._result("counterfactual", CounterfactualResult)
        return found if found is not None and found.turned else None

    def is_in_prompt(self, answer: str) -> bool:
        """Whether an answer stands in the prompt as a word of its own, and not in the subject."""
        text = self.case.prompt
        if self.case.subject:
            text = re.sub(rf"(?<!\w){re.escape(self.case.subject)}(?!\w)", " ", text)
        return bool(answer) and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) is not None

    # --- the layers ---

    @property
    def _column(self) -> LensColumn | None:
        found = self._result("lens", LensResult)
        return found.columns[-1] if found else None

    @property
    def parting(self) -> int | None:
        """The first layer from which on the lens has the foil above the target, None where it never comes to that."""
        differences = self._column.logit_difference if self._column else None
        if not differences or differences[-1] >= 0:
            return None
        above = [row for row, difference in enumerate(differences) if difference >= 0]
        return above[-1] if above else 0  # row r + 1 is the residual stream after layer r

    @property
    def best_in_lens(self) -> tuple[int, int] | None:
        """The target's best rank in the upper layers but the last, and the layer after which it has it."""
        track = self._column.target if self._column else None
        if track is None:
            return None
        rows = range(1 + int(UPPER * (len(track.rank) - 1)), len(track.rank) - 1)
        row = min(rows, key=lambda each: track.rank[each], default=None)
        return None if row is None else (track.rank[row], row - 1)

    @property
    def writes_foil(self) -> tuple[str, float] | None:
        """The head or MLP that adds most to the foil, with the token it looks at most; and how much, in logits."""
        found = self._result("heads", HeadsResult)
        if found is None:
            return None
        parts = [(f"the MLP of layer {layer}", value) for layer, value in enumerate(found.mlp)]
        parts += [
            (_head(found, layer, head), value)
            for layer, row in enumerate(found.heads)
            for head, value in enumerate(row)
        ]
        name, value = min(parts, key=lambda part: part[1])
        return (name, value) if value < 0 else None

    # --- the place ---

    @property
    def place(self) -> tuple[Peak, str, float] | None:
        """The state that restores most of the answer, its token, and which share of the answer it restores."""
        found = self._result("trace", TraceResult)
        grid = found.grid("states") if found else None
        if found is None or grid is None or grid.peak is None:
            return None
        share = found.share(grid.peak.value)
        return None if share is None else (grid.peak, found.encoded.texts[grid.peak.token].strip(), share)

    # --- whether it is known at all ---

    @property
    def best_rank(self) -> tuple[int, str] | None:
        """The target's best rank among all variants, and in which."""
        ranked = [
            (answer.target.rank, answer.variant.label)
            for answer in (self.stability.answers if self.stability else ())
            if answer.target is not None
        ]
        return min(ranked, default=None, key=lambda each: each[0])


def _head(found: HeadsResult, layer: int, head: int) -> str:
    name = f"head {named(layer, head)}"
    looked = next((each.looked_at for each in found.largest if (each.layer, each.head) == (layer, head)), ())
    if not looked:
        return name
    return f"{name} ({looked[0].weight:.0%} of its attention on “{found.encoded.texts[looked[0].token].strip()}”)"


def _margin(answer: VariedAnswer) -> float | None:
    target, foil = answer.target, answer.foil
    return None if target is None or foil is None else target.probability - foil.probability


LEAST = 0.001
"""A smaller probability is written by its power of ten: 0.000 would say that there is none."""


def odds(answer: VariedAnswer, *, foil_first: bool = False) -> str:
    """The two probabilities of an answer, in words."""
    both = (answer.foil, answer.target) if foil_first else (answer.target, answer.foil)
    return " against ".join(map(_p, both))


def _p(followed: FollowedToken | None) -> str:
    if followed is None:
        return "–"
    return f"{followed.probability:.3f}" if followed.probability >= LEAST else f"{followed.probability:.0e}"
