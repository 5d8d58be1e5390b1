"""What the lens pane draws, computed from a result without any widget: a table of layers, and layers × tokens.

Both have the last layer on top and the embedding at the bottom. A row of a `LensColumn` (embedding first) is
``layer + 1``; a row of the picture is counted from the top.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from rich.cells import cell_len
from textual.content import Content

from screens.messages import Cursor
from screens.panes.lens.words import Overtake, contenders, layer_label, overtake_sentence, overtakes
from screens.widgets import numbers
from screens.widgets.colours import Shade, fill, sequential, signed
from screens.widgets.grid_model import GridCell, GridColumn, Place, Tone
from workbench.blocks import bar, sign
from workbench.methods.lens.logit_lens import LensColumn, LensResult, TokenTrack
from workbench.models.tokens import EncodedCase

PENDING = GridCell("⋯", "dim")
"""A cell that is still to come. Not "·", which is how a token of one space is displayed."""

# The ends of the colour scales. Fixed, so that two pictures can be compared.
MOST_BITS, MOST_NATS, MOST_LOGITS, WORST_RANK = 16.0, 10.0, 10.0, 1e5

TOKEN_WIDTH, P_WIDTH = 11, 5  # in the table, each with the free cell after it
NARROW_TOKEN, WIDE_TOKEN = 10, 16  # a token's column in the grid, with its badge


@dataclass(frozen=True)
class LensRows:
    """What both views have in common: a row for each layer, the last on top."""

    result: LensResult

    corner = "layer"
    labels_right = True

    @property
    def n_rows(self) -> int:
        """The blocks and the embedding."""
        return self.result.layers + 1

    def row_label(self, row: int) -> str:
        """The layer of a row."""
        return layer_label(self.layer(row))

    def layer(self, row: int) -> int:
        """The layer of a row of the picture."""
        return self.result.layers - 1 - row

    def place(self, cursor: Cursor) -> Place:
        """Where a cursor is in the picture."""
        return Place(self.result.layers - 1 - cursor.layer, cursor.token)

    def cursor(self, place: Place) -> Cursor:
        """The cursor of a place in the picture."""
        return Cursor(self.layer(place.row), place.column)

    def tone_of(self, token: str, probability: float) -> Tone:
        """Target and foil in their colours; else the more likely, the plainer to see."""
        encoded = self.result.encoded
        if encoded.target is not None and token == encoded.target.text:
            return "target"
        if encoded.foil is not None and token == encoded.foil.text:
            return "foil"
        return "strong" if probability >= 0.5 else "plain" if probability >= 0.1 else "dim"


TablePart = Literal["token", "p", "rank", "p_target", "difference", "entropy", "kl", "mark"]


class TableColumn(NamedTuple):
    """A column of the table: what it shows, and for tokens the how manieth."""

    part: TablePart
    nth: int = 0


@dataclass(frozen=True)
class LensTable(LensRows):
    """One row a layer at one token: the most likely tokens, and what the numbers say about target and foil."""

    token: int

    @cached_property
    def column_shown(self) -> LensColumn | None:
        """The lens at the token, None while it is not there yet."""
        return self.result.columns[self.token]

    @cached_property
    def marks(self) -> dict[int, Overtake]:
        """The overtakes by layer."""
        return {change.layer: change for change in overtakes(self.column_shown)} if self.column_shown else {}

    def columns(self, width: int) -> tuple[GridColumn, ...]:
        """As many tokens and measures as fit; the detail of a cell has the rest."""
        measures = self._measures(width)
        mark = 2 if self._has_pair else 0
        left = width - mark - sum(column.width for column in measures)
        most = max((len(column.top_tokens[0]) for column in self.result.columns if column), default=1)
        n_tokens = max(1, min(most, left // (TOKEN_WIDTH + P_WIDTH)))
        if mark and n_tokens > 2 and left - n_tokens * (TOKEN_WIDTH + P_WIDTH) < TOKEN_WIDTH:
            n_tokens -= 1  # words beside a mark come before a third token
        token_width = min(TOKEN_WIDTH, max(4, left - P_WIDTH))
        tokens = [
            column
            for n in range(n_tokens)
            for column in (
                GridColumn(TableColumn("token", n), f"top-{n + 1}", token_width),
                GridColumn(TableColumn("p", n), "p", P_WIDTH, right=True),
            )
        ]
        spare = max(0, left - n_tokens * (token_width + P_WIDTH))
        return (*tokens, *measures, *([GridColumn(TableColumn("mark"), "", mark + spare)] if mark else []))

    def cell(self, row: int, column: GridColumn) -> GridCell:
        """One measure at one layer."""
        shown = self.column_shown
        if shown is None:
            return PENDING
        assert isinstance(column.key, TableColumn)
        index = self.layer(row) + 1
        match column.key.part:
            case "token":
                text, p = _top(shown, index, column.key.nth)
                return GridCell(text, self.tone_of(text, p))
            case "p":
                _, p = _top(shown, index, column.key.nth)
                return GridCell(numbers.probability(p), "plain" if p >= 0.1 else "dim")
            case "rank":
                rank = self._track(shown).rank[index]
                return GridCell(str(rank), "strong" if rank == 1 else "plain" if rank <= 10 else "dim")
            case "p_target":
                p = self._track(shown).probability[index]
                return GridCell(numbers.probability(p), "plain" if p >= 0.1 else "dim")
            case "difference":
                difference = _difference(shown, index)
                return GridCell(numbers.signed(difference), shade=signed(difference / MOST_LOGITS))
            case "entropy":
                return GridCell(numbers.amount(shown.entropy[index]), "dim")
            case "kl":
                return GridCell(numbers.amount(shown.kl[index]), "dim")
            case "mark":
                return self._mark(index - 1, column.width - 1)

    @property
    def _has_pair(self) -> bool:
        return contenders(self.result.encoded) is not None

    def _measures(self, width: int) -> list[GridColumn]:
        """The measures that leave room for one token: the least needed go first."""
        encoded = self.result.encoded
        track = [
            GridColumn(TableColumn("rank"), "rank", 7, right=True),
            GridColumn(TableColumn("p_target"), "p(T)", 6, right=True),
        ]
        if encoded.target is None and encoded.foil is not None:
            track[1] = GridColumn(TableColumn("p_target"), "p(F)", 6, right=True)
        wanted = [*(track if encoded.target or encoded.foil else [])]
        if self._has_pair:
            wanted.append(GridColumn(TableColumn("difference"), "T−F", 6, right=True))
        wanted += [
            GridColumn(TableColumn("entropy"), "H bit", 7, right=True),
            GridColumn(TableColumn("kl"), "KL nat", 8, right=True),
        ]
        for part in ("kl", "entropy", "p_target", "rank"):
            if sum(column.width for column in wanted) + TOKEN_WIDTH + P_WIDTH + 2 <= width:
                break
            wanted = [column for column in wanted if column.key != TableColumn(part)]
        return wanted

    def _track(self, column: LensColumn) -> TokenTrack:
        track = column.target or column.foil
        assert track is not None, "the column is only laid out for a target or a foil"
        return track

    def _mark(self, layer: int, space: int) -> GridCell:
        overtake = self.marks.get(layer)
        if overtake is None:
            return GridCell("")
        pair = contenders(self.result.encoded)
        assert pair is not None
        leader = pair[0] if overtake.target_leads else pair[1]
        texts = (f"⇄ {overtake_sentence(self.result.encoded, overtake)}", f"⇄ {leader} leads", f"⇄ {leader}", "⇄")
        text = next((text for text in texts if cell_len(text) <= space), "⇄")
        return GridCell(text, "target" if overtake.target_leads else "foil")


@dataclass(frozen=True)
class Metric:
    """A way to colour the grid: the value at a row of a column as a fraction of a fixed scale."""

    name: str
    low: str
    high: str
    fraction: Callable[[LensColumn, int], float]
    signed: bool = False
    needs: Literal["nothing", "target", "both"] = "nothing"

    def shade(self, fraction: float) -> Shade | None:
        """The colour of a fraction."""
        return signed(fraction) if self.signed else sequential(fraction)

    def badge(self, fraction: float) -> str:
        """The fraction as a character."""
        return sign(fraction) if self.signed else bar(fraction)


METRICS = (
    Metric("p(top-1)", "0", "1", lambda column, row: column.top_probabilities[row][0]),
    Metric("rank of target", "100k", "1", lambda column, row: _rank_fraction(column, row), needs="target"),
    Metric("entropy", "0", "16 bits", lambda column, row: column.entropy[row] / MOST_BITS),
    Metric("KL to final", "0", "10 nats", lambda column, row: column.kl[row] / MOST_NATS),
    Metric(
        "T−F",
        "−10",
        "+10 logits",
        lambda column, row: _difference(column, row) / MOST_LOGITS,
        signed=True,
        needs="both",
    ),
)


def metrics_for(encoded: EncodedCase) -> tuple[Metric, ...]:
    """The metrics that make sense for a case."""
    has = {"nothing": True, "target": encoded.target is not None, "both": contenders(encoded) is not None}
    return tuple(metric for metric in METRICS if has[metric.needs])


@dataclass(frozen=True)
class LensGrid(LensRows):
    """Layers × tokens: the most likely token in each cell, coloured by a metric."""

    metric: Metric

    def columns(self, width: int) -> tuple[GridColumn, ...]:
        """A column a token, wider where there are few."""
        texts = self.result.encoded.texts
        each = min(WIDE_TOKEN, max(NARROW_TOKEN, width // max(1, len(texts))))
        return tuple(GridColumn(index, text, each) for index, text in enumerate(texts))

    def cell(self, row: int, column: GridColumn) -> GridCell:
        """The most likely token at a layer and token."""
        assert isinstance(column.key, int)
        shown = self.result.columns[column.key]
        if shown is None:
            return PENDING
        index = self.layer(row) + 1
        fraction = self.metric.fraction(shown, index)
        return GridCell(shown.top_tokens[index][0], "plain", self.metric.shade(fraction), self.metric.badge(fraction))


def ramp_legend(metric: Metric, dark: bool) -> Content:
    """The scale of a metric, in its colours and characters."""
    steps = 8
    parts: list[tuple[str, str]] = [(f"{metric.name}  {metric.low} ", "")]
    for step in range(steps):
        fraction = (step + 0.5) / steps * (2 if metric.signed else 1) - (1 if metric.signed else 0)
        shade = metric.shade(fraction)
        assert shade is not None
        colours = fill(shade, dark)
        parts.append((f"{metric.badge(fraction)} ", f"{colours.quiet} on {colours.background}"))
    return Content.assemble(*parts, (f" {metric.high}", ""))


def _top(column: LensColumn, index: int, nth: int) -> tuple[str, float]:
    """The nth most likely token of a row; nothing where fewer were kept."""
    if nth >= len(column.top_tokens[index]):
        return "", 0.0
    return column.top_tokens[index][nth], column.top_probabilities[index][nth]


def _difference(column: LensColumn, index: int) -> float:
    return column.logit_difference[index] if column.logit_difference else math.nan


def _rank_fraction(column: LensColumn, index: int) -> float:
    """1 at rank 1 and 0 at rank 100,000, by the logarithm."""
    if column.target is None:
        return math.nan
    return 1 - math.log(column.target.rank[index]) / math.log(WORST_RANK)
