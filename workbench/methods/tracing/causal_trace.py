"""Causal tracing: which states, MLP outputs or attention outputs carry a fact about the subject.

The subject is corrupted, one cell (layer, token) is put back to what it was in the clean run, and one reads how
much of the answer returns: Meng et al. 2022, "Locating and Editing Factual Associations in GPT"
(arXiv 2202.05262), section 2 and appendix B.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from workbench.case import Case
from workbench.errors import NotConfirmed, OutOfMemory
from workbench.methods.tracing.setup import TraceSetup, set_up, trust
from workbench.models.forward.patching import first_order
from workbench.models.forward.resume import Branch, branching
from workbench.models.forward.runs import record
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, Request, Result
from workbench.settings import Listed
from workbench.shapes import as_many, different, within

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TraceKind = Literal["states", "mlp", "attention"]
TraceMeasure = Literal["probability", "difference"]

LONG = 3600.0
"""Seconds: a trace that would take longer begins only when that is confirmed."""


class TraceRequest(Request):
    """Ask for the grid of each of ``kinds``.

    The corruption is noise on the subject's embeddings, of ``noise`` times the standard deviation of the shipped
    subjects' embeddings, or of ``noise_std`` itself, in ``samples`` runs; or another subject of the same number of
    tokens, ``replacement``, in one run. ``window`` is how many layers of MLP or attention outputs are restored
    together (10 if not given, or all there are). ``read`` is the probability of ``answer`` (the clean run's top
    token or the target) or the logit difference of target and foil. Without ``estimate`` there is no first picture.
    ``confirmed`` lets a trace begin that will take hours.
    """

    kind: Literal["trace"] = "trace"
    case: Case
    kinds: Annotated[
        tuple[TraceKind, ...],
        Listed,
        Field(description="What is restored: some of states, mlp, attention, with commas."),
    ] = ("states",)
    noise: Annotated[float, Field(description="Noise, in standard deviations of the subjects' embeddings.")] = 3.0
    noise_std: Annotated[float | None, Field(description="Noise, as a standard deviation of its own.")] = None
    replacement: Annotated[str | None, Field(description="Another subject, instead of noise.")] = None
    samples: Annotated[int, Field(description="Noised runs.")] = 10
    seed: Annotated[int, Field(description="Of the noise.")] = 1
    window: Annotated[int | None, Field(description="Layers of MLP or attention outputs restored together.")] = None
    read: Annotated[TraceMeasure, Field(description="Probability of the answer, or target − foil.")] = "probability"
    answer: Annotated[
        Literal["top", "target"], Field(description="Whose probability: that of the first choice, or of the target.")
    ] = "top"
    estimate: bool = True
    confirmed: bool = False


class Peak(Frozen):
    """One cell and its value."""

    layer: int
    token: int
    value: float


class TraceGrid(Frozen):
    """What is read with each cell restored: ``values[layer][token]``.

    Where ``exact`` is false the value is an estimate from gradients, or None where there is none yet. Cells at
    tokens before the subject have the corrupted value by definition: nothing differs there. ``peak`` is the exact
    cell that restores most, for states among the tokens before the last one, whose late states are the answer
    itself. It is None while no such cell is known.
    """

    kind: TraceKind
    values: tuple[tuple[float | None, ...], ...]
    exact: tuple[tuple[bool, ...], ...]
    peak: Peak | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(values=self.values, exact=self.exact)
        if not self.values or not self.values[0]:
            raise ValueError("there are no values")
        for values, exact in zip(self.values, self.exact, strict=True):
            as_many(tokens=self.values[0], values=values, exact=exact)
        if self.peak is not None:
            within("the layer of the peak", self.peak.layer, len(self.values))
            within("the token of the peak", self.peak.token, len(self.values[0]))
        return self

    @property
    def complete(self) -> bool:
        """Whether every cell is exact."""
        return all(all(row) for row in self.exact)

    def peak_among(self, tokens: Iterable[int], rises: bool = True) -> Peak | None:
        """The exact cell at ``tokens`` with the highest value; the lowest unless restoring ``rises``."""
        known = [
            (value if rises else -value, -layer, -token)  # of equal cells the first
            for token in tokens
            for layer, row in enumerate(self.values)
            if self.exact[layer][token] and (value := row[token]) is not None
        ]
        if not known:
            return None
        best, layer, token = max(known)
        return Peak(layer=-layer, token=-token, value=best if rises else -best)


class TraceResult(Result):
    """``clean`` and ``corrupted`` are what is read without corruption, and with it and nothing restored.

    Values are probabilities, or logits where ``read`` is "difference", and means over ``samples`` runs. ``answer``
    is the token read (its display text), or "target − foil". ``top`` is the clean run's top token. ``window`` is
    the width for MLP and attention; ``noise_std`` is None where the subject was replaced by ``replacement``.
    """

    kind: Literal["trace"] = "trace"
    encoded: EncodedCase
    read: TraceMeasure
    answer: str
    top: str
    clean: float
    corrupted: float
    grids: tuple[TraceGrid, ...]
    window: PositiveInt
    noise_std: float | None
    samples: int
    replacement: str | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not self.grids:
            raise ValueError("there are no grids")
        different("kinds of grid", (grid.kind for grid in self.grids))
        for grid in self.grids:
            as_many(layers=self.grids[0].values, **{"values of another grid": grid.values})
            as_many(tokens=self.encoded.ids, values=grid.values[0])
        return self

    def grid(self, kind: TraceKind) -> TraceGrid | None:
        """The grid of one kind, None where it was not asked for."""
        return next((grid for grid in self.grids if grid.kind == kind), None)

    def share(self, value: float) -> float | None:
        """Where a value stands between the corrupted (0) and the clean one (1). None where they are the same."""
        gap = self.clean - self.corrupted
        return (value - self.corrupted) / gap if gap else None


def run(model: LoadedModel, request: TraceRequest, progress: Progress) -> TraceResult:
    """Trace a case: an estimate of all cells first, then exact columns in its place, the most promising first.

    Progress counts tokens times blocks. Raises `InputError` for a case or a setting that makes no sense, and for a
    trace that takes hours unless that is confirmed; `NumericalError` for NaN logits.
    """
    progress(0, 1, stage="clean and corrupted runs")
    setup = set_up(model, request)
    way, path, resumed = branching(model, setup.corrupted_runs, setup.start)
    checks = [Check(name="path", text=path, level="ok" if resumed else "info")]
    tokens = range(setup.start, setup.runs.tokens)
    total = sum(_work(setup, kind, token) for kind in request.kinds for token in tokens)
    if not request.confirmed:
        _refuse_hours(setup, total, resumed)
    grids = {kind: _Grid(setup, kind) for kind in request.kinds}

    def found() -> TraceResult:
        return _result(setup, grids.values(), checks)

    if request.estimate:
        progress(0, total, stage="first picture")
        checks += _estimate(setup, grids)
        progress(0, total, found(), stage="exact cells")
    done = 0
    for kind, token in [(grid.kind, token) for grid in grids.values() for token in grid.promising(tokens)]:
        branches = _branches(setup, kind, token)
        layers = sorted(branches)
        for batch in way.values(token, [branches[layer] for layer in layers], setup.read):
            for index, values in batch.items():
                grids[kind].put(layers[index], token, sum(values) / len(values))
                done += _work_of(setup, branches[layers[index]].start, token)
            progress(done, total, found(), stage="exact cells")
    return found()


def _starts(setup: TraceSetup, kind: TraceKind, token: int) -> dict[int, int]:
    """The first block that each cell of a column has to run, by the cell's layer.

    A last-layer state before the last token is not among them: nothing reads that state.
    """
    layers = setup.model.info.layers
    if kind == "states":
        return {layer: layer + 1 for layer in range(layers if token == setup.runs.tokens - 1 else layers - 1)}
    return {layer: _window(layer, setup.window, layers)[0] for layer in range(layers)}


def _branches(setup: TraceSetup, kind: TraceKind, token: int) -> dict[int, Branch]:
    """The cells of one column, by layer."""
    layers, runs = setup.model.info.layers, setup.runs
    starts = _starts(setup, kind, token).items()
    if kind == "states":
        return {layer: Branch(start, state=runs.states[layer + 1][0, token]) for layer, start in starts}
    clean = [outputs[token] for outputs in runs.parts[kind]]
    return {
        layer: Branch(start, part=kind, outputs={at: clean[at] for at in _window(layer, setup.window, layers)})
        for layer, start in starts
    }


def _window(layer: int, width: int, layers: int) -> range:
    """The layers restored together around one, clipped at both ends: of 10, l − 5 to l + 4."""
    return range(max(0, layer - width // 2), min(layers, layer + (width + 1) // 2))


def _work(setup: TraceSetup, kind: TraceKind, token: int) -> int:
    """Tokens times blocks of one column."""
    return sum(_work_of(setup, start, token) for start in _starts(setup, kind, token).values())


def _work_of(setup: TraceSetup, start: int, token: int) -> int:
    """Tokens times blocks of one cell; reading the answer counts as a block."""
    return (setup.model.info.layers - start + 1) * (setup.runs.tokens - token)


def _refuse_hours(setup: TraceSetup, work: int, resumed: bool) -> None:
    """Raise `NotConfirmed` where the trace would take hours, going by the time of the clean and corrupted runs.

    The plain way is a complete run for every cell. The first run of a process is slow, so before refusing another
    one is timed.
    """
    runs, layers = setup.runs, setup.model.info.layers
    cells = len(setup.request.kinds) * layers * (runs.tokens - setup.start)
    forwards = work / (runs.tokens * layers) if resumed else cells
    if forwards * runs.seconds > LONG:
        seconds = forwards * record(setup.model, runs.ids, runs.added).seconds
        if seconds > LONG:
            raise NotConfirmed(
                f"this trace would take about {seconds / 3600:.1f} hours; a shorter prompt, fewer samples or fewer "
                "kinds take less"
            )


class _Grid:
    """One kind's cells while they are being found."""

    def __init__(self, setup: TraceSetup, kind: TraceKind) -> None:
        layers, tokens = setup.model.info.layers, setup.runs.tokens
        self.kind = kind
        self.values: list[list[float | None]] = [[None] * tokens for _ in range(layers)]
        self.exact = [[False] * tokens for _ in range(layers)]
        self._corrupted = setup.corrupted
        for token in range(tokens):
            computed = _starts(setup, kind, token) if token >= setup.start else {}
            for layer in range(layers):
                if layer not in computed:  # restoring it changes nothing
                    self.put(layer, token, setup.corrupted)

    def put(self, layer: int, token: int, value: float) -> None:
        self.values[layer][token] = rounded(value)
        self.exact[layer][token] = True

    def guess(self, layer: int, token: int, effect: float) -> None:
        """An estimate, unless the cell is known."""
        if not self.exact[layer][token]:
            self.values[layer][token] = rounded(self._corrupted + effect)

    def promising(self, tokens: Iterable[int]) -> list[int]:
        """The tokens with those first whose best cell is estimated to change most."""

        def change(token: int) -> float:
            column = (row[token] for row in self.values)
            return max(abs(value - self._corrupted) if value is not None else 0.0 for value in column)

        return sorted(tokens, key=change, reverse=True)

    def frozen(self, start: int, rises: bool) -> TraceGrid:
        """``start`` is the subject's first token; ``rises``: the clean value is above the corrupted one."""
        values, exact = tuple(map(tuple, self.values)), tuple(map(tuple, self.exact))
        grid = TraceGrid(kind=self.kind, values=values, exact=exact)
        last = len(values[0]) - 1
        tokens = range(start, last if self.kind == "states" and start < last else last + 1)
        return grid.model_copy(update={"peak": grid.peak_among(tokens, rises)})


def _estimate(setup: TraceSetup, grids: dict[TraceKind, _Grid]) -> list[Check]:
    """Fill the grids with the first-order effect of each cell; a window's is the sum over its layers."""
    try:
        effects = first_order(setup.model, setup.runs, setup.read)
    except OutOfMemory:
        return [Check(name="first picture", text="none, for want of memory")]
    layers = setup.model.info.layers
    for kind, grid in grids.items():
        effect = effects[kind].tolist()
        for layer in range(layers):
            together = range(layer, layer + 1) if kind == "states" else _window(layer, setup.window, layers)
            for token in range(setup.start, setup.runs.tokens):
                grid.guess(layer, token, sum(effect[at][token] for at in together))
    return []


def _result(setup: TraceSetup, grids: Iterable[_Grid], checks: list[Check]) -> TraceResult:
    request = setup.request
    frozen = tuple(grid.frozen(setup.start, setup.clean > setup.corrupted) for grid in grids)
    return TraceResult(
        encoded=setup.encoded,
        read=request.read,
        answer=setup.answer,
        top=token_text(setup.model.tokenizer, setup.top[0]),
        clean=setup.clean,
        corrupted=setup.corrupted,
        grids=frozen,
        window=setup.window,
        noise_std=setup.noise_std,
        samples=len(setup.runs.ids) - 1,
        replacement=request.replacement,
        checks=(*trust(setup), *checks, *_unfinished(frozen)),
    )


def _unfinished(grids: tuple[TraceGrid, ...]) -> list[Check]:
    cells = [cell for grid in grids for row in grid.exact for cell in row]
    if all(cells):
        return []
    return [Check(name="cells", text=f"{sum(cells)} of {len(cells)} exact", level="warn")]
