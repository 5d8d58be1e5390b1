"""Defaults by measure: at which layer of these weights facts are edited best, and where a trace finds them.

A causal trace of the shipped facts says which MLPs matter at the subject's last token; edits of some of the facts, each
by itself and taken back, are scored by their suites at that layer and at others. The best layer is kept by the model's
fingerprint, and is the default of every editor of one layer from then on. That a trace points at a layer does not show
that edits work there (Hase et al. 2023, arXiv 2301.04213), so it is only one of the candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from workbench.case import Case
from workbench.datasets.facts import Fact, Relation, shipped_facts
from workbench.datasets.suites import EditRecord, suite_for
from workbench.editing import records
from workbench.editing.layers import check_layer, keep_layer, listed_layer, where_one
from workbench.editing.records import FactsEditRequest, FactsEditResult
from workbench.errors import InputError
from workbench.figures import Cell, Column, Curve, Curves, Figure, Table, line, said
from workbench.methods.tracing import facts as tracing
from workbench.methods.tracing.facts import FactsTraceRequest, TracedFact
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, Request, Result, part
from workbench.settings import TypedLayers
from workbench.spans import BLANK

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

SHARES = (0.1, 0.2, 0.3, 0.4, 0.55)
"""Of the depth: which layers are tried where none are named, beside the one that the trace points at."""


class MeasureRequest(Request):
    """Ask which layer to edit on this model's weights, and keep it as their default."""

    kind: Literal["measure"] = "measure"
    facts: Annotated[int, Field(ge=1, le=500, description="Shipped facts to trace, of which some must be known.")] = 24
    records: Annotated[int, Field(ge=1, le=100, description="Facts to edit at each layer.")] = 4
    layers: Annotated[TypedLayers, Field(description="Layers to try; else some, and the one a trace points at.")] = ()
    samples: Annotated[int, Field(ge=1, le=100, description="Noised runs of each trace.")] = 4
    prefixes: Annotated[int, Field(ge=0, le=50, description="Sampled prefixes of each edit.")] = 3


class LayerScore(Frozen):
    """What edits at one layer came to: the harmonic score (0 … 1), in the mean over what is prepended.

    ``perplexity`` is the mean change of held-out perplexity, as a part.
    """

    layer: int
    score: float
    perplexity: float


class MeasureResult(Result):
    """``scores`` has an entry for each layer tried, ``best`` is the layer that is kept, None while nothing is.

    ``traced`` is the mean indirect effect of each layer's MLP at the subject's last token, over the ``used`` facts that
    the model knows; empty where it knows none.
    """

    kind: Literal["measure"] = "measure"
    used: int = 0
    traced: tuple[float, ...] = ()
    scores: tuple[LayerScore, ...] = ()
    best: int | None = None


def run(model: LoadedModel, request: MeasureRequest, progress: Progress) -> MeasureResult:
    """Trace, edit at every candidate, and keep the best. Progress counts hundredths of a layer.

    Raises `InputError` for a layer that is not there, `ModelError` for a model whose down-projections cannot be edited.
    """
    for layer in request.layers or (None,):
        check_layer(model, layer)
    chosen = list(_facts(request.facts))
    found = MeasureResult()
    steps = 1 + (len(request.layers) or len(SHARES) + 1)
    traced = FactsTraceRequest(
        facts=tuple(_traced(relation, fact) for relation, fact in chosen),
        kinds=("mlp",),
        samples=request.samples,
        prepend="separator",
        confirmed=True,
    )
    seen = tracing.run(model, traced, part(progress, 0, 100, 100 * steps, "tracing: {}", lambda _: None))
    effect = next((each.mean for each in seen.effects if each.role == "last subject"), ())
    found = found.model_copy(update={"used": seen.used, "traced": effect})
    layers = request.layers or _candidates(model.info.layers, effect)
    edited = tuple(_record(relation, fact) for relation, fact in chosen[: request.records])
    scores: list[LayerScore] = []
    for number, layer in enumerate(layers):
        asked = FactsEditRequest(editor="rome", settings={"layer": layer, "prefixes": request.prefixes}, records=edited)
        within = part(progress, 100 * (number + 1), 100, 100 * steps, f"layer {layer}: {{}}", lambda _: found)  # noqa: B023
        scores.append(_score(layer, records.run(model, asked, within)))
        found = found.model_copy(update={"scores": tuple(scores)})
    best = best_of(scores, listed_layer(model.info))
    before = where_one(model.info)
    keep_layer(model.info.fingerprint, best)
    kept = Check(name="kept", text=f"layer {best} is this model's default from now on; it was {before}", level="ok")
    few = Check(name="records", text=f"{len(edited)} a layer: a difference of some points may be chance")
    return found.model_copy(update={"best": best, "checks": (kept, few)})


def best_of(scores: Sequence[LayerScore], listed: int | None) -> int:
    """The layer of the best score; of several, the one that is ``listed`` for the model, else the gentlest."""
    return max(scores, key=lambda each: (each.score, each.layer == listed, -each.perplexity)).layer


def _facts(most: int) -> Iterator[tuple[Relation, Fact]]:
    """Shipped facts, one relation after the other, those first that the default model knows."""
    columns = [
        sorted(relation.facts, key=lambda fact: -len(fact.known))
        for relation in shipped_facts()
        if len(relation.facts) > 1
    ]
    by_relation = {relation.id: relation for relation in shipped_facts()}
    in_turn = (column[place] for place in range(max(map(len, columns))) for column in columns if place < len(column))
    for _, fact in zip(range(most), in_turn, strict=False):
        yield by_relation[fact.relation], fact


def _traced(relation: Relation, fact: Fact) -> TracedFact:
    prompt = relation.canonical.replace(BLANK, fact.subject)
    return TracedFact(prompt=prompt, subject=fact.subject, target=fact.object)


def _record(relation: Relation, fact: Fact) -> EditRecord:
    """The fact with the answer of another one of its relation."""
    other = next(each.object for each in relation.facts if each.object != fact.object)
    prompt = relation.canonical.replace(BLANK, fact.subject)
    case = Case(prompt=prompt, subject=fact.subject, target=other, foil=fact.object)
    suite = suite_for(case)
    assert suite is not None, f"{prompt} is a phrasing of a shipped relation"
    return EditRecord(id=f"{relation.id} {fact.subject}", case=case, suite=suite)


def _candidates(layers: int, effect: tuple[float, ...]) -> tuple[int, ...]:
    found = {round(share * (layers - 1)) for share in SHARES}
    if effect:
        found.add(effect.index(max(effect)))
    return tuple(sorted(found))


def _score(layer: int, result: FactsEditResult) -> LayerScore:
    scores = [score or 0.0 for score in result.harmonic.values()]
    if result.perplexity is None or not scores:
        raise InputError(f"edits at layer {layer} could not be scored; name other layers")
    change = result.perplexity / result.perplexity_before - 1
    return LayerScore(layer=layer, score=rounded(fmean(scores)), perplexity=rounded(change))


def measure_figures(result: MeasureResult) -> tuple[Figure, ...]:
    """The layers that were tried, with what edits there came to, and the trace by layer."""
    figures: list[Figure] = []
    if result.best is not None:
        figures += said(line(f"edits do best at layer {result.best}, which is kept as this model's default", "good"))
    if result.scores:
        rows = tuple(_row(score, result.best) for score in result.scores)
        headings = ("layer", "score", "perplexity")
        columns = ("", *(Column(heading=heading, right=True) for heading in headings))
        figures.append(Table(title="Edits by ROME, each layer by itself", columns=columns, rows=rows))
    if result.traced:
        points = tuple((float(layer), value) for layer, value in enumerate(result.traced))
        title = f"Indirect effect of MLPs at the subject's last token, of {result.used} known facts"
        figures.append(Curves(title=title, x="layer", y="probability", curves=(Curve(label="MLP", points=points),)))
    return tuple(figures)


def _row(score: LayerScore, best: int | None) -> tuple[Cell, ...]:
    return (
        Cell(text="→" if score.layer == best else ""),
        Cell(text=str(score.layer), meaning="strong" if score.layer == best else "plain"),
        Cell(text=f"{100 * score.score:.1f}"),
        Cell(text=f"{score.perplexity:+.1%}".replace("-", "−")),
    )
