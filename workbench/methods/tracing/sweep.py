"""A run's values put into every cell (layer, token) of other runs: estimated first, then computed.

What a causal trace and patching between two prompts have in common. All layers of one token are computed together,
by runs that go on from the middle of recorded ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import NotConfirmed, OutOfMemory
from workbench.lazy import torch
from workbench.methods.tracing.grid import TraceGrid, TraceKind
from workbench.models.forward.patching import Site, first_order
from workbench.models.forward.resume import Branch, Branching
from workbench.models.forward.runs import PARTS, LogitMeasure, Run, record
from workbench.numbers import correlation, rounded
from workbench.protocol import Check

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

WINDOW = 10
"""Layers whose MLP or attention outputs are replaced together, as published for the causal trace of 48 layers."""

SHARE = 3
"""They are at most one of so many layers where nobody asks for more: a window over half of them shows nothing."""

LONG = 3600.0
"""Seconds: what would take longer begins only when that is confirmed."""


@dataclass(frozen=True, eq=False)
class Sweep:
    """What is put where, and what is read then.

    Row 0 of ``giving`` gives its values to all rows of ``receiving``: to each token that ``partner`` has those at its
    partner. A token at which nothing differs need not be among them. ``window`` layers of MLP or attention outputs are
    put in together. ``unchanged`` is what is read, on average over rows, where nothing was put in.
    """

    model: LoadedModel
    giving: Run
    receiving: Run
    partner: Mapping[int, int]
    window: int
    read: LogitMeasure
    unchanged: float

    @property
    def tokens(self) -> Sequence[int]:
        """The tokens into which something is put, ascending."""
        return sorted(self.partner)

    def starts(self, kind: TraceKind, token: int) -> dict[int, int]:
        """The first block that each cell of a column has to run, by the cell's layer.

        A last-layer state before the last token is not among them: nothing reads that state.
        """
        layers = self.model.info.layers
        if token not in self.partner:
            return {}
        if kind == "states":
            return {layer: layer + 1 for layer in range(layers - (token != self.receiving.tokens - 1))}
        return {layer: window(layer, self.window, layers)[0] for layer in range(layers)}

    def branches(self, kind: TraceKind, token: int) -> dict[int, Branch]:
        """The cells of one column, by layer."""
        giving, layers = self.giving, self.model.info.layers
        starts, partner = self.starts(kind, token).items(), self.partner[token]
        if kind == "states":
            return {layer: Branch(start, state=giving.states[layer + 1][0, partner]) for layer, start in starts}
        given = [outputs[partner] for outputs in giving.parts[kind]]
        return {
            layer: Branch(start, outputs={(kind, at): given[at] for at in window(layer, self.window, layers)})
            for layer, start in starts
        }

    def work(self, kinds: Iterable[TraceKind]) -> int:
        """Tokens times blocks of all cells."""
        return sum(
            self.work_of(start, token)
            for kind in kinds
            for token in self.partner
            for start in self.starts(kind, token).values()
        )

    def work_of(self, start: int, token: int) -> int:
        """Tokens times blocks of one cell; reading the answer counts as a block."""
        return (self.model.info.layers - start + 1) * (self.receiving.tokens - token)

    def seconds(self, kinds: Sequence[TraceKind], resumed: bool) -> float:
        """About what all cells take, going by the time of the recorded runs, where that is long.

        The plain way is a complete run for every cell. The first run of a process is slow, so before a large number
        is given another one is timed.
        """
        run, layers = self.receiving, self.model.info.layers
        cells = len(kinds) * layers * len(self.partner)
        forwards = self.work(kinds) / (run.tokens * layers) if resumed else cells
        if forwards * run.seconds <= LONG:
            return forwards * run.seconds
        return forwards * record(self.model, run.ids, run.added).seconds

    def effects(self) -> dict[TraceKind, torch.Tensor]:
        """The first-order effect of each cell, ``(layers, tokens)``; a window's is the sum over its layers."""
        goals: dict[Site, torch.Tensor] = {"states": self._at_partners(torch.stack(self.giving.states[1:])[:, 0])}
        goals |= {part: self._at_partners(torch.stack(self.giving.parts[part])) for part in PARTS}
        mine = torch.tensor([token in self.partner for token in range(self.receiving.tokens)])
        each = {
            kind: effect.cpu() * mine
            for kind, effect in first_order(self.model, self.receiving, goals, self.read).items()
        }
        layers = self.model.info.layers
        for part in PARTS:
            rows = (window(layer, self.window, layers) for layer in range(layers))
            each[part] = torch.stack([each[part][row.start : row.stop].sum(dim=0) for row in rows])
        return dict(each)

    def _at_partners(self, given: torch.Tensor) -> torch.Tensor:
        """``(layers, giving tokens, d_model)`` at each receiving token's partner, at any where there is none."""
        partners = [self.partner.get(token, 0) for token in range(self.receiving.tokens)]
        return given[:, partners]


def window(layer: int, width: int, layers: int) -> range:
    """The layers replaced together around one, clipped at both ends: of 10, l − 5 to l + 4."""
    return range(max(0, layer - width // 2), min(layers, layer + (width + 1) // 2))


def refuse_hours(sweep: Sweep, kinds: Sequence[TraceKind], resumed: bool, what: str, less: str) -> None:
    """Raise `NotConfirmed` where ``what`` is asked would take hours; ``less`` says what takes less."""
    if (seconds := sweep.seconds(kinds, resumed)) > LONG:
        raise NotConfirmed(f"{what} would take about {seconds / 3600:.1f} hours; {less} take less")


class Cells:
    """One kind's cells while they are being found.

    Tokens of ``without`` have no values at all; at others into which nothing is put, and nothing would differ, the
    value is the unchanged one.
    """

    def __init__(self, sweep: Sweep, kind: TraceKind, without: Iterable[int] = ()) -> None:
        layers, tokens = sweep.model.info.layers, sweep.receiving.tokens
        self.kind = kind
        self.values: list[list[float | None]] = [[None] * tokens for _ in range(layers)]
        self.exact = [[False] * tokens for _ in range(layers)]
        self._sweep = sweep
        self._guesses: dict[tuple[int, int], float] = {}
        without = set(without)
        for token in range(tokens):
            computed = sweep.starts(kind, token)
            for layer in range(layers):
                if token in without:
                    self.exact[layer][token] = True
                elif layer not in computed:  # it changes nothing
                    self.put(layer, token, sweep.unchanged)

    def put(self, layer: int, token: int, value: float) -> None:
        """An exact value."""
        self.values[layer][token] = rounded(value)
        self.exact[layer][token] = True

    def guess(self, effects: torch.Tensor) -> None:
        """Estimates of effects ``(layers, tokens)``, where cells are not known."""
        for layer, row in enumerate(effects.tolist()):
            for token, effect in enumerate(row):
                if not self.exact[layer][token]:
                    value = rounded(self._sweep.unchanged + effect)
                    self.values[layer][token] = self._guesses[layer, token] = value

    def promising(self) -> list[int]:
        """The tokens with those first whose best cell is estimated to change most."""

        def change(token: int) -> float:
            column = (row[token] for row in self.values)
            return max(abs(value - self._sweep.unchanged) if value is not None else 0.0 for value in column)

        return sorted(self._sweep.tokens, key=change, reverse=True)

    def compute(self, way: Branching) -> Iterator[int]:
        """Compute all cells, and yield the work that is done after each batch."""
        done = 0
        for token in self.promising():
            branches = self._sweep.branches(self.kind, token)
            layers = sorted(branches)
            for batch in way.values(token, [branches[layer] for layer in layers], self._sweep.read):
                for index, values in batch.items():
                    self.put(layers[index], token, sum(values) / len(values))
                    done += self._sweep.work_of(branches[layers[index]].start, token)
                yield done

    def correlation(self) -> float | None:
        """Pearson's r of estimates and exact cells, where all are exact and there is anything to compare."""
        if not all(map(all, self.exact)):
            return None
        return correlation([(guess, self.values[layer][at] or 0.0) for (layer, at), guess in self._guesses.items()])

    def frozen(self, rises: bool) -> TraceGrid:
        """``rises``: what is put in is expected to raise the value."""
        values, exact = tuple(map(tuple, self.values)), tuple(map(tuple, self.exact))
        grid = TraceGrid(kind=self.kind, values=values, exact=exact)
        last = len(values[0]) - 1
        tokens = self._sweep.tokens
        if self.kind == "states" and len(tokens) > 1:
            tokens = [token for token in tokens if token != last]
        return grid.model_copy(update={"peak": grid.peak_among(tokens, rises)})


def first_picture(
    sweep: Sweep, cells: Mapping[TraceKind, Cells], also: Callable[[], None] | None = None
) -> tuple[Check, ...]:
    """Put first-order estimates into all cells, and ``also`` make others; what is said where memory is too small."""
    try:
        if cells:
            effects = sweep.effects()
            for kind, some in cells.items():
                some.guess(effects[kind])
        if also is not None:
            also()
    except OutOfMemory:
        return (Check(name="first picture", text="none, for want of memory"),)
    return ()
