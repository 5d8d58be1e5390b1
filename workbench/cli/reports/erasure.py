"""Drawings of an erasure: what probes read, and what it does to the model."""

from __future__ import annotations

from rich.console import Group, RenderableType

from workbench.cli.console import Text
from workbench.cli.reports.drawing import notes, table
from workbench.editing.editors.erasure.effects import CaseEffect, Effects
from workbench.editing.editors.erasure.erasure import ErasureResult
from workbench.editing.editors.erasure.probes import Accuracy
from workbench.models.tokentext import display


def draw_erasure(result: ErasureResult) -> RenderableType:
    """What probes read at each layer before and after, and what the edit does to the model."""
    steers = result.method == "steer"
    fresh = f"taken for {result.towards}" if steers else "fresh"
    numbers = ["layer", "before", "after", fresh, "non-linear", "rank"]
    title = f"{result.concept} · {result.method} · linear probes on unseen texts / templates"
    drawn = table(title, "layer", "", *numbers[1:], right=numbers)
    for row in reversed(result.probed):
        share = "" if row.towards is None else f"{row.towards[0]:.2f} → {row.towards[1]:.2f}"
        cells = [_accuracy(row.before), _accuracy(row.after), share if steers else _accuracy(row.fresh)]
        mark = "changed" if row.changed else ""
        drawn.add_row(
            str(row.layer), mark, *cells, _accuracy(row.nonlinear_after), str(row.rank) if row.changed else ""
        )
    parts: list[RenderableType] = [drawn, Text(f"guessing the most frequent class: {_accuracy(result.majority)}")]
    if result.effects is not None:
        parts += _erasure_effects(result, result.effects)
    if last := result.at(result.layers[-1]):
        parts += [Text(f"most changed at layer {last.layer}", style="bold")]
        parts += [Text(f"{text.moved:6.1%}  {text.label}: {display(text.text)}") for text in last.most_changed]
    return Group(*parts)


def _accuracy(found: Accuracy | None) -> str:
    if found is None:
        return "–"
    return f"{found.texts:.2f}" + ("" if found.templates is None else f" / {found.templates:.2f}")


def _erasure_effects(result: ErasureResult, effects: Effects) -> list[RenderableType]:
    words = table("What follows an open prompt: p of the words of each class", *result.classes, right=result.classes)
    words.add_column(Text("prompt"))
    for effect in effects.words:
        pairs = zip(effect.before, effect.after, strict=True)
        words.add_row(*(f"{before:.3f} → {after:.3f}" for before, after in pairs), Text(display(effect.prompt)))
    change = f"{effects.perplexity_change:+.1%}".replace("-", "−")
    parts: list[RenderableType] = [words] if effects.words else []
    parts.append(
        Text(
            f"canary perplexity {effects.perplexity_before:.2f} → {effects.perplexity_after:.2f} ({change}), "
            f"{effects.kept} of {effects.known} known facts kept"
        )
    )
    parts += notes([f"{display(lost.prompt)} “{lost.before}” → “{lost.after}”" for lost in effects.lost])
    if effects.case is not None:
        parts += _watched(effects.case)
    return parts


def _watched(case: CaseEffect) -> list[RenderableType]:
    """The first choice for a prompt, and its target and foil, before and after."""
    lines = []
    for when, column in (("before", case.before), ("after", case.after)):
        line = Text(f"{when}: “{column.top_tokens[-1][0].strip()}” {column.top_probabilities[-1][0]:.3f}")
        for choice, track in ((case.encoded.target, column.target), (case.encoded.foil, column.foil)):
            if choice is not None and track is not None:
                line.append(f", “{choice.text.strip()}” {track.probability[-1]:.3f}")
        lines.append(line)
    return [Text("the watched prompt", style="bold"), *lines, *notes(case.encoded.notes)]
