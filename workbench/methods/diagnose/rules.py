"""The table of rules by which evidence becomes a finding: the first whose condition holds says what it is.

Every sentence carries the number it rests on and the step that it was read from. Thresholds stand here and nowhere
else; none of them was fitted, and what they mean is said in docs/diagnosis.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from workbench.methods.diagnose.evidence import Evidence, odds
from workbench.protocol import Frozen

Failure = Literal["right", "context", "unnamed", "prompt", "recall", "knowledge", "uncertain"]

FixKind = Literal["prompt", "in-context", "weights", "steer"]
"""Another prompt, the fact before the prompt, an edit of the weights, a direction added to the states."""

KNOWN_RANK = 10
"""A target that ranks so high somewhere is there to be recalled."""

UNKNOWN_RANK = 100
"""A target that ranks below this under every phrasing and in every layer that can be read is not known."""

MOST_PHRASINGS = 0.5
"""Where more than this part of the phrasings is answered right, the phrasing that was asked is the exception."""


class FindingSentence(Frozen):
    """A sentence, the number it rests on, and the step of the session that holds it (0 where none is recorded)."""

    text: str
    value: float
    step: int
    method: str


@dataclass(frozen=True)
class Rule:
    """``holds`` is the condition, ``says`` what the finding begins with, ``fixes`` what is worth trying, best first."""

    failure: Failure
    title: str
    holds: Callable[[Evidence], bool]
    says: Callable[[Evidence], Iterator[FindingSentence]]
    fixes: tuple[FixKind, ...]
    advice: str


def find(evidence: Evidence) -> Rule:
    """The first rule that holds; the last one always does."""
    return next(rule for rule in RULES if rule.holds(evidence))


# --- what sentences are made of ---


def _said(evidence: Evidence, name: str, text: str, value: float) -> FindingSentence:
    return FindingSentence(text=text, value=round(value, 4), step=evidence.step(name), method=name)


def _failure(e: Evidence) -> Iterator[FindingSentence]:
    if e.asked is not None and e.margin is not None:
        yield _said(e, "stability", f"“{e.target}” has {odds(e.asked)} for “{e.foil}” as asked", e.margin)


def _choices(e: Evidence) -> Iterator[FindingSentence]:
    if e.asked is not None and e.margin is not None:
        text = f"the model says “{e.foil}”; compared with “{e.target}”: {odds(e.asked, foil_first=True)}"
        yield _said(e, "stability", text, e.margin)


def _stable(e: Evidence) -> Iterator[FindingSentence]:
    if e.stability is not None and len(e.stability.answers) > 1:
        asked, *others = e.stability.answers
        same = sum(each.top == asked.top for each in others)
        text = f"{same} of {len(others)} other starts and phrasings have the same first choice"
        yield _said(e, "stability", text, same / len(others))


def _turned(e: Evidence, *kinds: str) -> Iterator[FindingSentence]:
    if (best := e.turned(*kinds)) is not None and best.target is not None and best.foil is not None:
        margin = best.target.probability - best.foil.probability
        yield _said(e, "stability", f"{best.variant.label}, “{e.target}” is the first choice, {odds(best)}", margin)


def _phrasings(e: Evidence) -> Iterator[FindingSentence]:
    right, of = e.right_among("phrasing")
    if of:
        yield _said(e, "stability", f"{right} of {of} other phrasings are answered right", right / of)


def _changed(e: Evidence) -> Iterator[FindingSentence]:
    if e.change is not None:
        swaps = ", ".join(
            f"“{each.before.strip()}” {'left out' if each.after is None else f'→ “{each.after.strip()}”'}"
            for each in e.change.changes
        )
        yield _said(e, "counterfactual", f"the answer turns with {swaps}", e.change.changes[-1].difference)


def _layers(e: Evidence) -> Iterator[FindingSentence]:
    if e.best_in_lens is not None:
        rank, layer = e.best_in_lens
        where = "in every layer" if e.parting == 0 else f"from layer {e.parting} on"
        ahead = "" if e.parting is None else f"; “{e.foil}” is ahead of it {where}"
        text = f"before the last layer the lens ranks “{e.target}” {rank} at best, after layer {layer}{ahead}"
        yield _said(e, "lens", text, rank)


def _written(e: Evidence) -> Iterator[FindingSentence]:
    if e.writes_foil is not None:
        name, value = e.writes_foil
        yield _said(e, "heads", f"{name} adds most to “{e.foil}”, {abs(value):.2f} logits", value)


def _placed(e: Evidence) -> Iterator[FindingSentence]:
    if e.place is not None:
        peak, token, share = e.place
        where = f"the residual stream after layer {peak.layer} at “{token}”"
        yield _said(e, "trace", f"{where} alone restores {share:.0%} of the answer", share)


def _ranked(e: Evidence) -> Iterator[FindingSentence]:
    if e.best_rank is not None:
        rank, where = e.best_rank
        yield _said(e, "stability", f"the best rank of “{e.target}” in any variant is {rank} ({where})", rank)


def _together(
    *parts: Callable[[Evidence], Iterator[FindingSentence]],
) -> Callable[[Evidence], Iterator[FindingSentence]]:
    def says(e: Evidence) -> Iterator[FindingSentence]:
        for part in parts:
            yield from part(e)

    return says


# --- the conditions ---


def _is_right(e: Evidence) -> bool:
    return e.asked is not None and bool(e.asked.right) and e.asked.target is not None and e.asked.target.rank == 1


def _is_copied(e: Evidence) -> bool:
    """The foil stands in the prompt, and moving what stands there turns the answer, or the target stands there too.

    Where the target is guessed, something must turn the answer: else nothing says that the place is a wrong one.
    """
    if e.guessed and e.turned("order", "start", "template") is None:
        return False
    return e.is_in_prompt(e.foil) and (e.turned("order") is not None or e.is_in_prompt(e.target))


def _is_the_prompts(e: Evidence) -> bool:
    right, of = e.right_among("phrasing")
    return e.turned("start", "template") is not None or (of > 0 and right / of > MOST_PHRASINGS)


def _best(e: Evidence) -> int | None:
    """The target's best rank anywhere: in any variant, and in the upper layers of the lens."""
    ranks = [each[0] for each in (e.best_rank, e.best_in_lens) if each is not None]
    return min(ranks, default=None)


def _is_there(e: Evidence) -> bool:
    best = _best(e)
    return e.turned("phrasing") is not None or (best is not None and best <= KNOWN_RANK)


def _is_unknown(e: Evidence) -> bool:
    best = _best(e)
    return best is not None and best > UNKNOWN_RANK


RULES: tuple[Rule, ...] = (
    Rule(
        failure="right",
        title="right: the model's first choice is the target",
        holds=_is_right,
        says=_together(_failure, _phrasings),
        fixes=(),
        advice="nothing has to be mended; name another target if this is not what was meant",
    ),
    Rule(
        failure="context",
        title="context: copied from the wrong place of the prompt",
        holds=_is_copied,
        says=_together(_failure, lambda e: _turned(e, "order", "start"), _changed, _written),
        fixes=("prompt", "in-context"),
        advice="change the order of the passage or what is prepended; no weight has to change",
    ),
    Rule(
        failure="unnamed",
        title="unnamed: what the model should say is not known",
        holds=lambda e: e.guessed,
        says=_together(_choices, _stable, _changed),
        fixes=(),
        advice="name the target if another answer is wanted: nothing measured here says that this one is wrong",
    ),
    Rule(
        failure="prompt",
        title="prompt: the answer changes with what is prepended, or with the phrasing",
        holds=_is_the_prompts,
        says=_together(_failure, lambda e: _turned(e, "start", "template"), _phrasings, _layers),
        fixes=("prompt", "in-context", "steer", "weights"),
        advice="try the prompt first; steer or edit weights where the prompt cannot be changed",
    ),
    Rule(
        failure="recall",
        title="recall: the target is there, and the foil overtakes it",
        holds=_is_there,
        says=_together(_failure, _ranked, _layers, _written, _placed),
        fixes=("in-context", "steer", "weights", "prompt"),
        advice="an edit of the recalled fact, tested by its suite; in context where the prompt may grow",
    ),
    Rule(
        failure="knowledge",
        title="knowledge: the target is not there under any phrasing",
        holds=_is_unknown,
        says=_together(_failure, _ranked, _layers),
        fixes=("in-context", "steer", "weights"),
        advice="say it in the prompt, or write it into the weights; where there are many, retrieval or training",
    ),
    Rule(
        failure="uncertain",
        title="uncertain: nothing conclusive",
        holds=lambda _: True,
        says=_together(_failure, _ranked, _changed),
        fixes=("in-context", "prompt", "steer", "weights"),
        advice="look at the steps one by one; name subject, target and foil yourself, or ask a longer prompt",
    ),
)
