"""What there is to draw of an erasure: what probes read, and what it does to the model."""

from __future__ import annotations

from workbench.editing.editors.erasure.effects import CaseEffect, Effects
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.layer import ErasedLayer
from workbench.editing.editors.erasure.probes import Accuracy
from workbench.figures import Column, Figure, Table, line, notes, said
from workbench.models.tokentext import display


def erasure_figures(result: Erased) -> tuple[Figure, ...]:
    """What probes read at each layer before and after, and what the edit does to the model."""
    parts: list[Figure] = [_probes(result)]
    parts += said(f"guessing the most frequent class: {_accuracy(result.majority)}")
    if result.effects is not None:
        parts += _effects(result, result.effects)
    if last := result.at(result.layers[-1]):
        texts = (f"{text.moved:6.1%}  {text.label}: {display(text.text)}" for text in last.most_changed)
        parts += said(line(f"most changed at layer {last.layer}", "heading"), *texts)
    return tuple(parts)


def _probes(result: Erased) -> Table:
    """One row a layer, the last on top."""
    steers = result.how == "steer"
    fourth = f"taken for {result.towards}" if steers else "fresh"
    numbers = [Column(heading=heading, right=True) for heading in ("before", "after", fourth, "non-linear", "rank")]
    return Table(
        title=f"{result.concept} · {result.how} · linear probes on unseen texts / templates",
        columns=(Column(heading="layer", right=True), "", *numbers),
        rows=tuple(_row(row, steers) for row in reversed(result.probed)),
    )


def _row(row: ErasedLayer, steers: bool) -> tuple[str, ...]:
    share = "" if row.towards is None else f"{row.towards[0]:.2f} → {row.towards[1]:.2f}"
    return (
        str(row.layer),
        "changed" if row.changed else "",
        _accuracy(row.before),
        _accuracy(row.after),
        share if steers else _accuracy(row.fresh),
        _accuracy(row.nonlinear_after),
        str(row.rank) if row.changed else "",
    )


def _accuracy(found: Accuracy | None) -> str:
    if found is None:
        return "–"
    return f"{found.texts:.2f}" + ("" if found.templates is None else f" / {found.templates:.2f}")


def _effects(result: Erased, effects: Effects) -> tuple[Figure, ...]:
    words = Table(
        title="What follows an open prompt: p of the words of each class",
        columns=(*(Column(heading=name, right=True) for name in result.classes), Column(heading="prompt", wraps=True)),
        rows=tuple(
            (
                *(f"{before:.3f} → {after:.3f}" for before, after in zip(effect.before, effect.after, strict=True)),
                display(effect.prompt),
            )
            for effect in effects.words
        ),
    )
    change = f"{effects.perplexity_change:+.1%}".replace("-", "−")
    perplexity = f"held-out perplexity {effects.perplexity_before:.2f} → {effects.perplexity_after:.2f} ({change})"
    return (
        *((words,) if effects.words else ()),
        *said(f"{perplexity}, {effects.kept} of {effects.known} known facts kept"),
        *notes(f"{display(lost.prompt)} “{lost.before}” → “{lost.after}”" for lost in effects.lost),
        *(_watched(effects.case) if effects.case else ()),
    )


def _watched(case: CaseEffect) -> tuple[Figure, ...]:
    """The first choice for a prompt, and its target and foil, before and after."""
    lines = []
    for when, column in (("before", case.before), ("after", case.after)):
        text = f"{when}: “{column.top_tokens[-1][0].strip()}” {column.top_probabilities[-1][0]:.3f}"
        for choice, track in ((case.encoded.target, column.target), (case.encoded.foil, column.foil)):
            if choice is not None and track is not None:
                text += f", “{choice.text.strip()}” {track.probability[-1]:.3f}"
        lines.append(text)
    return said(line("the watched prompt", "heading"), *lines)
