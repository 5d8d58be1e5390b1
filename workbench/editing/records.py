"""Many edits: each record edited by itself and taken back, or one after the other with all of them kept.

The first gives the table by which editing methods are compared (Meng et al. 2022, arXiv 2202.05262, section 3.4); the
second shows how many edits a model bears. What each single edit gave is kept in the cache, so that an interrupted
run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError

from workbench.case import Case, Prepend
from workbench.datasets.suites import ROLES, EditRecord, Role, Suite
from workbench.editing.edit import WithSettings, check
from workbench.editing.editor import Made
from workbench.editing.editors import editor
from workbench.editing.queue import Edit
from workbench.editing.suite.held_out import perplexity
from workbench.editing.suite.regression import (
    PERPLEXITY_LIMIT,
    PREPENDS,
    SCORED,
    Measurement,
    RoleScore,
    SuiteRequest,
    SuiteResult,
    measure,
    run_suite,
)
from workbench.errors import InputError, NumericalError
from workbench.files import write_atomically
from workbench.numbers import rounded
from workbench.paths import cache_folder
from workbench.protocol import Check, Frozen, Progress, Result, part
from workbench.reading import Unreadable, read_bytes

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

FEW = 30
"""Facts of which fewer give a score that moves by chance: no turn is seen in it."""

TURNED = 0.1
"""A chart of sequential edits has turned where its score lies so far under its best, or perplexity grew by as much."""


class FactsEditRequest(WithSettings):
    """Ask ``editor`` to edit every record by itself, or in sequence.

    In a ``sequence`` the scores of all records edited so far are measured after 1, 2, 5, 10, 20, … edits.
    """

    kind: Literal["edit-facts"] = "edit-facts"
    records: tuple[EditRecord, ...]
    sequence: Annotated[bool, Field(description="Keep every record's edit: how many does the model bear?")] = False


class FailingFact(Frozen):
    """A fact that did not pass after its record's edit. ``first_position``: nor is it known there without edits."""

    record: str
    role: Role
    prepend: Prepend
    prompt: str
    wanted: str
    says: str
    first_position: bool


class RecordOutcome(Frozen):
    """What editing one record gave; ``perplexity`` is that of held-out text, ``seconds`` those of computing it."""

    id: str
    title: str
    layers: tuple[int, ...]
    scores: tuple[RoleScore, ...]
    failing: tuple[FailingFact, ...]
    perplexity: float
    size: float
    seconds: float


class SequencePoint(Frozen):
    """After so many edits: harmonic score of all records so far by what is prepended, and the held-out perplexity."""

    edits: int
    scores: tuple[RoleScore, ...]
    harmonic: dict[Prepend, float | None]
    perplexity: float


class FactsEditResult(Result):
    """``scores`` are means over the records' own, each with the unedited model's beside it; so are ``harmonic``.

    ``unusable`` maps a record that could not be edited to the reason. ``points`` are there for a sequence alone,
    ``perplexity`` (mean over the edits) and ``perplexity_worst`` for single edits alone.
    """

    kind: Literal["edit-facts"] = "edit-facts"
    scores: tuple[RoleScore, ...]
    harmonic: dict[Prepend, float | None]
    harmonic_before: dict[Prepend, float | None]
    perplexity_before: float
    perplexity: float | None = None
    perplexity_worst: float | None = None
    records: tuple[RecordOutcome, ...] = ()
    points: tuple[SequencePoint, ...] = ()
    unusable: dict[str, str] = {}

    @property
    def failing(self) -> tuple[FailingFact, ...]:
        """All facts that did not pass."""
        return tuple(fact for record in self.records for fact in record.failing)


def run(model: LoadedModel, request: FactsEditRequest, progress: Progress) -> FactsEditResult:
    """Edit and measure. The model has its own edits again afterwards; while it runs it has none but these.

    Progress counts a hundred for a record. Raises `InputError` without records and for settings that make no sense,
    `ModelError` for a model that cannot be edited.
    """
    if not request.records:
        raise InputError("there are no records to edit; name a file with at least one")
    with model.edits.all_off():
        before = rounded(perplexity(model))
        return (
            _sequence(model, request, before, progress)
            if request.sequence
            else _singly(model, request, before, progress)
        )


# --- Each by itself ---


def _singly(model: LoadedModel, request: FactsEditRequest, before: float, progress: Progress) -> FactsEditResult:
    outcomes: list[RecordOutcome] = []
    unusable: dict[str, str] = {}
    total = 100 * len(request.records)
    for number, record in enumerate(request.records):
        found = _found(outcomes, before, unusable) if outcomes else None
        progress(100 * number, total, found, stage=f"record {number + 1} of {len(request.records)}")
        file = _file(model, request, record)
        outcome = _remembered(file)
        if outcome is None:
            try:
                within = part(progress, 100 * number, 100, total, f"record {number + 1}: {{}}", lambda _: found)  # noqa: B023
                outcome = _outcome(model, request, record, within)
            except (InputError, NumericalError) as error:
                unusable[record.id] = str(error)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, outcome.model_dump_json())
        outcomes.append(outcome)
    if not outcomes:
        raise InputError(f"no record could be edited; the first: {next(iter(unusable.values()))}")
    return _found(outcomes, before, unusable)


def _case(record: EditRecord) -> Case:
    """Without the foil, which an edit has no use for: published pairs may begin with the same token."""
    return record.case.model_copy(update={"foil": None})


def _made(model: LoadedModel, request: FactsEditRequest, record: EditRecord, progress: Progress) -> tuple[Made, float]:
    """The edit, and the seconds it took."""
    by, cases = editor(request.editor), (_case(record),)
    check(model, by, cases, request.settings)
    began = time.perf_counter()
    return by.make(model, cases, request.settings, progress), time.perf_counter() - began


def _outcome(model: LoadedModel, request: FactsEditRequest, record: EditRecord, progress: Progress) -> RecordOutcome:
    made, seconds = _made(model, request, record, progress)
    before = _measure_unedited(model, record.suite)
    with model.edits.added(made.edit):
        tested = run_suite(model, record.suite, before=before, generate=False, held_out=False)
        now = perplexity(model)
    return RecordOutcome(
        id=record.id,
        title=made.edit.info.title,
        layers=made.edit.info.layers,
        scores=tested.scores,
        failing=_failing(record.id, tested),
        perplexity=rounded(now),
        size=rounded(model.edits.size(made.edit)),
        seconds=round(seconds, 2),
    )


def _measure_unedited(model: LoadedModel, suite: Suite) -> Measurement:
    return measure(model, SuiteRequest(suite=suite, generate=False, held_out=False))


def _failing(record: str, tested: SuiteResult) -> tuple[FailingFact, ...]:
    return tuple(
        FailingFact(
            record=record,
            role=tested.suite.facts[outcome.fact].role,
            prepend=outcome.prepend,
            prompt=tested.suite.facts[outcome.fact].prompt,
            wanted=tested.suite.facts[outcome.fact].target,
            says=outcome.after.top,
            first_position=outcome.first_position,
        )
        for outcome in tested.failing()
    )


def _found(outcomes: Sequence[RecordOutcome], before: float, unusable: dict[str, str]) -> FactsEditResult:
    scores = mean_scores([outcome.scores for outcome in outcomes])
    values = [outcome.perplexity for outcome in outcomes]
    worst = max(values) / before - 1
    text = f"{before:.2f} → {fmean(values):.2f} (worst {worst:+.1%})"
    lost = [fact for outcome in outcomes for fact in outcome.failing]
    first = sum(fact.first_position for fact in lost)
    checks = [
        Check(
            name="held-out perplexity",
            text=text,
            level="warn" if fmean(values) / before - 1 > PERPLEXITY_LIMIT else "ok",
        ),
        Check(
            name="failing", text=f"{len(lost)} facts, {first} of them in the first position and not known there before"
        ),
    ]
    if unusable:
        checks.append(Check(name="records", text=f"{len(unusable)} could not be edited", level="warn"))
    return FactsEditResult(
        scores=scores,
        harmonic=harmonics(scores),
        harmonic_before=harmonics(scores, before=True),
        perplexity_before=before,
        perplexity=rounded(fmean(values)),
        perplexity_worst=max(values),
        records=tuple(outcomes),
        unusable=dict(unusable),
        checks=tuple(checks),
    )


def _file(model: LoadedModel, request: FactsEditRequest, record: EditRecord) -> Path:
    """Where one record's outcome is kept: by weights, dtype and everything that is asked."""
    parts = (model.info.dtype, record.model_dump_json(), request.editor, request.settings.model_dump_json())
    name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    return cache_folder() / "edited" / model.info.fingerprint / f"{name}.json"


def _remembered(file: Path) -> RecordOutcome | None:
    try:
        return RecordOutcome.model_validate_json(read_bytes(file))
    except (Unreadable, ValidationError):
        return None


# --- One after the other ---


def _sequence(model: LoadedModel, request: FactsEditRequest, before: float, progress: Progress) -> FactsEditResult:
    """Every edit is computed on the model with those before it."""
    total = 100 * len(request.records)
    edits: list[Edit] = []
    done: list[EditRecord] = []
    points: list[SequencePoint] = []
    unusable: dict[str, str] = {}
    unedited = Measurement()
    for number, record in enumerate(request.records):
        within = part(progress, 100 * number, 100, total, f"edit {number + 1} of {len(request.records)}: {{}}")
        with model.edits.only(edits):
            try:
                made, _ = _made(model, request, record, within)
            except (InputError, NumericalError) as error:
                unusable[record.id] = str(error)
                continue
        # In a sequence the same record may come twice, and each is an edit of its own.
        edits.append(made.edit)
        first = sum(len(each.suite.facts) for each in done)
        readings = _measure_unedited(model, record.suite).readings
        unedited.readings.update({(first + fact, prepend): reading for (fact, prepend), reading in readings.items()})
        done.append(record)
        if _is_measured(len(done)) or number == len(request.records) - 1:
            measuring = part(progress, 100 * (number + 1), 0, total, f"measuring after {len(done)} edits")
            points.append(_point(model, edits, done, unedited, measuring))
            progress(100 * (number + 1), total, _sequence_found(points, before, unusable), stage="measuring")
    if not points:
        raise InputError(f"no record could be edited; the first: {next(iter(unusable.values()))}")
    return _sequence_found(points, before, unusable)


def _is_measured(edits: int) -> bool:
    return edits in (1, 2, 5) or edits % 10 == 0


def _point(
    model: LoadedModel, edits: Sequence[Edit], done: Sequence[EditRecord], unedited: Measurement, progress: Progress
) -> SequencePoint:
    facts = tuple(fact for record in done for fact in record.suite.facts)
    suite = Suite(name=f"{len(done)} records", facts=facts)
    with model.edits.only(edits):
        tested = run_suite(model, suite, progress, before=unedited, generate=False, held_out=False)
        now = perplexity(model)
    return SequencePoint(edits=len(edits), scores=tested.scores, harmonic=tested.harmonic, perplexity=rounded(now))


def _sequence_found(points: Sequence[SequencePoint], before: float, unusable: dict[str, str]) -> FactsEditResult:
    last = points[-1]
    turned = turning_point(points, before)
    said = f"turns at {turned} edits" if turned else f"has not turned by {last.edits} edits"
    return FactsEditResult(
        scores=last.scores,
        harmonic=last.harmonic,
        harmonic_before=harmonics(last.scores, before=True),
        perplexity_before=before,
        points=tuple(points),
        unusable=dict(unusable),
        checks=(Check(name="sequence", text=said, level="warn" if turned else "ok"),),
    )


def turning_point(points: Sequence[SequencePoint], before: float) -> int | None:
    """The number of edits from which on the score lies `TURNED` under its best so far, or perplexity has grown so.

    The score is that with the first thing prepended, and looked at where it is of no `FEW` facts.
    """
    best = 0.0
    for point in points:
        prepend, score = next(
            ((prepend, value) for prepend, value in point.harmonic.items() if value is not None), ("", 0.0)
        )
        many = sum(role.facts for role in point.scores if role.prepend == prepend) >= FEW
        best = max(best, score) if many else best
        if (many and score < best * (1 - TURNED)) or point.perplexity > before * (1 + TURNED):
            return point.edits
    return None


# --- Scores ---


def mean_scores(records: Sequence[Iterable[RoleScore]]) -> tuple[RoleScore, ...]:
    """By role and what is prepended the mean over the records that have it, as published; ``facts`` counts them."""
    every = [score for scores in records for score in scores]
    return tuple(
        _mean(role, prepend, some)
        for prepend in PREPENDS
        for role in ROLES
        if (some := [score for score in every if (score.role, score.prepend) == (role, prepend)])
    )


def _mean(role: Role, prepend: Prepend, scores: Sequence[RoleScore]) -> RoleScore:
    def mean(name: str) -> float | None:
        values = [value for score in scores if (value := getattr(score, name)) is not None]
        return rounded(fmean(values)) if values else None

    names = ("score", "score_before", "magnitude", "magnitude_before", "exact", "exact_before")
    return RoleScore.model_validate(
        {"role": role, "prepend": prepend, "facts": len(scores), **{n: mean(n) for n in names}}
    )


def harmonics(scores: Sequence[RoleScore], before: bool = False) -> dict[Prepend, float | None]:
    """By what is prepended the harmonic mean of efficacy, generalization and specificity, None where one is missing."""
    found: dict[Prepend, float | None] = {}
    for prepend in dict.fromkeys(score.prepend for score in scores):
        parts = [
            score.score_before if before else score.score
            for score in scores
            if score.prepend == prepend and score.role in SCORED
        ]
        found[prepend] = rounded(harmonic_mean(parts)) if len(parts) == len(SCORED) else None
    return found
