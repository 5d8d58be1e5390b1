"""Attention suppression: what becomes of the answer when nothing after a sentence may attend to it.

Bogdan et al. 2025, "Thought Anchors" (arXiv 2506.19143): all attention to a sentence is masked, in every layer and
head, and what changes in the tokens of each later sentence is the sentence's direct effect on it (here the mean KL
divergence in nats; the paper takes logarithms and subtracts means). Unlike leaving a sentence out, positions and words
stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.errors import InputError
from workbench.figures import Axis, Cell, Column, Figure, Heatmap, Scale, Table, line, said
from workbench.lazy import torch
from workbench.methods.cot import truncation
from workbench.methods.cot.about import AboutReasoning
from workbench.methods.cot.answers import pieces_after, probabilities_from
from workbench.methods.cot.figures import about_answer, cot_figures
from workbench.methods.cot.importance import distance
from workbench.methods.cot.interventions import Early
from workbench.methods.cot.places import sentence_spans, whole_text
from workbench.methods.cot.result import CotResult
from workbench.models.forward.suppressing import logits_without
from workbench.models.tokentext import display
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, Result, partly
from workbench.shapes import as_many, within

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel
    from workbench.models.forward.decoding import Ids

CAPTION = (
    "what later tokens take directly from a sentence; what they take from it by way of others that have seen it is in "
    "the other sentences' rows"
)


class SuppressRequest(AboutReasoning):
    """Ask what becomes of the answer, and of each later sentence, where nothing may attend to one sentence."""

    kind: Literal["suppress"] = "suppress"
    tokens: Annotated[int, Field(ge=1, description="Most tokens of reasoning.")] = 256


class SuppressedSentence(Frozen):
    """One sentence that nothing after it attends to.

    ``probabilities`` are the candidates' after the whole text, ``answer`` is the most probable one, ``distance`` the
    total variation to the probabilities with nothing suppressed. ``effects`` has a number for each sentence: the mean
    KL divergence at its tokens, in nats, None for those that do not come after it.
    """

    probabilities: tuple[float, ...]
    answer: int
    distance: float
    effects: tuple[float | None, ...]


class SuppressResult(Result):
    """``base`` is the reasoning; ``probabilities`` of its candidates and the most probable ``answer`` are read in one
    run of the whole text. ``sentences`` has an entry for each of the base's, as far as they were tried.
    """

    kind: Literal["suppress"] = "suppress"
    base: CotResult
    probabilities: tuple[float, ...] = ()
    answer: int | None = None
    sentences: tuple[SuppressedSentence, ...] = ()
    caption: str = CAPTION

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        n, candidates = len(self.base.sentences), len(self.base.candidates)
        if self.answer is not None:
            as_many(candidates=candidates, probabilities=self.probabilities)
        within("answer", self.answer, candidates)
        if len(self.sentences) > n:
            raise ValueError(f"{len(self.sentences)} suppressed sentences of {n}")
        for one in self.sentences:
            as_many(candidates=candidates, probabilities=one.probabilities)
            within("answer", one.answer, candidates)
            if len(one.effects) != n:
                raise ValueError(f"{len(one.effects)} effects on {n} sentences")
        return self


def run(model: LoadedModel, request: SuppressRequest, progress: Progress) -> SuppressResult:
    """Reason, read the answers of shortened reasoning, then run the whole text without attention to each sentence.

    Progress counts tokens while the model reasons, then sentences. Raises `InputError` as a `CotRequest` does, and
    `ModelError` for a model whose attention reads no mask.
    """

    def of_base(partial: object) -> SuppressResult | None:
        return SuppressResult(base=partial) if isinstance(partial, CotResult) else None

    base = truncation.run(model, request.asked(request.tokens, (Early(),)), partly(progress, of_base))
    return _Suppressing(model, base).run(progress, free=not request.listed)


class _Suppressing:
    """One text at work."""

    def __init__(self, model: LoadedModel, base: CotResult) -> None:
        self._model, self._base = model, base
        self._ids, self._spans = sentence_spans(model, base)
        text = whole_text(base)
        self._pieces = [pieces_after(model, text, candidate) for candidate in base.candidates]
        if max(map(len, self._pieces)) + len(self._ids) > model.info.context:
            raise InputError("the reasoning and its answers fill the context; let the model reason in fewer tokens")
        self._free = True

    def run(self, progress: Progress, free: bool) -> SuppressResult:
        self._free = free
        n = len(self._spans)
        progress(0, n, SuppressResult(base=self._base), stage="suppressing")
        plain = self._logits(0, 0)
        probabilities = self._probabilities(plain, 0, 0)
        found = SuppressResult(
            base=self._base,
            probabilities=probabilities,
            answer=max(range(len(probabilities)), key=probabilities.__getitem__),
            checks=self._base.checks,
        )
        moved = 0.0
        for i, (start, stop) in enumerate(self._spans):
            logits = self._logits(start, stop)
            moved = max(moved, float((logits[:stop] - plain[:stop]).abs().max()))
            own = self._probabilities(logits, start, stop)
            one = SuppressedSentence(
                probabilities=own,
                answer=max(range(len(own)), key=own.__getitem__),
                distance=distance(probabilities, own),
                effects=self._effects(plain, logits, i),
            )
            found = found.model_copy(update={"sentences": (*found.sentences, one)})
            progress(i + 1, n, found, stage="suppressing")
        return found.model_copy(update={"checks": (*self._base.checks, *self._checks(plain, moved))})

    def _logits(self, start: int, stop: int, more: Ids = ()) -> Tensor:
        """After every token of the text and what follows it, ``(tokens, vocabulary)``."""
        return logits_without(self._model, (*self._ids, *more), start, stop).float().cpu()

    def _probabilities(self, logits: Tensor, start: int, stop: int) -> tuple[float, ...]:
        """Those of the candidates; what they have after the first token is read in runs of their own."""
        end = len(self._ids) - 1
        first = logits[end].log_softmax(dim=-1)
        logs = []
        for pieces in self._pieces:
            log = first[pieces[0]].double()
            if len(pieces) > 1:
                after = self._logits(start, stop, pieces[:-1])[end + 1 :].log_softmax(dim=-1)
                log = log + after[range(len(pieces) - 1), list(pieces[1:])].double().sum()
            logs.append(log)
        return probabilities_from(torch.stack(logs), self._base.candidates, self._free)

    def _effects(self, plain: Tensor, changed: Tensor, suppressed: int) -> tuple[float | None, ...]:
        """The mean KL divergence at the tokens of each later sentence: where the logits before each token are read."""
        found: list[float | None] = []
        for later, (start, stop) in enumerate(self._spans):
            if later <= suppressed:
                found.append(None)
                continue
            p, q = (some[start - 1 : stop - 1].log_softmax(dim=-1) for some in (plain, changed))
            found.append(rounded(float((p.exp() * (p - q)).sum(dim=-1).mean())))
        return tuple(found)

    def _checks(self, plain: Tensor, moved: float) -> tuple[Check, ...]:
        with torch.no_grad():
            tokens = torch.tensor([self._ids], device=self._model.hf.device)
            usual = self._model.hf(input_ids=tokens, use_cache=False).logits[0].float().cpu()
        off = float((plain - usual).abs().max() / usual.abs().max().clamp(min=1e-12))
        well = off <= (1e-4 if self._model.info.dtype in ("float32", "float64") else 0.05)
        return (
            Check(name="eager", text=f"nothing suppressed, off by {off:.0e}", level="ok" if well else "warn"),
            Check(
                name="before it",
                text=f"logits up to a suppressed sentence's end move by {moved:.0e}",
                level="ok" if moved <= 1e-4 * float(plain.abs().max()) else "warn",
            ),
        )


def suppress_figures(result: SuppressResult) -> tuple[Figure, ...]:
    """The answer without attention to each sentence, then what each sentence does to the later ones."""
    if result.answer is None:
        return cot_figures(result.base)
    name = display(result.base.candidates[result.answer].name)
    head = line(f"answer {name}, p {result.probabilities[result.answer]:.3f} with nothing suppressed", "strong")
    return (_answers(result, name), *_effects_map(result), *said(head, line(result.caption, "note")))


def _answers(result: SuppressResult, name: str) -> Table:
    rows: list[Sequence[Cell | str]] = []
    for nth, (sentence, one) in enumerate(zip(result.base.sentences, result.sentences, strict=False), 1):
        other = display(result.base.candidates[one.answer].name)
        assert result.answer is not None
        rows.append(
            (
                str(nth),
                display(" ".join(sentence.split())),
                other if one.answer == result.answer else Cell(text=f"≠ {other}", meaning="foil"),
                f"{one.probabilities[result.answer]:.3f}",
                f"{one.distance:.2f}",
            )
        )
    columns = (
        "",
        Column(heading="sentence", wraps=True),
        Column(heading="answer", wraps=True),
        about_answer("p", name),
        Column(heading="moved", right=True),
    )
    return Table(
        title="The answer where nothing attends to this sentence", columns=columns, rows=tuple(map(tuple, rows))
    )


def _effects_map(result: SuppressResult) -> tuple[Figure, ...]:
    n = len(result.base.sentences)
    if n < 2:
        return ()
    rows = [one.effects for one in result.sentences] + [(None,) * n] * (n - len(result.sentences))
    labels = tuple(str(nth) for nth in range(1, n + 1))
    high = max((value for row in rows for value in row if value is not None), default=0.0)
    return (
        Heatmap(
            title="What the sentence on the left does to that above (KL, nats a token)",
            rows=Axis(name="suppressed", labels=labels[:-1]),
            columns=Axis(name="later sentence", labels=labels[1:]),
            values=tuple(tuple(row[1:]) for row in rows[:-1]),
            scale=Scale(low=0, high=high, unit="nats"),
        ),
    )
