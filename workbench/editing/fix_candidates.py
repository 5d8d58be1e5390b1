"""What a fix is judged by: the tests it should pass, in words what speaks against it, and which is recommended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.case import Case
from workbench.datasets.suites import Role
from workbench.editing.queue import EditInfo
from workbench.editing.standings import Standing

LOST_POINTS = 0.02
"""Of what should stay, so much may a fix cost: neighbors, other facts about the subject, unrelated ones."""

GROWN = 0.01
"""By which part held-out perplexity may grow."""

HALF = 0.5
"""Of the phrasings, so many have to follow."""

MOST = 0.9
"""Of several cases, so many have to change."""


class FixCandidate(Standing):
    """A fix that was tried: ``case`` is the prompt to use, or ``edit`` is kept and in no queue.

    ``changed``: the target is the first choice now; None where it could not be made. Of several cases ``right`` says
    of how many this is so, and how many there are; then ``changed`` means `MOST` of them. ``against`` says which tests
    it does not pass. ``undo`` and ``ship`` say how it is taken back, and how it is given to others.
    """

    name: str
    case: Case | None = None
    edit: EditInfo | None = None
    changed: bool | None = None
    right: tuple[int, int] | None = None
    against: tuple[str, ...] = ()
    undo: str = ""
    ship: str = ""


@dataclass(frozen=True)
class Trial:
    """Something that a fix should do. ``fails`` says in words how it does not, None where it does or is not known."""

    name: str
    fails: Callable[[FixCandidate], str | None]


def judged(candidate: FixCandidate) -> FixCandidate:
    """The candidate with what speaks against it, besides what does already."""
    failed = tuple(text for trial in TESTS if (text := trial.fails(candidate)) is not None)
    return candidate.model_copy(update={"against": (*failed, *candidate.against)})


# --- What a fix should do ---


def _unchanged(candidate: FixCandidate) -> str | None:
    if candidate.changed:
        return None
    if candidate.right is None:
        return "the answer does not change as wanted"
    return f"only {candidate.right[0]} of {candidate.right[1]} answers change as wanted"


def _alone(candidate: FixCandidate) -> str | None:
    found = _score(candidate, "paraphrase")
    return None if found is None or found[0] >= HALF else f"only {found[0]:.0%} of the other phrasings follow"


def _falls(role: Role, name: str) -> Callable[[FixCandidate], str | None]:
    """Whether what should stay, of this role, is lost in more than `LOST_POINTS`."""

    def fails(candidate: FixCandidate) -> str | None:
        found = _score(candidate, role)
        if found is None or found[0] >= found[1] - LOST_POINTS:
            return None
        return f"{name} from {100 * found[1]:.0f} to {100 * found[0]:.0f}"

    return fails


def _disturbs(candidate: FixCandidate) -> str | None:
    before, after = candidate.perplexity_before, candidate.perplexity
    if before is None or after is None or after <= before * (1 + GROWN):
        return None
    return f"held-out perplexity grows by {after / before - 1:.1%}"


def _score(candidate: FixCandidate, role: Role) -> tuple[float, float] | None:
    """A role's score and the unedited model's, with nothing prepended where it was measured so."""
    found = [score for score in candidate.scores if score.role == role and score.score is not None]
    as_is = [score for score in found if score.prepend == "as-is"] or found
    return (as_is[0].score, as_is[0].score_before) if as_is else None


TESTS: tuple[Trial, ...] = (
    Trial("changed", _unchanged),
    Trial("phrasings", _alone),
    Trial("neighbors", _falls("neighborhood", "specificity falls")),
    Trial("attributes", _falls("attribute", "what else is known of the subject falls")),
    Trial("unrelated", _falls("unrelated", "unrelated facts fall")),
    Trial("perplexity", _disturbs),
)
"""In the order of their weight."""


def recommended(candidates: Sequence[FixCandidate]) -> tuple[int | None, str]:
    """The first candidate that passes every test; else the one that changes the answer and fails the fewest.

    Of several cases, where none changes `MOST`, it is the one that changes more of them than any other.
    """
    changing = [place for place, each in enumerate(candidates) if each.changed]
    if not changing:
        most = max((each.right[0] for each in candidates if each.right), default=0)
        changing = [place for place, each in enumerate(candidates) if each.right and each.right[0] == most > 0]
    if not changing:
        return None, "nothing that was tried makes the model say the target; give more prompts or another editor"
    place = min(changing, key=lambda each: (len(candidates[each].against), each))
    chosen = candidates[place]
    if not chosen.against:
        weights = "no weight has to change" if chosen.case is not None else "it passes every test of the suite"
        return place, f"{chosen.title} does it: {weights}"
    return place, f"{chosen.title} comes closest, but {', and '.join(chosen.against)}"
