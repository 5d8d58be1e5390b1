"""What there is to draw of patching between two prompts: which tokens belong together, and what each cell does."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from workbench.figures import Axis, Cell, Column, Figure, Heatmap, Scale, Table, line, notes, said
from workbench.methods.heads.names import named
from workbench.methods.tracing.grid import TraceKind

if TYPE_CHECKING:
    from workbench.methods.patching.heads import HeadGrid
    from workbench.methods.patching.patching import PatchRequest, PatchResult
    from workbench.methods.tracing.grid import TraceGrid
    from workbench.protocol import Request

STRONGEST = 8
"""Heads that the table names."""

HEADS = "Patched heads"
"""What the titles of both figures of heads begin with."""


def figures(result: PatchResult) -> tuple[Figure, ...]:
    """A sentence, a heatmap for each kind (tokens down, the run that is changed; layers across), what is aligned.

    Heads have a heatmap of their own (layers down, the last on top), and a table of those that move most.
    """
    parts: list[Figure] = [*_runs(result)]
    for grid in result.grids:
        parts += [_heatmap(result, grid), *said(line(_peak(result, grid), "muted"))]
    if result.heads is not None:
        parts += [_of_heads(result, result.heads), _strongest(result, result.heads)]
    return (*parts, *_alignment(result), *notes((*result.encoded.notes, *result.encoded_source.notes)))


def opened(request: PatchRequest, result: PatchResult, figure: Figure, place: tuple[int, int]) -> Request | None:
    """The attention pattern of a head, in the prompt's run."""
    from workbench.methods.heads.attention import AttentionRequest

    if result.heads is None or not isinstance(figure, Heatmap | Table) or not figure.title.startswith(HEADS):
        return None
    row, column = place
    order = _ordered(result, result.heads)
    layer, head = (figure.rows.index_of(row), column) if isinstance(figure, Heatmap) else order[row][1:]
    token = result.heads.token if result.direction == "denoising" else result.partners[result.heads.token]
    return AttentionRequest(case=request.case, position=token, head=named(layer, head))


def kind_of(figure: Figure) -> TraceKind | None:
    """What is patched in a grid of layers and tokens; None for another figure."""
    found = [kind for kind in get_args(TraceKind) if figure.title.startswith(f"Patched {kind}")]
    return found[0] if found and isinstance(figure, Heatmap) else None


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


def _of_heads(result: PatchResult, grid: HeadGrid) -> Heatmap:
    """From nothing moved to what the strongest head moves: a single head seldom moves much of the gap."""
    layers, token = len(grid.values), result.changed.texts[grid.token].strip()
    start, way = _scale(result)
    known = [value for row in grid.values for value in row if value is not None]
    end = max((value * way for value in known), default=start * way) * way
    peaks = () if grid.peak is None else ((layers - 1 - grid.peak[0], grid.peak[1]),)
    return Heatmap(
        title=f"{HEADS} at “{token}” · {result.target.strip()} − {result.foil.strip()}",
        rows=Axis.of_layers(layers),
        columns=Axis(name="head", labels=tuple(map(str, range(len(grid.values[0]))))),
        values=grid.values[::-1],
        scale=Scale(low=start, high=end, unit="of the gap", decimals=3),
        estimated=tuple(tuple(not exact for exact in row) for row in grid.exact[::-1]),
        peaks=peaks,
    )


def _strongest(result: PatchResult, grid: HeadGrid) -> Table:
    number = Scale(ramp="signed", low=-1, high=1, decimals=3).text
    rows = [
        (Cell(text=named(layer, head)), Cell(text=number(moved), meaning="strong" if moved > 0 else "muted"))
        for moved, layer, head in _ordered(result, grid)
    ]
    columns = (Column(heading="head"), Column(heading="of the gap, towards the other run", right=True))
    return Table(title=f"{HEADS} that move most", columns=columns, rows=tuple(rows))


def _ordered(result: PatchResult, grid: HeadGrid) -> list[tuple[float, int, int]]:
    """How far heads move the answer towards the other run, with layer and head, those first that move it most."""
    start, way = _scale(result)
    moved = [
        ((value - start) * way, layer, head)
        for layer, row in enumerate(grid.values)
        for head, value in enumerate(row)
        if value is not None
    ]
    return sorted(moved, key=lambda each: -abs(each[0]))[:STRONGEST]


def _scale(result: PatchResult) -> tuple[float, int]:
    """What the value is where nothing is put in, and which way it is expected to go."""
    return (0.0, 1) if result.direction == "denoising" else (1.0, -1)


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
