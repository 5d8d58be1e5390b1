"""What there is to draw of a causal trace, and of the average over many facts."""

from __future__ import annotations

from workbench.figures import Axis, Figure, Heatmap, Scale, line, notes, said
from workbench.methods.tracing.causal_trace import TraceGrid, TraceResult
from workbench.methods.tracing.facts import TOKEN_ROLES, FactsTraceResult, RoleEffect
from workbench.wording import count


def trace_figures(result: TraceResult) -> tuple[Figure, ...]:
    """A heatmap for each kind, tokens down and layers across, from the corrupted value to the clean one."""
    parts: list[Figure] = []
    for grid in result.grids:
        parts += [_heatmap(result, grid), *said(line(_peak_sentence(result, grid), "muted"))]
    summary = f"clean {result.clean:.3g}, corrupted {result.corrupted:.3g}, {count(result.samples, 'run')}"
    return (*parts, *said(summary), *notes(result.encoded.notes))


def _heatmap(result: TraceResult, grid: TraceGrid) -> Heatmap:
    differs = result.read == "difference"
    what = "logit difference" if differs else f"p(“{result.answer.strip()}”)"
    tokens = range(len(result.encoded.texts))
    return Heatmap(
        title=f"Causal trace · {grid.kind} · {what}",
        rows=Axis(
            name="token",
            labels=tuple(text.strip() or text for text in result.encoded.texts),
            index="token",
            subject=result.encoded.subject or (0, 0),
        ),
        columns=_layers(len(grid.values)),
        values=tuple(tuple(row[token] for row in grid.values) for token in tokens),
        scale=Scale(
            low=result.corrupted,
            high=result.clean,
            unit="logits" if differs else "probability",
            decimals=2 if differs else 3,
        ),
        estimated=tuple(tuple(not row[token] for row in grid.exact) for token in tokens),
        peaks=((grid.peak.token, grid.peak.layer),) if grid.peak else (),
    )


def _peak_sentence(result: TraceResult, grid: TraceGrid) -> str:
    if grid.peak is None:
        return "no peak"
    token = result.encoded.texts[grid.peak.token].strip()
    share = result.share(grid.peak.value)
    percent = "" if share is None else f", {share:.0%} of the gap"
    return f"peak at layer {grid.peak.layer}, “{token}”: {grid.peak.value:.3f}{percent}"


def facts_trace_figures(result: FactsTraceResult) -> tuple[Figure, ...]:
    """For each kind a heatmap of roles by layers, from no effect to the largest."""
    parts: list[Figure] = []
    for kind in dict.fromkeys(effect.kind for effect in result.effects):
        effects = {effect.role: effect for effect in result.effects if effect.kind == kind}
        roles = [role for role in TOKEN_ROLES if role in effects]
        largest = max((max(effect.mean) for effect in effects.values()), default=0.0)
        # The last token's late states are the answer itself: that they restore it says nothing.
        telling = [effect for role, effect in effects.items() if kind != "states" or role != "last"]
        best = max(telling or list(effects.values()), key=lambda effect: max(effect.mean))
        layer = best.mean.index(max(best.mean))
        picture = Heatmap(
            title=f"Average indirect effect · {kind}",
            rows=Axis(name="role", labels=tuple(roles)),
            columns=_layers(max(len(effect.mean) for effect in effects.values())),
            values=tuple(effects[role].mean for role in roles),
            scale=Scale(high=max(0.0, largest), unit="probability", decimals=3),
            peaks=((roles.index(best.role), layer),),
        )
        error = "" if best.error is None else f" (standard error {best.error[layer]:.3f})"
        sentence = f"largest at layer {layer}, {best.role}: {max(best.mean):.3f}{error}; {_facts(best)}"
        parts += [picture, *said(line(sentence, "muted"))]
    clean, corrupted = (f"{value:.3f}" if value is not None else "–" for value in (result.clean, result.corrupted))
    used = f"{count(result.used, 'fact')} used, {result.unknown} not known, {result.unusable} not traceable"
    return (*parts, *said(f"{used}; mean clean {clean}, corrupted {corrupted}"))


def _facts(effect: RoleEffect) -> str:
    return f"of {count(effect.facts, 'fact')}"


def _layers(number: int) -> Axis:
    return Axis(name="layer", labels=tuple(str(layer) for layer in range(number)), index="layer")
