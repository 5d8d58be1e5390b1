"""Receiver heads: attention heads that narrow what they look at down to a few sentences of a reasoning.

Bogdan et al. 2025, "Thought Anchors" (arXiv 2506.19143): a head's attention is averaged over the tokens of each pair of
sentences; what a sentence receives from those far enough after it is its vertical score; and a head whose scores are
heavy-tailed (their kurtosis, without bias correction, 0 for a normal distribution) is a receiver head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from workbench.errors import InputError
from workbench.figures import Axis, Bar, Bars, Column, Figure, Heatmap, Scale, Table, line, said
from workbench.methods.cot import truncation
from workbench.methods.cot.about import AboutReasoning
from workbench.methods.cot.figures import cot_figures
from workbench.methods.cot.places import sentence_spans
from workbench.methods.cot.result import CotResult
from workbench.methods.heads.names import named
from workbench.models.forward.suppressing import each_layers_weights
from workbench.models.tokentext import display
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, Result, partly
from workbench.shapes import LayerCount, as_many, within

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

APART = 4
"""The paper's: a sentence receives from those at least so many after it, as neighbors are attended to anyway."""

FEWEST = 4
"""Scores below which a kurtosis is the same whatever they are."""

RECEIVERS = 20
"""Heads that are called receivers, the paper's number."""

CAPTION = (
    "a receiver head looks at few sentences much; that it does says which sentences are broadcast, and not that the "
    "answer came from them"
)


class ReceiversRequest(AboutReasoning):
    """Ask which heads narrow what they look at down to a few sentences, and which sentences these are."""

    kind: Literal["receivers"] = "receivers"
    apart: Annotated[
        int | None,
        Field(ge=1, le=1000, description="How far apart sentences must be to count; else 4, or 1 where they are few."),
    ] = None
    tokens: Annotated[int, Field(ge=1, description="Most tokens of reasoning.")] = 256


class ReceiverHead(Frozen):
    """A head with its kurtosis, and its vertical ``scores``, one for each sentence, None where none is far enough."""

    layer: int
    head: int
    kurtosis: float
    scores: tuple[float | None, ...]

    @property
    def name(self) -> str:
        """As heads are named everywhere."""
        return named(self.layer, self.head)


class ReceiversResult(Result):
    """``kurtosis`` is ``(layers, n_heads)``, None for a head whose scores are all the same. ``receivers`` are the heads
    with the highest, and ``mean`` has the vertical scores of all heads, averaged. ``apart`` is what was used.
    """

    kind: Literal["receivers"] = "receivers"
    base: CotResult
    layers: LayerCount | None = None
    n_heads: int = 0
    apart: int = 0
    kurtosis: tuple[tuple[float | None, ...], ...] = ()
    receivers: tuple[ReceiverHead, ...] = ()
    mean: tuple[float | None, ...] = ()
    caption: str = CAPTION

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        n = len(self.base.sentences)
        if self.kurtosis:
            as_many(layers=self.layers or 0, kurtosis=self.kurtosis)
            as_many(sentences=n, mean=self.mean)
        for row in self.kurtosis:
            as_many(n_heads=self.n_heads, kurtosis=row)
        for each in self.receivers:
            within("layer", each.layer, self.layers or 0)
            within("head", each.head, self.n_heads)
            as_many(sentences=n, scores=each.scores)
        return self


def run(model: LoadedModel, request: ReceiversRequest, progress: Progress) -> ReceiversResult:
    """Reason, run the whole text once more, and take the kurtosis of each head's vertical scores.

    Progress counts tokens while the model reasons, then layers. Raises `InputError` where there are too few sentences,
    and `ModelError` for a model without attention heads.
    """
    heads = model.heads

    def of_base(partial: object) -> ReceiversResult | None:
        return ReceiversResult(base=partial) if isinstance(partial, CotResult) else None

    base = truncation.run(model, request.asked(request.tokens, ()), partly(progress, of_base))
    ids, spans = sentence_spans(model, base)
    n = len(spans)
    apart = request.apart or (APART if n >= APART + FEWEST else 1)
    if n - apart < FEWEST:
        raise InputError(
            f"a kurtosis takes {FEWEST} sentences at least, and of the {n} here {max(0, n - apart)} have one so far "
            "after them; let the model reason longer" + (", or lower --apart" if apart > 1 else "")
        )
    scores: list[Any] = []

    def look(layer: int, weights: Tensor) -> None:
        progress(layer, model.info.layers, ReceiversResult(base=base), stage="attention")
        scores.append(vertical_scores(weights, spans, apart))

    each_layers_weights(model, ids, look)
    progress(model.info.layers, model.info.layers, stage="attention")
    return _result(base, scores, apart, heads.count)


def vertical_scores(weights: Tensor, spans: Sequence[tuple[int, int]], apart: int) -> Any:
    """What each sentence receives of each head's attention ``(heads, sentences)``; NaN where none is far enough.

    ``weights`` is ``(heads, tokens, tokens)``.
    """
    import numpy as np

    among = [weights[:, start:stop].float().mean(dim=1) for start, stop in spans]  # by sentence that looks
    pairs = np.stack(
        [[row[:, start:stop].mean(dim=1).cpu().numpy() for start, stop in spans] for row in among]
    )  # (looking, looked at, heads)
    found = np.full((weights.shape[0], len(spans)), np.nan)
    for sentence in range(len(spans) - apart):
        found[:, sentence] = pairs[sentence + apart :, sentence].mean(axis=0)
    return found


def _result(base: CotResult, scores: Sequence[Any], apart: int, n_heads: int) -> ReceiversResult:
    import numpy as np
    from scipy.stats import kurtosis

    every = np.stack(scores)  # (layers, heads, sentences)
    scored = every[..., : every.shape[-1] - apart]
    even = scored.std(axis=-1) <= 1e-9 * scored.mean(axis=-1)
    found = np.where(even, np.nan, kurtosis(np.where(even[..., None], np.arange(scored.shape[-1]), scored), axis=-1))
    order = [divmod(int(place), n_heads) for place in np.argsort(-np.nan_to_num(found, nan=-np.inf), axis=None)]
    n = scored.shape[-1]
    return ReceiversResult(
        base=base,
        layers=len(every),
        n_heads=n_heads,
        apart=apart,
        kurtosis=tuple(tuple(_number(value) for value in row) for row in found),
        receivers=tuple(
            ReceiverHead(
                layer=layer,
                head=head,
                kurtosis=rounded(float(found[layer, head])),
                scores=tuple(_number(value) for value in every[layer, head]),
            )
            for layer, head in order[:RECEIVERS]
            if np.isfinite(found[layer, head])
        ),
        mean=tuple(_number(value) for value in every.mean(axis=(0, 1))),
        checks=(
            *base.checks,
            Check(
                name="vertical scores",
                text=f"{n} of {len(base.sentences)} sentences, received from {apart} or more after them; of {n} scores "
                f"no kurtosis is above {n - 5 + 1 / (n - 1):.1f}",
                level="warn" if n < 2 * FEWEST else "info",
            ),
        ),
    )


def _number(value: float) -> float | None:
    return None if value != value else rounded(float(value))


def receivers_figures(result: ReceiversResult) -> tuple[Figure, ...]:
    """The sentences that receivers look at, the heads, and the kurtosis of all heads."""
    if not result.kurtosis:
        return cot_figures(result.base)
    known = [value for row in result.kurtosis for value in row if value is not None]
    grid = Heatmap(
        title="Kurtosis of each head's vertical scores",
        rows=Axis.of_layers(len(result.kurtosis)),
        columns=Axis(name="head", labels=tuple(map(str, range(result.n_heads)))),
        values=tuple(reversed(result.kurtosis)),
        scale=Scale(low=min(known, default=0.0), high=max(known, default=1.0)),
    )
    return (_sentences(result), _heads(result), grid, *said(line(result.caption, "note")))


def _sentences(result: ReceiversResult) -> Bars:
    """What each sentence receives from the receiver heads, on average, as a multiple of what it has from all heads."""
    bars = []
    for i, sentence in enumerate(result.base.sentences):
        own = [value for each in result.receivers if (value := each.scores[i]) is not None]
        base = result.mean[i]
        text = display(" ".join(sentence.split()))
        bars.append(Bar(label=f"{i + 1} {text[:40]}", value=sum(own) / len(own) / base if own and base else None))
    high = max((bar.value for bar in bars if bar.value is not None), default=1.0)
    return Bars(
        title=f"What each sentence has from {len(result.receivers)} receiver heads, × from all heads",
        bars=tuple(bars),
        scale=Scale(low=0, high=high, unit="×"),
    )


def _heads(result: ReceiversResult) -> Table:
    rows = []
    for each in result.receivers[:10]:
        scored = [(value, i) for i, value in enumerate(each.scores) if value is not None]
        most, place = max(scored)
        total = sum(value for value, _ in scored)
        rows.append((each.name, f"{each.kurtosis:.2f}", str(place + 1), f"{most / total:.0%}" if total else "–"))
    columns = (
        "head",
        Column(heading="kurtosis", right=True),
        Column(heading="looks most at sentence", right=True),
        Column(heading="share of its scores", right=True),
    )
    return Table(title="The receiver heads", columns=columns, rows=tuple(rows))
