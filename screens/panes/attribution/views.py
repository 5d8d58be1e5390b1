"""What the attribution pane draws and says, computed from results without any widget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from textual.content import Content

from screens.widgets import numbers
from screens.widgets.colours import fill, signed
from screens.widgets.score_model import ScoreRow, Scores
from workbench.methods.attribution.attribution import (
    AttributionMethod,
    AttributionRequest,
    AttributionResult,
    agreement,
)
from workbench.protocol import Check

METHODS: tuple[AttributionMethod, ...] = get_args(AttributionMethod)
NAMES: dict[AttributionMethod, str] = {
    "integrated-gradients": "integrated gradients",
    "input-x-gradient": "input × gradient",
    "occlusion": "occlusion",
    "shapley": "Shapley values",
}
SHORT: dict[AttributionMethod, str] = {
    "integrated-gradients": "int.grad",
    "input-x-gradient": "in×grad",
    "occlusion": "occlus.",
    "shapley": "Shapley",
}
BASELINES = ("mean", "eos", "zero")


class AttributionVariant(NamedTuple):
    """A way to attribute. Results of several for one question stand side by side."""

    method: AttributionMethod = "integrated-gradients"
    baseline: str = "mean"
    unit: Literal["token", "word"] = "token"

    @property
    def has_units(self) -> bool:
        """Whether the method can take a word as one."""
        return self.method in ("occlusion", "shapley")

    def asked(self) -> AttributionVariant:
        """As it can be asked: gradients take tokens one by one."""
        return self if self.has_units else self._replace(unit="token")


def variant_of(request: AttributionRequest) -> AttributionVariant:
    """How a request attributes."""
    return AttributionVariant(request.method, request.baseline, request.unit)


def same_question(one: AttributionResult, other: AttributionResult) -> bool:
    """Whether two results explain the same number by the same tokens."""
    return _question(one) == _question(other)


def scores(found: Mapping[AttributionVariant, AttributionResult], shown: AttributionVariant, with_all: bool) -> Scores:
    """The tokens coloured by one result, with its numbers under them, or those of all with the same baseline."""
    variants = comparable(found, shown) if with_all else [shown]
    result = found[shown]
    return Scores(
        tokens=result.encoded.texts,
        rows=tuple(_row(variant, found[variant], variants) for variant in variants),
        main=variants.index(shown),
        underlined=result.encoded.subject or (0, 0),
    )


def comparable(
    found: Mapping[AttributionVariant, AttributionResult], shown: AttributionVariant
) -> list[AttributionVariant]:
    """What was run with the same baseline, in the order of the methods."""
    alike = [variant for variant in found if variant.baseline == shown.baseline]
    return sorted(alike, key=lambda variant: (METHODS.index(variant.method), variant.unit))


def largest(result: AttributionResult) -> float:
    """The end of the colour scale: the largest score, whatever its sign."""
    return max((abs(score) for score in result.scores if math.isfinite(score)), default=0.0)


def score_text(score: float) -> str:
    """At most four cells, always with a sign: ``+.71``, ``−1.4``, ``+12``."""
    if not math.isfinite(score):
        return "?"
    size = abs(score)
    digits = f"{size:.2f}"[1:] if size < 0.995 else f"{size:.1f}" if size < 9.95 else f"{size:.0f}"
    return ("−" if score < 0 else "+") + digits


def unit_of(result: AttributionResult) -> str:
    """What scores are counted in."""
    return "logits" if result.foil_text is not None else "nats"


def title(result: AttributionResult, shown: AttributionVariant) -> str:
    """``Attribution · integrated gradients · after " is"``."""
    words = " by words" if shown.unit == "word" else ""
    return f'Attribution · {NAMES[shown.method]}{words} · after "{result.encoded.texts[result.position]}"'


def legend(result: AttributionResult, token: int | None, dark: bool) -> Content:
    """The scale from foil to target; then what the token under the cursor adds."""
    end = largest(result)
    towards = (result.target_text.strip() or result.target_text, (result.foil_text or "").strip() or "others")
    parts: list[tuple[str, str]] = [(f"{towards[1]} {score_text(-end)} ", "")]
    for step in range(7):
        fraction = (step - 3) / 3
        shade = signed(fraction)
        assert shade is not None
        colours = fill(shade, dark)
        parts.append(("−" if step < 3 else "+" if step > 3 else "·", f"{colours.foreground} on {colours.background}"))
    parts.append((f" {score_text(end)} {towards[0]}, {unit_of(result)}", ""))
    return Content.assemble(*parts, (f"   {read_out(result, token)}", "$foreground"))


def read_out(result: AttributionResult, token: int | None) -> str:
    """What one token adds, and which part of all additions, whatever their signs, that is.

    Where the token adds nothing by definition it is the number that is shared out.
    """
    start, stop = result.attributed
    if token is not None and start <= token < stop:
        size = sum(abs(score) for score in result.scores)
        part = f" ({abs(result.scores[token]) / size:.0%})" if size else ""
        return f'"{result.encoded.texts[token]}" {score_text(result.scores[token])}{part}'
    return f"in all {numbers.signed(result.value - result.baseline_value)}"


def agreement_check(
    found: Mapping[AttributionVariant, AttributionResult], shown: AttributionVariant
) -> tuple[Check, ...]:
    """How far the other methods that were run with this baseline rank the tokens alike."""
    parts = []
    for variant in comparable(found, shown):
        if variant != shown and (rho := agreement(found[shown], found[variant])) is not None:
            parts.append(f"{_label(variant)} {rho:+.2f}".replace("-", "−"))
    return (Check(name="agreement ρ", text=", ".join(parts)),) if parts else ()


def _row(variant: AttributionVariant, result: AttributionResult, variants: list[AttributionVariant]) -> ScoreRow:
    start, stop = result.attributed
    end = largest(result)
    inside = [start <= index < stop for index in range(len(result.scores))]
    return ScoreRow(
        label=_label(variant) if len(variants) > 1 else "",
        texts=tuple(score_text(s) if here else "" for s, here in zip(result.scores, inside, strict=True)),
        shades=tuple(
            signed(s / end if end else 0.0) if here else None for s, here in zip(result.scores, inside, strict=True)
        ),
    )


def _label(variant: AttributionVariant) -> str:
    return SHORT[variant.method] + (" w" if variant.unit == "word" else "")


def _question(result: AttributionResult) -> tuple[object, ...]:
    return (result.encoded.ids, result.position, result.target_text, result.foil_text, result.attributed)
