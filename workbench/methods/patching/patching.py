"""Patching between two prompts: which states of one run, put into the other, turn the answer.

Two runs that answer differently are compared by putting what one has at a cell (layer, token) into the other, and
reading how far the answer moves between the two: Vig et al. 2020 (arXiv 2004.12265); Meng et al. 2022 (arXiv
2202.05262). From the source into the base run it shows what is sufficient for the source's answer (denoising), the
other way what is necessary for it (noising): Heimersheim and Nanda 2024 (arXiv 2404.15255).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from workbench.case import Case
from workbench.methods.patching.alignment import Pairs, TypedPairs
from workbench.methods.patching.heads import HeadCells, HeadGrid
from workbench.methods.patching.paths import Receiver, TypedReceivers, along
from workbench.methods.patching.setup import PatchSetup, set_up
from workbench.methods.tracing.grid import TraceGrid, TraceKind, unfinished
from workbench.methods.tracing.sweep import Cells, first_picture, refuse_hours
from workbench.models.forward.resume import branching
from workbench.models.tokens import EncodedCase, token_text
from workbench.protocol import Check, Progress, Request, Result
from workbench.settings import PROMPT, Listed
from workbench.shapes import as_many, different, within

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

PatchDirection = Literal["denoising", "noising"]

PatchKind = Literal["states", "mlp", "attention", "heads"]


WHOLE = {"float32": 1e-3}
"""How far the answer may be off where the whole of it was put in, as a share of the two runs' gap, by dtype."""

WHOLE_OF_HALF = 0.1


class PatchRequest(Request):
    """Ask for the grid of each of ``kinds``, of the case's prompt and a ``source``.

    Read is target − foil. Without a target it is the source run's first choice, without a foil the base run's.
    ``align`` are pairs of tokens, of the prompt and of the source, in place of those that are found. ``window`` is how
    many layers of MLP or attention outputs are patched together. Heads are patched one by one, at one token. With
    ``receivers`` cells act on the direct path to these alone, at the token ``receive_at`` of the run that is changed.
    Without ``estimate``, and with receivers, there is no first picture.
    """

    kind: Literal["patch"] = "patch"
    case: Case
    source: Annotated[
        str, PROMPT, Field(description="The second prompt, whose states are put into the run of the first.")
    ]
    kinds: Annotated[
        tuple[PatchKind, ...],
        Listed,
        Field(description="What is patched: some of states, mlp, attention, heads, with commas."),
    ] = ("states",)
    direction: Annotated[
        PatchDirection,
        Field(description="From the source into the prompt's run (denoising), or the other way (noising)."),
    ] = "denoising"
    position: Annotated[
        int | None, Field(description="The token of the prompt at which heads are patched; else the last.")
    ] = None
    window: Annotated[int, Field(ge=1, description="Layers of MLP or attention outputs patched together.")] = 1
    align: Annotated[
        TypedPairs,
        Field(description="Tokens of the prompt and the source that belong together, from 0, as in 3:4,5:6."),
    ] = ()
    receivers: Annotated[
        TypedReceivers,
        Field(description="Path patching: by way of these alone, as in attention:20-25 mlp:24."),
    ] = ()
    receive_at: Annotated[
        int | None, Field(ge=0, description="The token, from 0, at which receivers receive; else the last.")
    ] = None
    estimate: bool = True
    confirmed: bool = False


class PatchResult(Result):
    """Values are target − foil between the two runs: 0 as in the base run, 1 as in the source run.

    ``base`` and ``source`` are target − foil in these, in logits; ``base_top`` and ``source_top`` their first choices.
    ``pairs`` are tokens that belong together, of ``encoded`` and of ``encoded_source``. The grids' tokens are those of
    the run that is changed: the base run when denoising, the source run when noising. Tokens without a partner have no
    value, tokens before the first difference that of a run that is not changed. ``correlations`` are those of the
    first picture with the exact cells (Pearson), one a grid, None while cells are missing or without a first picture.
    ``heads`` is layers × heads, where these were patched. With ``receivers``, at the token ``receive_at``, cells act by
    way of these alone.
    """

    kind: Literal["patch"] = "patch"
    encoded: EncodedCase
    encoded_source: EncodedCase
    pairs: Pairs
    direction: PatchDirection
    target: str
    foil: str
    base: float
    source: float
    base_top: str
    source_top: str
    grids: tuple[TraceGrid, ...]
    correlations: tuple[float | None, ...]
    window: PositiveInt
    heads: HeadGrid | None = None
    receivers: tuple[Receiver, ...] = ()
    receive_at: int | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not self.grids and self.heads is None:
            raise ValueError("there are no grids")
        different("kinds of grid", (grid.kind for grid in self.grids))
        as_many(grids=self.grids, correlations=self.correlations)
        for grid in self.grids:
            as_many(layers=self.grids[0].values, **{"values of another grid": grid.values})
            as_many(tokens=self.changed.ids, values=grid.values[0])
        if self.receive_at is not None:
            within("the token that receives", self.receive_at, len(self.changed.ids))
        for _, layer in self.receivers:
            within("the layer of a receiver", layer, len(self.grids[0].values) if self.grids else 0)
        if self.heads is not None:
            within("the token of the heads", self.heads.token, len(self.changed.ids))
        for mine, theirs in self.pairs:
            within("a token of the pairs", mine, len(self.encoded.ids))
            within("a token of the pairs", theirs, len(self.encoded_source.ids))
        return self

    @property
    def changed(self) -> EncodedCase:
        """The prompt whose run is changed."""
        return self.encoded if self.direction == "denoising" else self.encoded_source

    @property
    def given(self) -> EncodedCase:
        """The other one, whose values are put into it."""
        return self.encoded_source if self.direction == "denoising" else self.encoded

    @property
    def partners(self) -> dict[int, int]:
        """By the changed run's tokens, the other's."""
        return dict(self.pairs if self.direction == "denoising" else ((b, a) for a, b in self.pairs))

    def grid(self, kind: TraceKind) -> TraceGrid | None:
        """The grid of one kind, None where it was not asked for."""
        return next((grid for grid in self.grids if grid.kind == kind), None)


def run(model: LoadedModel, request: PatchRequest, progress: Progress) -> PatchResult:
    """Patch every cell: an estimate of all first, then exact columns in its place, the most promising first.

    Progress counts tokens times blocks. Raises `InputError` for prompts or settings that make no sense,
    `NotConfirmed` where it takes hours, `NumericalError` for NaN logits.
    """
    progress(0, 1, stage="both runs")
    setup = set_up(model, request)
    sweep, kinds = setup.sweep, setup.kinds
    way, path, resumed = branching(model, sweep.receiving, sweep.tokens[0])
    checks = [Check(name="path", text=path, level="ok" if resumed else "info")]
    if kinds and not request.confirmed:
        refuse_hours(sweep, kinds, resumed, "this", "shorter prompts or fewer kinds")
    cells = {kind: Cells(sweep, kind, setup.without_partner) for kind in kinds}
    heads = None if setup.heads_at is None else HeadCells(sweep, setup.heads_at)
    checks += [heads.check] if heads else []
    total = sweep.work(kinds) + (heads.work if heads else 0)

    def found() -> PatchResult:
        return _result(setup, cells.values(), heads, checks)

    paths = setup.paths
    if request.estimate and paths is None:
        progress(0, total, stage="first picture")
        checks += first_picture(sweep, cells, heads.guess if heads else None)
        progress(0, total, found(), stage="exact cells")
    before = 0
    for kind in kinds:
        for done in cells[kind].compute(way) if paths is None else along(paths, cells[kind], way):
            progress(before + done, total, found(), stage="exact cells")
        before += sweep.work([kind])
    for done in heads.compute(way) if heads else ():
        progress(before + done, total, found(), stage="heads one at a time")
    return found()


def _result(
    setup: PatchSetup, cells: Iterable[Cells], head_cells: HeadCells | None, checks: list[Check]
) -> PatchResult:
    request, tokenizer = setup.request, setup.model.tokenizer
    cells, rises = tuple(cells), request.direction == "denoising"
    grids = tuple(each.frozen(rises) for each in cells)
    heads = head_cells.frozen(rises) if head_cells else None
    correlations = tuple(each.correlation() for each in cells)
    estimates: dict[PatchKind, float | None] = {grid.kind: r for grid, r in zip(grids, correlations, strict=True)}
    estimates |= {"heads": heads.correlation} if heads else {}
    exact = [*(grid.exact for grid in grids), *((heads.exact,) if heads else ())]
    return PatchResult(
        encoded=setup.encoded,
        encoded_source=setup.encoded_source,
        pairs=setup.pairs,
        direction=request.direction,
        target=token_text(tokenizer, setup.target),
        foil=token_text(tokenizer, setup.foil),
        base=setup.base,
        source=setup.source,
        base_top=token_text(tokenizer, setup.base_top),
        source_top=token_text(tokenizer, setup.source_top),
        grids=grids,
        correlations=correlations,
        window=request.window,
        heads=heads,
        receivers=request.receivers,
        receive_at=None if setup.paths is None else setup.paths.at,
        checks=(*checks, *_whole(setup, grids), *_estimated(estimates), *unfinished(exact)),
    )


def _whole(setup: PatchSetup, grids: Iterable[TraceGrid]) -> list[Check]:
    """The last state at the last token is all that is read: putting it in makes one run's answer the other's."""
    sweep, other = setup.sweep, 1.0 if setup.request.direction == "denoising" else 0.0
    last = sweep.receiving.tokens - 1
    if setup.paths is not None or sweep.partner.get(last) != sweep.giving.tokens - 1:
        return []
    for grid in grids:
        value = grid.values[-1][last]
        if grid.kind == "states" and grid.exact[-1][last] and value is not None:
            error, most = abs(value - other), WHOLE.get(setup.model.info.dtype, WHOLE_OF_HALF)
            return [Check(name="last state", text=f"off by {error:.0e}", level="ok" if error <= most else "warn")]
    return []


def _estimated(correlations: Mapping[PatchKind, float | None]) -> list[Check]:
    known = [f"{kind} r {r:.2f}".replace("-", "−") for kind, r in correlations.items() if r is not None]
    return (
        [Check(name="first picture", text=f"gradient × difference: {', '.join(known)} with the exact cells")]
        if known
        else []
    )
