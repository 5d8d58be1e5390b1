"""The trust strip of an erasure: how much there was to fit on, and what the probes and the model say afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.protocol import Check

if TYPE_CHECKING:
    from workbench.editing.editors.erasure.erased import Erased
    from workbench.editing.editors.erasure.layer import ErasedLayer
    from workbench.editing.editors.erasure.probes import Accuracy

EQUAL = {"float32": 1e-4}
"""Class means this near to each other, in units of the states' spread, pass as equal, by dtype: it is rounding."""

EQUAL_IN_HALF = 0.02

MARGIN = 0.03
"""Accuracy above the majority's that passes as guessing."""

PERPLEXITY_GROWTH = 0.03
"""Growth of the held-out perplexity that passes."""

PARITY = {"float32": 1e-4}
PARITY_OF_HALF = 0.1


def checks(result: Erased, dtype: str, seed: int, parity: float | None) -> tuple[Check, ...]:
    """Everything that can be said so far."""
    changed = [row for row in result.probed if row.changed]
    found: list[Check] = []
    if changed:
        found.append(_before(result, changed))
        found += _erased(result, changed, dtype) if result.how != "steer" else []
    found += _in_the_model(result, dtype, parity)
    found.append(Check(name="texts", text=_texts(result, seed)))
    return tuple(found)


def _before(result: Erased, changed: list[ErasedLayer]) -> Check:
    """Whether there was anything to find."""
    best = max(row.before.texts for row in changed)
    readable = best > result.majority.texts + MARGIN
    text = f"read at {best:.2f} (guessing {result.majority.texts:.2f})"
    return Check(name="concept", text=text, level="ok" if readable else "warn")


def _erased(result: Erased, changed: list[ErasedLayer], dtype: str) -> Iterator[Check]:
    ranks = sorted({row.rank for row in changed})
    rank = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]}–{ranks[-1]}"
    values = [value for row in changed for value in row.singular_values]
    kept = f", singular values {min(values):.2g}–{max(values):.2g}" if values else ""
    wanted = len(result.classes) - 1
    yield Check(name="rank", text=rank + kept, level="ok" if ranks == [wanted] else "warn")
    yield Check(name="n/d", text=f"{result.per_dimension:.1f}", level="ok" if result.per_dimension >= 2 else "warn")
    before, after = (max(row.class_means[when] for row in changed) for when in (0, 1))
    coefficients = [row.coefficient for row in changed if row.coefficient is not None]
    probe = f", coefficients × {max(coefficients):.0e}" if coefficients else ""
    bound = EQUAL.get(dtype, EQUAL_IN_HALF)
    text = f"class means {before:.2g} → {after:.0e} apart{probe}"
    yield Check(name="guarantee", text=text, level="ok" if after <= bound else "warn")
    worst = max(changed, key=lambda row: _above(row.after, result.majority))
    yield _read_again("after", worst.after, result.majority)
    fresh = [row.fresh for row in changed if row.fresh is not None]
    if fresh:
        yield _read_again("fresh probe", max(fresh, key=lambda each: _above(each, result.majority)), result.majority)
    nonlinear = [row.nonlinear_after for row in changed]
    yield _read_again("non-linear", max(nonlinear, key=lambda each: _above(each, result.majority)), result.majority)


def _above(found: Accuracy, majority: Accuracy) -> float:
    """How far above guessing, on whichever of the two is worse."""
    gaps = [found.texts - majority.texts]
    if found.templates is not None and majority.templates is not None:
        gaps.append(found.templates - majority.templates)
    return max(gaps)


def _read_again(name: str, found: Accuracy, majority: Accuracy) -> Check:
    templates = "" if found.templates is None else f" and {found.templates:.2f}"
    level = "ok" if _above(found, majority) <= MARGIN else "warn"
    return Check(name=name, text=f"{found.texts:.2f}{templates}", level=level)


def _in_the_model(result: Erased, dtype: str, parity: float | None) -> Iterator[Check]:
    if parity is not None:
        passes = parity <= PARITY.get(dtype, PARITY_OF_HALF)
        yield Check(name="in the model", text=f"parity {parity:.0e}", level="ok" if passes else "warn")
    effects = result.effects
    if effects is not None:
        change = effects.perplexity_change
        text = f"{change:+.1%}".replace("-", "−")
        yield Check(name="held-out perplexity", text=text, level="ok" if change <= PERPLEXITY_GROWTH else "warn")
        level = "ok" if effects.kept == effects.known else "warn"
        yield Check(name="facts kept", text=f"{effects.kept} of {effects.known}", level=level)


def _texts(result: Erased, seed: int) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in sorted(result.texts.items(), reverse=True))
    return f"{counts}, {result.pool} pooled, seed {seed}"
