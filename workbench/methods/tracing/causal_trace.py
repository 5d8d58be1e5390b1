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
from workbench.methods.tracing.grid import Peak, TraceGrid, TraceKind, unfinished
from workbench.methods.tracing.setup import TraceSetup, set_up, trust
from workbench.methods.tracing.sweep import LONG, Cells, Sweep, first_picture, refuse_hours
from workbench.models.forward.resume import branching
from workbench.models.tokens import EncodedCase, token_text
from workbench.protocol import Check, Progress, Request, Result
from workbench.settings import Listed
from workbench.shapes import as_many, different

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

__all__ = ["LONG", "Peak", "TraceGrid", "TraceKind", "TraceMeasure", "TraceRequest", "TraceResult", "run"]

TraceMeasure = Literal["probability", "difference"]


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
    sweep = _sweep(setup)
    way, path, resumed = branching(model, sweep.receiving, setup.start)
    checks = [Check(name="path", text=path, level="ok" if resumed else "info")]
    total = sweep.work(request.kinds)
    if not request.confirmed:
        refuse_hours(sweep, request.kinds, resumed, "this trace", "a shorter prompt, fewer samples or fewer kinds")
    cells = {kind: Cells(sweep, kind) for kind in request.kinds}

    def found() -> TraceResult:
        return _result(setup, cells.values(), checks)

    if request.estimate:
        progress(0, total, stage="first picture")
        checks += first_picture(sweep, cells)
        progress(0, total, found(), stage="exact cells")
    before = 0
    for kind in request.kinds:
        for done in cells[kind].compute(way):
            progress(before + done, total, found(), stage="exact cells")
        before += sweep.work([kind])
    return found()


def _sweep(setup: TraceSetup) -> Sweep:
    """The clean run's values go into the corrupted runs, from the subject on: before it nothing differs."""
    return Sweep(
        model=setup.model,
        giving=setup.runs,
        receiving=setup.corrupted_runs,
        partner={token: token for token in range(setup.start, setup.runs.tokens)},
        window=setup.window,
        read=setup.read,
        unchanged=setup.corrupted,
    )


def _result(setup: TraceSetup, cells: Iterable[Cells], checks: list[Check]) -> TraceResult:
    request = setup.request
    frozen = tuple(each.frozen(setup.clean > setup.corrupted) for each in cells)
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
        checks=(*trust(setup), *checks, *unfinished(grid.exact for grid in frozen)),
    )
