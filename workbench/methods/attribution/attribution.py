"""Attribution: which tokens of the prompt pull towards the target, and which towards the foil.

What is attributed is the target's logit minus the foil's (without a foil the target's log-probability) as the next
token after the cursor's. captum does it, on the embeddings of the prompt's own tokens.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import StatisticsError, correlation
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.errors import InputError, NumericalError
from workbench.lazy import torch
from workbench.memory import in_batches
from workbench.methods.attribution.attributed import Attributed, ask
from workbench.methods.attribution.coalitions import EXACT, Coalitions, occlude, shapley, shapley_exact
from workbench.methods.attribution.integrated_gradients import STEPS, Path, integrate
from workbench.models.tokens import EncodedCase
from workbench.models.tokentext import token_table
from workbench.numbers import significant
from workbench.protocol import Check, Progress, Request, Result
from workbench.shapes import as_many, span_within, within

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

AttributionMethod = Literal["integrated-gradients", "input-x-gradient", "occlusion", "shapley"]

MEMORY_BUDGET = 2**28
"""Bytes of activations held at once: a dozen gradients of a ten-token prompt on the default model. More is little
faster, and a backward pass cannot be cancelled."""


class AttributionRequest(Request):
    """Ask what each token up to ``position`` (the last one by default) adds to the prediction after it.

    ``target`` and ``foil`` replace the case's, which count at the end of the prompt only: after an earlier token
    the target is the token that really follows. ``baseline`` is what a token is compared with: ``mean`` (the mean
    embedding), ``eos``, ``zero``, or the text of one token. ``unit`` is what occlusion and Shapley values take away
    together. ``samples`` are Shapley's permutations, drawn from ``seed``. Integrated gradients stop when their
    completeness error is below ``tolerance`` (a share of the difference) or after ``limit`` gradients.
    """

    kind: Literal["attribution"] = "attribution"
    case: Case
    method: Annotated[AttributionMethod, Field(description="How scores are computed.")] = "integrated-gradients"
    position: Annotated[
        int | None, Field(description="The token after which the prediction is asked about; else the last.")
    ] = None
    target: str | None = None
    foil: str | None = None
    baseline: Annotated[
        str, Field(description="What a token is compared with: mean, eos, zero, or the text of one token.")
    ] = "mean"
    unit: Annotated[
        Literal["token", "word"], Field(description="What occlusion and Shapley values take away together.")
    ] = "token"
    samples: Annotated[int, Field(description="Permutations for Shapley values.")] = 25
    seed: Annotated[int, Field(description="Of the permutations.")] = 1
    tolerance: Annotated[
        float, Field(description="Completeness error at which to stop, as a share of the difference.")
    ] = 0.05
    limit: Annotated[int, Field(description="Most gradients to evaluate.")] = 800


class AttributionResult(Result):
    """``scores`` has one entry a token of ``encoded``, in logits (or nats, without a foil); positive ones pull
    towards the target.

    Only tokens [start, stop) of ``attributed`` were varied: what is prepended stays fixed and what follows
    ``position`` cannot matter, so the others' scores are 0. A unit (tokens [start, stop)) of several tokens has its
    score spread evenly over them. ``value`` is what is attributed, ``baseline_value`` the same with every token at
    the baseline. ``completeness_error`` is how far the scores may be from summing to the difference of the two, and
    ``completeness_share`` that error over the difference. ``errors`` are
    the standard errors of scores that are sampled, None of others. ``evaluations`` counts gradients for the gradient
    methods, forward passes for the others.
    """

    kind: Literal["attribution"] = "attribution"
    encoded: EncodedCase
    position: int
    method: AttributionMethod
    target_text: str
    foil_text: str | None
    attributed: tuple[int, int]
    units: tuple[tuple[int, int], ...]
    scores: tuple[float, ...]
    errors: tuple[float, ...] | None = None
    value: float
    baseline_value: float
    completeness_error: float
    completeness_share: float | None
    evaluations: int
    baseline: str

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        n_tokens = len(self.encoded.ids)
        as_many(tokens=n_tokens, scores=self.scores)
        within("position", self.position, n_tokens)
        for name, spans in (("attributed", (self.attributed,)), ("units", self.units)):
            for span in spans:
                span_within(name, span, n_tokens)
        return self


def run(model: LoadedModel, request: AttributionRequest, progress: Progress) -> AttributionResult:
    """Attribute, reporting the scores so far as partial results.

    Raises `InputError` for a case, position, baseline, target or number that makes no sense, `NumericalError` for
    NaN, `OutOfMemory` where a single evaluation does not fit.
    """
    _check_numbers(request)
    progress(0, 1, stage="forward pass")
    encoded, position, question = ask(
        model, request.case, request.position, request.baseline, request.target, request.foil
    )
    units = _units(model, encoded, question, request.unit)
    with torch.no_grad():
        value, baseline_value = (float(question.value(x[None])) for x in (question.inputs, question.baseline))
    difference = value - baseline_value

    def result(found: _Scores) -> AttributionResult:
        if not math.isfinite(difference) or not bool(torch.isfinite(found.scores).all()):
            raise NumericalError(f"the scores are not finite with the baseline {request.baseline}; use another one")
        error = abs(float(found.scores.sum()) - difference) if found.error is None else found.error
        share = error / abs(difference) if difference else None
        before, after = (0.0,) * question.start, (0.0,) * (len(encoded.ids) - question.stop)
        foil = question.compared.foil
        completeness = _completeness_check(request, error, share, found.evaluations)
        return AttributionResult(
            encoded=encoded,
            position=position,
            method=request.method,
            target_text=question.compared.target.text,
            foil_text=foil.text if foil else None,
            attributed=(question.start, question.stop),
            units=tuple((question.start + first, question.start + last) for first, last in units),
            scores=(*before, *significant(found.scores), *after),
            errors=None if found.errors is None else (*before, *significant(found.errors), *after),
            value=value,
            baseline_value=baseline_value,
            completeness_error=error,
            completeness_share=share,
            evaluations=found.evaluations,
            baseline=question.baseline_text,
            checks=(completeness, *found.checks, *_checks_of(question, encoded)),
        )

    for found in _METHODS[request.method](question, request, units, difference):
        latest = result(found)
        progress(found.done, found.total, latest, stage=request.method.replace("-", " "))
    return latest


def agreement(a: AttributionResult, b: AttributionResult) -> float | None:
    """Spearman's rank correlation of two results' scores; None where they do not answer the same question."""
    same = ("position", "target_text", "foil_text", "attributed")
    if a.encoded.ids != b.encoded.ids or any(getattr(a, name) != getattr(b, name) for name in same):
        return None
    tokens = slice(*a.attributed)
    return rank_correlation(a.scores[tokens], b.scores[tokens])


def rank_correlation(a: tuple[float, ...], b: tuple[float, ...]) -> float | None:
    """Spearman's rank correlation, equal scores sharing their mean rank; None where it is not defined."""
    try:
        return correlation(_ranks(a), _ranks(b))
    except StatisticsError:  # fewer than two scores, or all of them equal
        return None


def _ranks(scores: tuple[float, ...]) -> list[float]:
    times = Counter(scores)
    below = {score: sum(n for other, n in times.items() if other < score) for score in times}
    return [below[score] + (times[score] + 1) / 2 for score in scores]


# --- The methods: each yields what it has found so far ---


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores ``(tokens,)`` after ``done`` of ``total`` units of work, with standard ``errors`` if they are sampled.

    ``error`` where the method bounds its own.
    """

    scores: Tensor
    done: int
    total: int
    evaluations: int
    error: float | None = None
    checks: tuple[Check, ...] = ()
    errors: Tensor | None = None


_Units = list[tuple[int, int]]


def _integrated_gradients(
    question: Attributed, request: AttributionRequest, _units: _Units, difference: float
) -> Iterator[_Scores]:
    def precise() -> Path | None:
        return _path(question.in_float64) if question.in_float64 else None

    bytes_each = question.bytes_each(gradient=True)
    for found in integrate(
        _path(question), precise, difference, request.tolerance, request.limit, bytes_each, MEMORY_BUDGET
    ):
        text = f"float64 on {found.steep} of {found.pieces} pieces, where the path is steep"
        checks = (Check(name="steep", text=text),) if found.steep else ()
        yield _Scores(found.scores, found.evaluations, request.limit, found.evaluations, found.error, checks)


def _path(question: Attributed) -> Path:
    return Path(question.value, question.baseline, question.inputs)


def _input_x_gradient(
    question: Attributed, _request: AttributionRequest, _units: _Units, _difference: float
) -> Iterator[_Scores]:
    """The inputs are counted from the baseline; with ``zero`` it is the method as published."""
    from captum.attr import InputXGradient

    method = InputXGradient(lambda changes: question.value(question.baseline + changes))
    scores: list[Tensor] = []

    def work(changes: list[Tensor]) -> None:
        scores.extend(method.attribute(torch.stack(changes).requires_grad_()).detach().sum(dim=-1))

    change = question.inputs - question.baseline
    for done in in_batches([change], 1, work, question.bytes_each(gradient=True)):
        yield _Scores(scores[0], done, 1, evaluations=1)


def _occlusion(
    question: Attributed, _request: AttributionRequest, units: _Units, _difference: float
) -> Iterator[_Scores]:
    coalitions = _coalitions(question, units)
    for done, effects in occlude(coalitions):
        yield _Scores(coalitions.over_tokens(effects), done, len(units), coalitions.evaluations)


def _shapley(question: Attributed, request: AttributionRequest, units: _Units, _difference: float) -> Iterator[_Scores]:
    coalitions = _coalitions(question, units)
    if len(units) <= EXACT:
        total = 2 ** len(units)
        for valued, effects in shapley_exact(coalitions):
            sampling = Check(name="sampling", text=f"none: all {total} coalitions")
            yield _Scores(coalitions.over_tokens(effects), valued, total, coalitions.evaluations, checks=(sampling,))
        return
    for done, (effects, errors) in enumerate(shapley(coalitions, request.samples, request.seed), start=1):
        text = "1 order" if errors is None else f"{done} orders, standard error at most {float(errors.max()):.2g}"
        sampling = Check(name="sampling", text=text)
        scores = coalitions.over_tokens(effects)
        spread = None if errors is None else coalitions.over_tokens(errors)
        yield _Scores(scores, done, request.samples, coalitions.evaluations, checks=(sampling,), errors=spread)


def _coalitions(question: Attributed, units: _Units) -> Coalitions:
    bytes_each = question.bytes_each(gradient=False)
    return Coalitions(question.value, question.baseline, question.inputs, units, bytes_each, MEMORY_BUDGET)


_METHODS: dict[str, Callable[[Attributed, AttributionRequest, _Units, float], Iterator[_Scores]]] = {
    "integrated-gradients": _integrated_gradients,
    "input-x-gradient": _input_x_gradient,
    "occlusion": _occlusion,
    "shapley": _shapley,
}


# --- The request's numbers, units, and the trust strip ---


def _check_numbers(request: AttributionRequest) -> None:
    if request.samples < 1:
        raise InputError(f"Shapley values need at least 1 sample, not {request.samples}")
    if request.limit < STEPS:
        raise InputError(f"integrated gradients need at least {STEPS} evaluations, not {request.limit}")
    if not 0 < request.tolerance < 1:
        raise InputError(f"the tolerance is a share between 0 and 1, such as 0.05, not {request.tolerance}")
    if request.unit == "word" and request.method not in ("occlusion", "shapley"):
        raise InputError(f"{request.method} takes tokens one by one; use the unit token, occlusion or shapley")


def _units(model: LoadedModel, encoded: EncodedCase, question: Attributed, unit: Literal["token", "word"]) -> _Units:
    """Spans [start, stop) of the attributed tokens, counted from the first of them, that are taken as one."""
    table = token_table(model.tokenizer)
    texts = [table.raw(token) for token in encoded.ids[question.start : question.stop]]
    pairs = enumerate(pairwise(texts), start=1)
    starts = [0, *(i for i, (left, right) in pairs if unit == "token" or not _joined(left, right))]
    return list(zip(starts, [*starts[1:], len(texts)], strict=True))


def _joined(left: str, right: str) -> bool:
    """Whether two tokens belong to one word: no blank or punctuation between them, in a script that has blanks."""
    return (left == " " or _is_of_a_word(left[-1:])) and _is_of_a_word(right[:1])


def _is_of_a_word(character: str) -> bool:
    if not character:
        return False
    category = unicodedata.category(character)
    if category == "Cs":  # a byte of a character that is spread over several tokens
        return True
    return category[0] in "LMN" and unicodedata.east_asian_width(character) not in "WF"


def _completeness_check(request: AttributionRequest, error: float, share: float | None, evaluations: int) -> Check:
    text = _error_in_words(error, share)
    if request.method == "integrated-gradients":
        text += f" after {evaluations} evaluations"
        level: Literal["ok", "warn"] = "ok" if share is not None and share <= request.tolerance else "warn"
        return Check(name="completeness", text=text, level=level)
    if request.method == "shapley":
        return Check(name="completeness", text=text, level="ok")
    return Check(name="completeness", text=f"{text}, which this method does not promise to be small")


def _error_in_words(error: float, share: float | None) -> str:
    if share is None:
        return f"{error:.2g} and no difference to explain"
    return f"{share:.1%} of the difference" if share < 2 else f"{share:.3g} times the difference"


def _checks_of(question: Attributed, encoded: EncodedCase) -> Iterator[Check]:
    yield Check(name="baseline", text=question.baseline_text)
    text = "float32" if question.dtype == "float32" else f"{question.dtype}, for want of memory: rounding shows"
    yield Check(name="dtype", text=text, level="info" if question.dtype == "float32" else "warn")
    compared = question.compared
    foil = f" − “{compared.foil.text}”" if compared.foil else ", log-probability"
    yield Check(name="target", text=f"“{compared.target.text}”{foil}: {compared.origin}")
    if encoded.starts_bare:
        text = "the first word stands where the model reads badly; compare with BOS or separator prepended"
        yield Check(name="first position", text=text, level="warn")
