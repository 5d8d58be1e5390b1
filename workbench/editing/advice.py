"""What is said where many edits lie on top of each other: the field's common advice, and what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.editing.editor import Editor
from workbench.editing.sequence import SequencePoint, turning_point
from workbench.editing.suite.scores import harmonics
from workbench.paths import cache_folder
from workbench.protocol import Check, Frozen
from workbench.remembering import remember, remembered
from workbench.wording import points as percent

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

MANY = 50
"""Edits of which more, one on top of the other, are commonly advised against: published sequences of single edits
break models after some dozens to a few hundred (Yang et al. 2024, arXiv 2402.09656; Gu et al. 2024, arXiv 2401.04700).
"""

COMMON = (
    f"past {MANY} edits models commonly begin to lose what should stay; make few, or use an editor that solves many "
    "facts together, retrieval, or retraining"
)


class MeasuredSequence(Frozen):
    """A sequence that was measured on this model: score 0 … 1 and perplexity before and after the last edit.

    ``batch``: it was made of batches.
    """

    editor: str
    batch: bool = False
    edits: int
    turned: int | None
    score: tuple[float | None, float | None]
    perplexity: tuple[float, float]

    @property
    def said(self) -> str:
        """It in words."""
        growth = self.perplexity[1] / self.perplexity[0] - 1
        turned = f"turned at {self.turned} edits" if self.turned else "had not turned"
        scores = " → ".join(map(percent, self.score))
        return (
            f"measured on this model: {self.editor} {turned}; at {self.edits} score {scores}, "
            f"held-out perplexity {growth:+.0%}"
        )


SHIPPED = {
    "c04f14581d1bf365": MeasuredSequence(
        editor="ROME", edits=100, turned=50, score=(0.339, 0.773), perplexity=(23.94, 29.39)
    )
}
"""What was measured of the default model (docs/edits.md), by the fingerprint of its weights."""


class _Curves(Frozen):
    curves: tuple[MeasuredSequence, ...] = ()


def advice(fingerprint: str, edits: int) -> Check | None:
    """The warning where so many edits are more than is commonly advised, with the longest curve measured here.

    The model is named by its weights' ``fingerprint``: none has to be loaded to be warned.
    """
    if edits <= MANY:
        return None
    curves = _known(fingerprint).curves
    measured = max(curves, key=lambda curve: curve.edits).said if curves else "not measured on this model yet"
    return Check(name="many edits", text=f"{edits}: {COMMON}; {measured}", level="warn")


def too_many(fingerprint: str, edits: int) -> str | None:
    """Why so many edits are more than a model should carry; None where they are not.

    They are where they are more than `MANY`, or where every sequence of single edits that was measured on this model
    had turned by then.
    """
    if edits > MANY:
        return f"{edits} edits are more than {MANY}, past which models commonly begin to lose what should stay"
    curves = [curve for curve in _known(fingerprint).curves if not curve.batch]
    turned = {curve.turned: curve.editor for curve in curves if curve.turned and curve.turned <= edits}
    if not turned or any((curve.turned or curve.edits + 1) > edits for curve in curves):  # one has borne so many
        return None
    last = max(turned)
    return f"edits by {turned[last]}, one after the other, turned at {last} on this model, and these are {edits}"


def remember_curve(
    model: LoadedModel, by: Editor, points: Sequence[SequencePoint], before: float, batch: int | None
) -> None:
    """Keep what a sequence came to, where it is longer than what is known of its editor."""
    last, known = points[-1], _known(model.info.fingerprint).curves
    title = by.title if batch is None else f"{by.title} in batches of {batch}"
    if any(curve.editor == title and curve.edits > last.edits for curve in known):
        return
    first = next((prepend for prepend, score in last.harmonic.items() if score is not None), None)
    unedited = harmonics(last.scores, before=True).get(first) if first else None
    curve = MeasuredSequence(
        editor=title,
        batch=batch is not None,
        edits=last.edits,
        turned=turning_point(points, before),
        score=(unedited, last.harmonic.get(first) if first else None),
        perplexity=(before, last.perplexity),
    )
    remember(_file(model.info.fingerprint), _Curves(curves=(*(one for one in known if one.editor != title), curve)))


def _known(fingerprint: str) -> _Curves:
    shipped = (SHIPPED[fingerprint],) if fingerprint in SHIPPED else ()
    return remembered(_file(fingerprint), _Curves) or _Curves(curves=shipped)


def _file(fingerprint: str) -> Path:
    return cache_folder() / "edited" / fingerprint / "curves.json"
