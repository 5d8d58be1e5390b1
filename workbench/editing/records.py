"""Many edits: each record edited by itself and taken back, or all of them kept, one after the other or in batches.

The first gives the table by which editing methods are compared (Meng et al. 2022, arXiv 2202.05262, section 3.4); the
others show how many edits a model bears. What each edit gave is kept in the cache, so that an interrupted run goes on
where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from workbench.case import Prepend
from workbench.datasets.suites import EditRecord, Role, Suite, read_records
from workbench.editing.advice import advice, remember_curve
from workbench.editing.edit import WithSettings, check
from workbench.editing.editor import Made
from workbench.editing.editors import editor
from workbench.editing.patches import size_in_bytes
from workbench.editing.sequence import (
    SequencePoint,
    accumulate,
    case_of,
    outcome_file,
    turning_point,
)
from workbench.editing.suite.held_out import held_out_perplexity
from workbench.editing.suite.regression import (
    PERPLEXITY_LIMIT,
    Measurement,
    SuiteRequest,
    SuiteResult,
    baseline,
    run_suite,
)
from workbench.editing.suite.scores import RoleScore, harmonics, mean_scores, sure
from workbench.errors import InputError, NumericalError
from workbench.models.tokentext import display
from workbench.numbers import rounded
from workbench.paths import written_path
from workbench.protocol import Check, Frozen, Progress, Result, part
from workbench.remembering import remember, remembered
from workbench.shards import RecordsSweep

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


class FactsEditRequest(WithSettings, RecordsSweep):
    """Ask ``editor`` to edit every record by itself, or in sequence, or so many together as a ``batch`` holds.

    In a ``sequence`` the scores of all records edited so far are measured after 1, 2, 5, 10, 20, … edits. Batches are
    kept as a sequence is, and measured after each; past 100 edits either is measured every 100.
    """

    OVER: ClassVar[str] = "records"

    kind: Literal["edit-facts"] = "edit-facts"
    records: tuple[EditRecord, ...]
    sequence: Annotated[bool, Field(description="Keep every record's edit: how many does the model bear?")] = False
    batch: Annotated[
        int | None, Field(ge=1, le=100_000, description="Edit so many records together, and keep each batch.")
    ] = None

    def cannot_be_shared(self) -> str:
        """Edits that stay are computed with those before them."""
        return "edits on top of each other are made one after the other" if self.sequence or self.batch else ""


def named_records(name: str, limit: int | None) -> tuple[EditRecord, ...]:
    """The first records of a file. Raises `InputError`."""
    return read_records(written_path(name))[:limit]


class FailingFact(Frozen):
    """A fact that did not pass after its record's edit.

    ``unknown``: it need not have, as the unedited model does not know it either; ``first_position`` says that its place
    in the prompt is why.
    """

    record: str
    role: Role
    prepend: Prepend
    prompt: str
    wanted: str
    says: str
    first_position: bool
    unknown: bool = False


class RecordOutcome(Frozen):
    """What editing one record gave; ``perplexity`` is that of held-out text, ``seconds`` those of computing it.

    ``size`` is that of the change as a part of its matrices, ``bytes`` of the edit as a patch.
    """

    id: str
    title: str
    layers: tuple[int, ...]
    scores: tuple[RoleScore, ...]
    overlapping: tuple[RoleScore, ...] = ()
    failing: tuple[FailingFact, ...]
    perplexity: float
    size: float
    bytes: int | None = None
    seconds: float


class FactsEditResult(Result):
    """``scores`` are means over the records' own, each with the unedited model's beside it; so are ``harmonic``.

    ``unusable`` maps a record that could not be edited to the reason. ``points`` are there for a sequence and for
    batches alone, ``perplexity_worst`` for single edits alone. ``perplexity`` is the mean over single edits, with its
    interval, or that of all edits together. ``seconds`` and ``bytes`` are those of an edit of one record, in the mean.
    """

    kind: Literal["edit-facts"] = "edit-facts"
    scores: tuple[RoleScore, ...]
    harmonic: dict[Prepend, float | None]
    harmonic_before: dict[Prepend, float | None]
    overlapping: tuple[RoleScore, ...] = ()
    perplexity_before: float
    perplexity: float | None = None
    perplexity_interval: tuple[float, float] | None = None
    perplexity_worst: float | None = None
    seconds: float | None = None
    bytes: float | None = None
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
    groups = _groups(request)
    if request.shard and (why := request.cannot_be_shared()):
        raise InputError(f"{why}, so they cannot be shared out; leave --shard, --sequence or --batch out")
    with model.edits.all_off():
        before = rounded(held_out_perplexity(model))
        if groups is None:
            return _singly(model, request, before, progress)
        return _on_top_of_each_other(model, request, groups, before, progress)


def _groups(request: FactsEditRequest) -> list[tuple[EditRecord, ...]] | None:
    """The records that are edited together, in order; None where each is edited by itself and taken back."""
    if request.batch is None:
        return [(record,) for record in request.records] if request.sequence else None
    by = editor(request.editor)
    if request.sequence:
        raise InputError("a batch is kept as a sequence is; leave --sequence or --batch out")
    if not by.many:
        raise InputError(f"{by.title} edits one fact at a time; leave --batch out or use --sequence")
    size = request.batch
    groups = [request.records[first : first + size] for first in range(0, len(request.records), size)]
    for group in groups:
        _check_conflicts(group)
    return groups


def _check_conflicts(records: Sequence[EditRecord]) -> None:
    """Raise `InputError` where two records of a batch want something of the same prompt."""
    seen: dict[str, EditRecord] = {}
    for record in records:
        case = record.case
        other = seen.setdefault(case.prompt, record)
        if other is not record:
            answers = " and ".join(display(str(each.case.target).strip()) for each in (other, record))
            raise InputError(
                f"records {other.id} and {record.id} of one batch edit the same prompt, “{display(case.prompt)}”, to "
                f"{answers}; leave one of them out"
            )


# --- Each by itself ---


def _singly(model: LoadedModel, request: FactsEditRequest, before: float, progress: Progress) -> FactsEditResult:
    outcomes: list[RecordOutcome] = []
    unusable: dict[str, str] = {}
    own: tuple[EditRecord, ...] = request.own
    total = 100 * len(own)
    for number, record in enumerate(own):
        found = _found(outcomes, before, unusable) if outcomes else None
        progress(100 * number, total, found, stage=f"record {number + 1} of {len(own)}")
        file = outcome_file(model, editor(request.editor), request.settings, record.model_dump_json())
        outcome = remembered(file, RecordOutcome)
        if outcome is None:
            try:
                within = part(progress, 100 * number, 100, total, f"record {number + 1}: {{}}", lambda _: found)  # noqa: B023
                outcome = _outcome(model, request, record, within)
            except (InputError, NumericalError) as error:
                unusable[record.id] = str(error)
                continue
            remember(file, outcome)
        outcomes.append(outcome)
    if request.shard is not None:
        return _of_shard(outcomes, before, unusable)
    return _whole(outcomes, before, unusable)


def _whole(outcomes: Sequence[RecordOutcome], before: float, unusable: dict[str, str]) -> FactsEditResult:
    if not outcomes:
        raise InputError(f"no record could be edited; the first: {next(iter(unusable.values()))}")
    return _found(outcomes, before, unusable, intervals=True)


def _of_shard(outcomes: Sequence[RecordOutcome], before: float, unusable: dict[str, str]) -> FactsEditResult:
    """What `collect` needs of a shard, which may have no record that could be edited."""
    if outcomes:
        return _found(outcomes, before, unusable)
    said = Check(name="records", text=f"{len(unusable)} could not be edited", level="warn")
    nothing = {"scores": (), "harmonic": {}, "harmonic_before": {}, "checks": (said,)}
    return FactsEditResult(perplexity_before=before, unusable=dict(unusable), **nothing)


def collect(request: FactsEditRequest, shards: Sequence[FactsEditResult]) -> FactsEditResult:
    """What one run of all records gives, from the results of the shards, in their order."""
    outcomes: dict[int, RecordOutcome] = {}
    why: dict[str, str] = {}
    for number, result in enumerate(shards, 1):
        left = iter(result.records)
        for place in request.sharded(number, len(shards)).places:
            if request.records[place].id not in result.unusable:
                outcomes[place] = next(left)
        why |= result.unusable
    if len({result.perplexity_before for result in shards}) > 1:
        raise InputError("the shards were not run on the same model: without edits their perplexity differs")
    unusable = {record.id: why[record.id] for record in request.records if record.id in why}
    return _whole([outcomes[place] for place in sorted(outcomes)], shards[0].perplexity_before, unusable)


def _made(model: LoadedModel, request: FactsEditRequest, record: EditRecord, progress: Progress) -> tuple[Made, float]:
    """The edit, and the seconds it took."""
    by, cases = editor(request.editor), (case_of(record),)
    check(model, by, cases, request.settings)
    began = time.perf_counter()
    return by.make(model, cases, request.settings, progress), time.perf_counter() - began


def _outcome(model: LoadedModel, request: FactsEditRequest, record: EditRecord, progress: Progress) -> RecordOutcome:
    made, seconds = _made(model, request, record, progress)
    before = _measure_unedited(model, record.suite)
    with model.edits.added(made.edit):
        tested = run_suite(model, record.suite, before=before, generate=False, held_out=False)
        now = held_out_perplexity(model)
    return RecordOutcome(
        id=record.id,
        title=made.edit.info.title,
        layers=made.edit.info.layers,
        scores=tested.scores,
        overlapping=tested.overlapping,
        failing=_failing(record.id, tested),
        perplexity=rounded(now),
        size=rounded(model.edits.size(made.edit)),
        bytes=size_in_bytes(made.edit),
        seconds=round(seconds, 2),
    )


def _measure_unedited(model: LoadedModel, suite: Suite) -> Measurement:
    """Once for all editors, as the model remembers it."""
    return baseline(model, SuiteRequest(suite=suite, generate=False, held_out=False))


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
            unknown=not tested.is_failure(outcome),
        )
        for outcome in tested.failing()
    )


def _found(
    outcomes: Sequence[RecordOutcome], before: float, unusable: dict[str, str], intervals: bool = False
) -> FactsEditResult:
    """The means; their ``intervals`` take a while, and are for the end."""
    scores = mean_scores([outcome.scores for outcome in outcomes], intervals)
    values = [outcome.perplexity for outcome in outcomes]
    worst = max(values) / before - 1
    sizes = [outcome.bytes for outcome in outcomes if outcome.bytes is not None]
    text = f"{before:.2f} → {fmean(values):.2f} (worst {worst:+.1%})"
    lost = [fact for outcome in outcomes for fact in outcome.failing]
    unknown = sum(fact.unknown for fact in lost)
    checks = [
        Check(
            name="held-out perplexity",
            text=text,
            level="warn" if fmean(values) / before - 1 > PERPLEXITY_LIMIT else "ok",
        ),
        Check(
            name="failing", text=f"{len(lost) - unknown} facts, and {unknown} that are not known without edits either"
        ),
    ]
    if unusable:
        checks.append(Check(name="records", text=f"{len(unusable)} could not be edited", level="warn"))
    return FactsEditResult(
        scores=scores,
        harmonic=harmonics(scores),
        harmonic_before=harmonics(scores, before=True),
        overlapping=mean_scores([outcome.overlapping for outcome in outcomes], intervals),
        perplexity_before=before,
        perplexity=rounded(fmean(values)),
        perplexity_interval=sure(values) if intervals else None,
        perplexity_worst=max(values),
        seconds=round(fmean(outcome.seconds for outcome in outcomes), 2),
        bytes=rounded(fmean(sizes)) if sizes else None,
        records=tuple(outcomes),
        unusable=dict(unusable),
        checks=tuple(checks),
    )


# --- On top of each other ---


def _on_top_of_each_other(
    model: LoadedModel,
    request: FactsEditRequest,
    groups: Sequence[Sequence[EditRecord]],
    before: float,
    progress: Progress,
) -> FactsEditResult:
    """Every edit is computed on the model with those before it."""

    def report(points: Sequence[SequencePoint], unusable: dict[str, str]) -> FactsEditResult:
        told = advice(model.info.fingerprint, len(groups))
        found = _sequence_found(points, before, unusable)
        return found.model_copy(update={"checks": (*found.checks, *([told] if told else []))})

    by = editor(request.editor)
    points, unusable = accumulate(model, by, request.settings, groups, progress, report)
    if not points:
        raise InputError(f"no record could be edited; the first: {next(iter(unusable.values()))}")
    remember_curve(model, by, points, before, request.batch)
    return report(points, unusable)


def _sequence_found(points: Sequence[SequencePoint], before: float, unusable: dict[str, str]) -> FactsEditResult:
    last = points[-1]
    turned = turning_point(points, before)
    said = f"turns at {turned} edits" if turned else f"has not turned by {last.edits} edits"
    checks = [Check(name="sequence", text=said, level="warn" if turned else "ok")]
    if unusable:
        checks.append(Check(name="records", text=f"{len(unusable)} could not be edited", level="warn"))
    return FactsEditResult(
        scores=last.scores,
        harmonic=last.harmonic,
        harmonic_before=harmonics(last.scores, before=True),
        overlapping=last.overlapping,
        perplexity_before=before,
        perplexity=last.perplexity,
        seconds=None if last.seconds is None else round(last.seconds / last.edits, 2),
        bytes=None if last.size is None else rounded(last.size / last.edits),
        points=tuple(points),
        unusable=dict(unusable),
        checks=tuple(checks),
    )
