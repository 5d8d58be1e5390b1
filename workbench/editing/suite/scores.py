"""What a suite comes to: shares of facts that pass, by role and by what is prepended, each beside the unedited model's.

Scores as in Meng et al. 2022 (arXiv 2202.05262), section 3.4, with exact first-token accuracy beside them; what they
mean is in ``docs/suites.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, harmonic_mean

from pydantic import NonNegativeInt

from workbench.bootstrap import interval, share_interval
from workbench.case import Prepend
from workbench.datasets.suites import MUST_CHANGE, ROLES, Role, Suite, overlapping
from workbench.editing.suite.answers import FactAnswer
from workbench.editing.suite.free import Continuation
from workbench.numbers import rounded
from workbench.protocol import Frozen
from workbench.shapes import Share

SCORED: tuple[Role, ...] = ("rewrite", "paraphrase", "neighborhood")
"""The roles whose scores make the harmonic one: efficacy, generalization, specificity."""


class FactOutcome(Frozen):
    """One fact with one thing prepended: what the model said without edits, and what it says now.

    ``fact`` is its place in the suite. ``first_position``: its subject stands bare in the model's first position,
    where much of it is lost, and the unedited model's first choice there is neither of the two answers. ``free`` is
    how the model goes on by itself, for rewrites and paraphrases.
    """

    fact: int
    prepend: Prepend
    before: FactAnswer
    after: FactAnswer
    first_position: bool
    free: Continuation | None = None
    free_before: Continuation | None = None

    def is_failure(self, role: Role) -> bool:
        """Whether the edit is to blame that this fact, of this role, does not pass.

        It is not where the fact should have stayed and did not pass without edits either, or should have changed and
        is not known in the first position.
        """
        blamed = not self.first_position if role in MUST_CHANGE else self.before.passes
        return blamed and not self.after.passes


class RoleScore(Frozen):
    """The facts of one role with one thing prepended, as shares 0 … 1 that pass (``score``) and that are ``exact``.

    ``kept`` is the share that passes still among the facts that must stay and passed without edits, None where none
    did. ``free`` is the share whose target the model says in free generation, None where none was continued.
    ``magnitude`` is the mean of p(target) − p(against), None where no fact of the role has an answer to be
    against. The others have their value without edits beside them. ``intervals`` are of means over records: for each
    measure where 95 % of bootstrap draws of the records lie.
    """

    role: Role
    prepend: Prepend
    facts: NonNegativeInt
    score: Share
    score_before: Share
    kept: Share | None = None
    magnitude: float | None
    magnitude_before: float | None
    exact: float
    exact_before: float
    free: Share | None = None
    free_before: Share | None = None
    intervals: dict[str, tuple[float, float]] = {}


def role_scores(suite: Suite, outcomes: Sequence[FactOutcome]) -> tuple[RoleScore, ...]:
    """The scores of every role for everything prepended that there are outcomes of."""
    return tuple(
        _score(role, prepend, some)
        for prepend in dict.fromkeys(outcome.prepend for outcome in outcomes)
        for role in ROLES
        if (some := [o for o in outcomes if o.prepend == prepend and suite.facts[o.fact].role == role])
    )


def overlapping_scores(suite: Suite, outcomes: Sequence[FactOutcome]) -> tuple[RoleScore, ...]:
    """The scores of those neighbors alone that share a word with the subject (`workbench.datasets.suites.overlapping`).

    An edit of the Republic of Florence easily takes the Duchy of Florence along.
    """
    facts = overlapping(suite)
    return role_scores(suite, [outcome for outcome in outcomes if outcome.fact in facts])


def harmonics(scores: Sequence[RoleScore], before: bool = False) -> dict[Prepend, float | None]:
    """The harmonic mean of the `SCORED` roles' scores by what is prepended, None where one is missing."""
    found: dict[Prepend, float | None] = {}
    for prepend in dict.fromkeys(score.prepend for score in scores):
        some = [score for score in scores if score.prepend == prepend and score.role in SCORED]
        parts = [score.score_before if before else score.score for score in some]
        found[prepend] = rounded(harmonic_mean(parts)) if len(parts) == len(SCORED) else None
    return found


def _score(role: Role, prepend: Prepend, outcomes: Sequence[FactOutcome]) -> RoleScore:
    now, before = [outcome.after for outcome in outcomes], [outcome.before for outcome in outcomes]
    known = [outcome.after.passes for outcome in outcomes if outcome.before.passes and role not in MUST_CHANGE]
    return RoleScore(
        role=role,
        prepend=prepend,
        facts=len(outcomes),
        score=fmean(answer.passes for answer in now),
        score_before=fmean(answer.passes for answer in before),
        kept=fmean(known) if known else None,
        magnitude=_magnitude(now),
        magnitude_before=_magnitude(before),
        exact=fmean(answer.exact for answer in now),
        exact_before=fmean(answer.exact for answer in before),
        free=_says(outcome.free for outcome in outcomes),
        free_before=_says(outcome.free_before for outcome in outcomes),
    )


def _says(continued: Iterable[Continuation | None]) -> float | None:
    known = [one.says_target for one in continued if one is not None]
    return fmean(known) if known else None


def _magnitude(answers: Iterable[FactAnswer]) -> float | None:
    gaps = [answer.target - answer.against for answer in answers if answer.against is not None]
    return rounded(fmean(gaps)) if gaps else None


# --- Over records ---


MEASURES = (
    "score",
    "kept",
    "magnitude",
    "exact",
    "free",
    "score_before",
    "magnitude_before",
    "exact_before",
    "free_before",
)
"""The fields of a `RoleScore` that are means."""


def mean_scores(records: Sequence[Iterable[RoleScore]], intervals: bool = False) -> tuple[RoleScore, ...]:
    """By role and what is prepended the mean over the records that have it, as published; ``facts`` counts them."""
    every = [score for scores in records for score in scores]
    return tuple(
        _mean(role, prepend, some, intervals)
        for prepend in dict.fromkeys(score.prepend for score in every)
        for role in ROLES
        if (some := [score for score in every if (score.role, score.prepend) == (role, prepend)])
    )


def _mean(role: Role, prepend: Prepend, scores: Sequence[RoleScore], intervals: bool) -> RoleScore:
    known = {name: [value for score in scores if (value := getattr(score, name)) is not None] for name in MEASURES}
    means = {name: rounded(fmean(values)) if values else None for name, values in known.items()}
    found = {name: _sure_of(name, values) for name, values in known.items() if values} if intervals else {}
    return RoleScore.model_validate(
        {"role": role, "prepend": prepend, "facts": len(scores), "intervals": found, **means}
    )


def sure(values: Sequence[float]) -> tuple[float, float]:
    """The interval in which the mean of what records gave lies: 95 % of bootstrap draws."""
    low, high = interval(values)
    return rounded(low), rounded(high)


def _sure_of(measure: str, values: Sequence[float]) -> tuple[float, float]:
    """As `sure`; where every record passes, or none, all draws are alike, and Wilson's interval says what few tell."""
    passing = sum(values)
    if measure == "magnitude" or passing not in (0, len(values)):
        return sure(values)
    low, high = share_interval(round(passing), len(values))
    return rounded(low), rounded(high)
