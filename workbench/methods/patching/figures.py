"""What there is to draw of patching between two prompts: which tokens belong together, and what each cell does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.figures import Axis, Figure, Heatmap, Scale, line, notes, said

if TYPE_CHECKING:
    from workbench.methods.patching.patching import PatchResult
    from workbench.methods.tracing.grid import TraceGrid


def figures(result: PatchResult) -> tuple[Figure, ...]:
    """A sentence, a heatmap for each kind (tokens down, the run that is changed; layers across), what is aligned."""
    parts: list[Figure] = [*_runs(result)]
    for grid in result.grids:
        parts += [_heatmap(result, grid), *said(line(_peak(result, grid), "muted"))]
    return (*parts, *_alignment(result), *notes((*result.encoded.notes, *result.encoded_source.notes)))


def _runs(result: PatchResult) -> tuple[Figure, ...]:
    number = Scale(ramp="signed", low=-1, high=1, decimals=2).text
    answers = f"“{result.target.strip()}” − “{result.foil.strip()}”"
    ends = (
        f"{number(result.base)} after the prompt (first choice “{result.base_top.strip()}”), "
        f"{number(result.source)} after the source (“{result.source_top.strip()}”)"
    )
    way = {
        "denoising": "from the source into the prompt: 1 where the answer becomes the source's",
        "noising": "from the prompt into the source: 0 where the answer becomes the prompt's",
    }[result.direction]
    by_way = f", by way of {_receivers(result)} alone" if result.receivers else ""
    return said(f"{answers} is {ends}", f"put in {way}{by_way}")


def _receivers(result: PatchResult) -> str:
    assert result.receive_at is not None
    names = ", ".join(f"{part} {layer}" for part, layer in result.receivers)
    return f"{names} at “{result.changed.texts[result.receive_at].strip()}”"


def _heatmap(result: PatchResult, grid: TraceGrid) -> Heatmap:
    denoising = result.direction == "denoising"
    wide = f" · {result.window} layers" if grid.kind != "states" and result.window > 1 else ""
    tokens = range(len(result.changed.texts))
    places = () if grid.peak is None else ((grid.peak.token, grid.peak.layer),)
    return Heatmap(
        title=f"Patched {grid.kind}{wide} · {result.target.strip()} − {result.foil.strip()}",
        rows=Axis(
            name="token",
            labels=tuple(_label(result, token) for token in tokens),
            index="token" if denoising else None,
            subject=(result.changed.subject or (0, 0)) if denoising else (0, 0),
        ),
        columns=Axis(name="layer", labels=tuple(map(str, range(len(grid.values)))), index="layer"),
        values=tuple(tuple(row[token] for row in grid.values) for token in tokens),
        scale=Scale(low=0.0 if denoising else 1.0, high=1.0 if denoising else 0.0, unit="of the gap", decimals=2),
        estimated=tuple(tuple(not row[token] for row in grid.exact) for token in tokens),
        peaks=places,
    )


def _label(result: PatchResult, token: int) -> str:
    """A token, with the other prompt's where that is another one; their numbers, too, where lengths differ."""
    own, partner = result.changed.texts[token], result.partners.get(token)
    mine = own.strip() or own
    if partner is None:
        return f"{token} {mine} ← none"
    theirs = result.given.texts[partner]
    other = "" if own == theirs else theirs.strip() or theirs
    if len(result.changed.ids) == len(result.given.ids) and partner == token:
        return f"{mine} ← {other}" if other else mine
    return f"{token} {mine} ← {partner} {other}".rstrip()


def _peak(result: PatchResult, grid: TraceGrid) -> str:
    if grid.peak is None:
        return "no peak"
    token = result.changed.texts[grid.peak.token].strip()
    return f"most at layer {grid.peak.layer}, “{token}”: {grid.peak.value:.2f}".replace("-", "−")


def _alignment(result: PatchResult) -> tuple[Figure, ...]:
    """The pairs in short: whole runs of tokens that go together."""
    runs: list[list[int]] = []
    for mine, theirs in result.pairs:
        if runs and (mine, theirs) == (runs[-1][0] + runs[-1][2], runs[-1][1] + runs[-1][2]):
            runs[-1][2] += 1
        else:
            runs.append([mine, theirs, 1])
    pairs = ", ".join(f"{_span(mine, number)}:{_span(theirs, number)}" for mine, theirs, number in runs)
    alone = [
        f"{_of(whose)} {', '.join(f'{token} “{encoded.texts[token].strip()}”' for token in tokens)}"
        for whose, encoded in enumerate((result.encoded, result.encoded_source))
        if (tokens := sorted(set(range(len(encoded.ids))) - {pair[whose] for pair in result.pairs}))
    ]
    rest = f"; without a partner: {'; '.join(alone)}" if alone else ""
    return said(line(f"aligned (prompt:source) {pairs}{rest}", "muted"))


def _span(start: int, number: int) -> str:
    return f"{start}–{start + number - 1}" if number > 1 else f"{start}"


def _of(whose: int) -> str:
    return "of the source" if whose else "of the prompt"
