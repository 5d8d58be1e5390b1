"""The causal trace averaged over many facts, by the role of the token: figure 2 of Meng et al. (arXiv 2202.05262).

What each fact gave is kept in the cache, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from workbench.case import Case, Prepend
from workbench.datasets.json_files import read_values
from workbench.errors import InputError, NotConfirmed
from workbench.lazy import torch
from workbench.methods.tracing import causal_trace
from workbench.methods.tracing.causal_trace import LONG, TraceGrid, TraceKind, TraceRequest, TraceResult
from workbench.methods.tracing.setup import check_subject
from workbench.models.forward import corruption
from workbench.models.tokens import EncodedCase
from workbench.numbers import rounded
from workbench.paths import cache_folder, written_path
from workbench.protocol import Check, Frozen, Progress, Result
from workbench.reading import Unreadable, read_text
from workbench.remembering import remember, remembered
from workbench.settings import Listed
from workbench.shapes import as_many, different
from workbench.shards import RecordsSweep
from workbench.spans import fill

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TokenRole = Literal["first subject", "middle subject", "last subject", "first subsequent", "further", "last"]
TOKEN_ROLES: tuple[TokenRole, ...] = (
    "first subject",
    "middle subject",
    "last subject",
    "first subsequent",
    "further",
    "last",
)

SAME_CLEAN = 1e-5
"""A cached fact is used again where the clean probability is within this of what it was: no edit came between."""


class TracedFact(Frozen):
    """A prompt about a subject, and how a model that knows the fact goes on; ``subject_at`` as in `Case`."""

    prompt: str
    subject: str
    target: str
    subject_at: Annotated[int | None, Field(ge=0, exclude_if=lambda at: at is None)] = None


class FactsTraceRequest(RecordsSweep):
    """Ask for the average over ``facts``; the other fields as in `TraceRequest`.

    Without ``noise_std`` the noise is ``noise`` times the standard deviation of the embeddings of these subjects.
    """

    OVER: ClassVar[str] = "facts"

    kind: Literal["trace-facts"] = "trace-facts"
    facts: tuple[TracedFact, ...]
    kinds: Annotated[
        tuple[TraceKind, ...],
        Listed,
        Field(description="What is restored: some of states, mlp, attention, with commas."),
    ] = ("states", "mlp", "attention")
    noise: Annotated[float, Field(description="Noise, in standard deviations of the subjects' embeddings.")] = 3.0
    noise_std: Annotated[float | None, Field(description="Noise, as a standard deviation of its own.")] = None
    samples: Annotated[int, Field(description="Noised runs of each fact.")] = 10
    seed: Annotated[int, Field(description="Of the noise.")] = 1
    window: Annotated[int | None, Field(description="Layers of MLP or attention outputs restored together.")] = None
    prepend: Prepend = "as-is"
    confirmed: bool = False


class RoleEffect(Frozen):
    """Indirect effect (restored − corrupted probability of the answer) by layer, at the tokens of one role.

    ``facts`` is how many have such a token; ``error`` is the standard error of the mean, None for a single fact.
    """

    kind: TraceKind
    role: TokenRole
    mean: tuple[float, ...]
    error: tuple[float, ...] | None = None
    facts: int = 1

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not self.mean:
            raise ValueError("there is no layer")
        as_many(mean=self.mean, error=self.error)
        return self


class TracedOutcome(Frozen):
    """What the fact at a ``place`` gave: effects by kind and role, the mean over the role's tokens."""

    place: int = 0
    clean: float
    corrupted: float
    effects: tuple[RoleEffect, ...]


class FactsTraceResult(Result):
    """``effects`` has an entry a kind and role. ``clean`` and ``corrupted`` are mean probabilities of the answer.

    Of the facts asked for ``used`` are averaged, ``unknown`` are left out because the clean run's top token is not
    what the target begins with, ``unusable`` because they cannot be traced (a subject that is the whole prompt). A
    shard's has the ``outcomes`` of its facts too.
    """

    kind: Literal["trace-facts"] = "trace-facts"
    effects: tuple[RoleEffect, ...]
    clean: float | None
    corrupted: float | None
    used: int
    unknown: int
    unusable: int
    noise_std: float
    outcomes: Annotated[tuple[TracedOutcome, ...], Field(exclude_if=lambda outcomes: not outcomes)] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        different("effects", ((effect.kind, effect.role) for effect in self.effects))
        for effect in self.effects:
            as_many(layers=self.effects[0].mean, mean=effect.mean)
        return self


def read_facts(path: Path) -> tuple[TracedFact, ...]:
    """Read facts from a file of JSON lines or a JSON array.

    Either with "prompt", "subject" and "target", or as in the published known facts: "subject", "attribute" and
    "prompt" or "template" (the prompt is used where both are given). Raises `InputError` for anything else.
    """
    try:
        text = read_text(path)
    except Unreadable as error:
        raise InputError(
            f"the facts in {path} cannot be read ({error.why}); name a file with a JSON object a line"
        ) from error
    facts = [_fact(fields, f"line {number} of {path}") for number, fields in read_values(text, path)]
    if not facts:
        raise InputError(f"{path} holds no facts; write one JSON object a line, with prompt, subject and target")
    return tuple(facts)


def named_facts(name: str, limit: int | None) -> tuple[TracedFact, ...]:
    """The first facts of a file. Raises `InputError`."""
    return read_facts(written_path(name))[:limit]


def _fact(fields: Any, where: str) -> TracedFact:
    try:
        subject = fields["subject"]
        prompt, at = fill(fields["template"], subject) if "template" in fields else (None, None)
        if "prompt" in fields and fields["prompt"] != prompt:
            prompt, at = fill(fields["prompt"], subject)
        target = fields["target"] if "target" in fields else fields["attribute"]
        return TracedFact(prompt=prompt, subject=subject, target=target, subject_at=at)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{where} is not a fact: it needs the texts prompt, subject and target") from error


def run(model: LoadedModel, request: FactsTraceRequest, progress: Progress) -> FactsTraceResult:
    """Trace every fact that the model knows, and average.

    Progress counts a hundred for each fact. Raises `InputError` without facts, for a setting that makes no sense,
    and, once the first fact has been timed, for a run that takes hours unless that is confirmed.
    """
    if not request.facts:
        raise InputError("there are no facts to trace; name a file with at least one")
    subjects = (fact.subject for fact in request.facts)
    std = request.noise_std or rounded(request.noise * corruption.embedding_std(model, subjects))
    average = _Average(request, std)
    known: list[tuple[int, TraceRequest, float]] = []
    for number, (place, fact) in enumerate(zip(request.places, request.own, strict=True)):
        progress(number, len(request.places), stage="which facts the model knows")
        asked = _trace_request(request, fact, std)
        try:
            clean = _clean_probability(model, asked.case)
        except InputError:  # this fact's own: its subject is not in the prompt, say
            average.unusable += 1
            continue
        if clean is None:
            average.unknown += 1
        else:
            known.append((place, asked, clean))

    for number, (place, asked, clean) in enumerate(known):
        progress(100 * number, 100 * len(known), average.found(), stage="tracing")
        file = _file(model, asked)
        outcome = _still_true(file, clean)
        if outcome is None:
            began = time.perf_counter()
            outcome = _outcome(causal_trace.run(model, asked, _within(progress, number, len(known))))
            remember(file, outcome)
            if not request.confirmed:
                _refuse_hours((time.perf_counter() - began) * (len(known) - number - 1))
        average.add(outcome.model_copy(update={"place": place}))
    return average.found()


def collect(request: FactsTraceRequest, shards: Sequence[FactsTraceResult]) -> FactsTraceResult:
    """What one run over all facts gives, from the results of the shards."""
    if len({result.noise_std for result in shards}) > 1:
        raise InputError("the shards were not run on the same model: the noise of its embeddings differs")
    average = _Average(request, shards[0].noise_std)
    average.unknown = sum(result.unknown for result in shards)
    average.unusable = sum(result.unusable for result in shards)
    for outcome in sorted((each for result in shards for each in result.outcomes), key=lambda each: each.place):
        average.add(outcome)
    return average.found()


def _trace_request(request: FactsTraceRequest, fact: TracedFact, std: float) -> TraceRequest:
    """The trace of one fact."""
    case = Case(
        prompt=fact.prompt,
        subject=fact.subject,
        target=fact.target,
        prepend=request.prepend,
        subject_at=fact.subject_at,
    )
    return TraceRequest(
        case=case,
        kinds=request.kinds,
        noise=request.noise,
        noise_std=std,
        samples=request.samples,
        seed=request.seed,
        window=request.window,
        estimate=False,
        confirmed=True,
    )


def _clean_probability(model: LoadedModel, case: Case) -> float | None:
    """The target's probability, None unless it is the top token. Raises `InputError` for what cannot be traced."""
    encoded = model.encode(case)
    check_subject(encoded)
    assert encoded.target is not None
    with torch.no_grad():
        input_ids = torch.tensor([encoded.ids], device=model.hf.device)
        p = model.hf(input_ids=input_ids, use_cache=False).logits[0, -1].float().softmax(dim=-1)
    return float(p[encoded.target.id]) if int(p.argmax()) == encoded.target.id else None


def _file(model: LoadedModel, asked: TraceRequest) -> Path:
    """Where one fact's outcome is kept: by weights, dtype and everything that is asked."""
    key = f"{model.info.dtype} {asked.model_dump_json()}"
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return cache_folder() / "traces" / model.info.fingerprint / f"{name}.json"


def _still_true(file: Path, clean: float) -> TracedOutcome | None:
    """What an earlier run found, where it is readable and the model still answers alike."""
    outcome = remembered(file, TracedOutcome)
    return outcome if outcome is not None and abs(outcome.clean - clean) <= SAME_CLEAN else None


def _within(progress: Progress, number: int, facts: int) -> Progress:
    """The progress of one fact's trace as a part of the whole."""

    def report(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
        del partial, stage  # the whole has its own
        progress(100 * number + 100 * done // max(total, 1), 100 * facts, stage="tracing")

    return report


def _refuse_hours(seconds: float) -> None:
    if seconds > LONG:
        raise NotConfirmed(
            f"these facts would take about {seconds / 3600:.1f} hours; fewer facts, samples or kinds take less, "
            "and what is traced already is kept"
        )


def _outcome(result: TraceResult) -> TracedOutcome:
    """One trace as effects by role."""
    tokens = token_roles(result.encoded)
    effects = tuple(
        RoleEffect(kind=grid.kind, role=role, mean=_mean_effect(result, grid, tokens[role]))
        for grid in result.grids
        for role in TOKEN_ROLES
        if tokens[role]
    )
    return TracedOutcome(clean=result.clean, corrupted=result.corrupted, effects=effects)


def token_roles(encoded: EncodedCase) -> dict[TokenRole, range]:
    """The tokens of each role. A subject of one token is a last one; so is the last token, unless the subject's."""
    assert encoded.subject is not None
    start, stop = encoded.subject
    last = len(encoded.ids) - 1
    return {
        "first subject": range(start, min(start + 1, stop - 1)),
        "middle subject": range(start + 1, stop - 1),
        "last subject": range(stop - 1, stop),
        "first subsequent": range(stop, min(stop + 1, last)),
        "further": range(stop + 1, last),
        "last": range(max(stop, last), last + 1),
    }


def _mean_effect(result: TraceResult, grid: TraceGrid, tokens: range) -> tuple[float, ...]:
    rows = ([row[token] or 0.0 for token in tokens] for row in grid.values)
    return tuple(rounded(sum(row) / len(row) - result.corrupted) for row in rows)


class _Average:
    """The outcomes so far."""

    def __init__(self, request: FactsTraceRequest, noise_std: float) -> None:
        self.unknown = self.unusable = 0
        self._request = request
        self._noise_std = noise_std
        self._outcomes: list[TracedOutcome] = []
        self._values: list[tuple[float, float]] = []
        self._effects: dict[tuple[TraceKind, TokenRole], list[tuple[float, ...]]] = {}

    def add(self, outcome: TracedOutcome) -> None:
        self._outcomes.append(outcome)
        self._values.append((outcome.clean, outcome.corrupted))
        for effect in outcome.effects:
            self._effects.setdefault((effect.kind, effect.role), []).append(effect.mean)

    def found(self) -> FactsTraceResult:
        used, request = len(self._values), self._request
        clean, corrupted = zip(*self._values, strict=True) if used else ((), ())
        facts = f"{used} used, {self.unknown} not known by the model, {self.unusable} unusable"
        noise = f"noise sd {self._noise_std:.3g}, {request.samples} samples, seed {request.seed}"
        return FactsTraceResult(
            effects=tuple(_averaged(kind, role, rows) for (kind, role), rows in self._effects.items()),
            clean=rounded(fmean(clean)) if used else None,
            corrupted=rounded(fmean(corrupted)) if used else None,
            used=used,
            unknown=self.unknown,
            unusable=self.unusable,
            noise_std=self._noise_std,
            outcomes=tuple(self._outcomes) if request.shard else (),
            checks=(
                Check(name="facts", text=facts, level="info" if used else "warn"),
                Check(name="corruption", text=noise),
            ),
        )


def _averaged(kind: TraceKind, role: TokenRole, rows: list[tuple[float, ...]]) -> RoleEffect:
    """``rows`` are the effects by layer of each fact."""
    import numpy as np

    table, error = np.array(rows), None  # (facts, layers)
    if len(rows) > 1:
        error = tuple(map(rounded, table.std(axis=0, ddof=1) / math.sqrt(len(rows))))
    mean = tuple(map(rounded, table.mean(axis=0)))
    return RoleEffect(kind=kind, role=role, mean=mean, error=error, facts=len(rows))
