"""Edits on top of each other, one by one or in batches: how many does the model bear?

Every edit is computed on the model with those before it. What was made and measured is kept in the cache, so that an
interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.case import Case, Prepend
from workbench.datasets.suites import EditRecord, Suite
from workbench.editing.editor import Capacity, Editor, Settings
from workbench.editing.patches import keep_edit, kept_edit, size_in_bytes
from workbench.editing.queue import Edit
from workbench.editing.rewriting import without_foil
from workbench.editing.suite.held_out import held_out_perplexity
from workbench.editing.suite.regression import Measurement, SuiteRequest, SuiteResult, baseline, run_suite
from workbench.editing.suite.scores import RoleScore, harmonics, mean_scores, overlapping_scores, role_scores
from workbench.errors import InputError, NumericalError
from workbench.numbers import rounded
from workbench.paths import cache_folder
from workbench.protocol import Frozen, Progress, part
from workbench.remembering import remember, remembered

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

FEW = 30
"""Records of which fewer give a score that moves by chance: no turn is seen in it."""

TURNED = 0.1
"""A chart of sequential edits has turned where its score lies so far under its best, or perplexity grew by as much."""

OFTEN, SELDOM = 100, 100
"""Up to so many edits a sequence is measured every 10, after that every so many: each measures all records so far."""

MEASURED = "3"
"""To be raised when records are measured in another way: what the cache holds of before is not read any more."""


class SequencePoint(Frozen):
    """After so many edits: scores of all records so far by what is prepended, and the held-out perplexity.

    ``seconds`` are those of computing all the edits, ``size`` their bytes. ``capacity`` is there for an editor whose
    room is counted.
    """

    edits: int
    scores: tuple[RoleScore, ...]
    harmonic: dict[Prepend, float | None]
    overlapping: tuple[RoleScore, ...] = ()
    perplexity: float
    seconds: float | None = None
    size: int | None = None
    capacity: Capacity | None = None


class _MadeEdit(Frozen):
    """What the cache keeps of an edit beside itself."""

    edit: str
    seconds: float
    capacity: Capacity | None = None


@dataclass
class _Run:
    """A run that is under way."""

    model: LoadedModel
    by: Editor
    settings: Settings
    edits: list[Edit] = field(default_factory=list)
    done: list[EditRecord] = field(default_factory=list)
    points: list[SequencePoint] = field(default_factory=list)
    unusable: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    capacity: Capacity | None = None  # with all edits on
    unedited: Measurement = field(default_factory=lambda: Measurement(free={}))
    measured: int = 0  # records of ``done`` that are in ``unedited``

    def add(self, records: Sequence[EditRecord], progress: Progress) -> bool:
        """Make one edit of these records, with those before it on, and say whether there is one.

        Records that cannot be edited are noted and left out.
        """
        fit = [record for record in records if self._fits(record)]
        cases = tuple(map(case_of, fit))
        if not cases:
            return False
        file = self._file(*(case.model_dump_json() for case in cases))
        if (known := remembered(file, _MadeEdit)) and (edit := self._kept(known.edit)):
            seconds, capacity = known.seconds, known.capacity
        else:
            began = time.perf_counter()
            try:
                self.by.check(cases, self.settings)
                with self.model.edits.only(self.edits):
                    made = self.by.make(self.model, cases, self.settings, progress)
            except (InputError, NumericalError) as error:
                self.unusable.update(dict.fromkeys((record.id for record in fit), str(error)))
                return False
            seconds, edit, capacity = time.perf_counter() - began, made.edit, made.capacity
            keep_edit(self.model.info.fingerprint, edit)
            remember(file, _MadeEdit(edit=edit.info.id, seconds=round(seconds, 2), capacity=capacity))
        self.edits.append(edit)
        self.capacity = capacity
        self.done += fit
        self.seconds += seconds
        return True

    def measure(self, progress: Progress) -> None:
        """Measure all records so far with all edits so far."""
        file = self._file("point", *(record.model_dump_json() for record in self.done))
        point = remembered(file, SequencePoint)
        if point is None:
            point = self._point(progress)
            remember(file, point)
        self.points.append(point)

    def _fits(self, record: EditRecord) -> bool:
        """Whether this record by itself can be edited: in a batch one that cannot would take the others along."""
        try:
            self.by.check((case_of(record),), self.settings)
            self.by.fits(self.model, (case_of(record),), self.settings)
        except InputError as error:
            self.unusable[record.id] = str(error)
            return False
        return True

    def _kept(self, id: str) -> Edit | None:  # noqa: A002 - what it is called everywhere
        try:
            return kept_edit(self.model, id)
        except InputError:  # it was cleared away
            return None

    def _file(self, *parts: str) -> Path:
        before = (edit.info.id for edit in self.edits)
        return outcome_file(self.model, self.by, self.settings, "sequence", *before, *parts)

    def _point(self, progress: Progress) -> SequencePoint:
        self._measure_unedited()
        suite = together(self.done)
        with self.model.edits.only(self.edits):
            tested = run_suite(self.model, suite, progress, before=self.unedited, generate=False, held_out=False)
            now = held_out_perplexity(self.model)
        each = list(by_record(self.done, tested))
        scores = mean_scores([scores for scores, _ in each], intervals=True)
        return SequencePoint(
            edits=len(self.done),
            scores=scores,
            harmonic=harmonics(scores),
            overlapping=mean_scores([scores for _, scores in each], intervals=True),
            perplexity=rounded(now),
            seconds=round(self.seconds, 2),
            size=sum(map(size_in_bytes, self.edits)),
            capacity=self.capacity,
        )

    def _measure_unedited(self) -> None:
        """Of the records that came since the last time: once for all editors, as the model remembers it."""
        first = sum(len(record.suite.facts) for record in self.done[: self.measured])
        request = SuiteRequest(suite=together(self.done[self.measured :]), generate=False, held_out=False)
        new = baseline(self.model, request)
        self.unedited.readings.update({(first + fact, prepend): one for (fact, prepend), one in new.readings.items()})
        free = {(first + fact, prepend): one for (fact, prepend), one in (new.free or {}).items()}
        self.unedited.free = {**(self.unedited.free or {}), **free}
        self.measured = len(self.done)


def accumulate(
    model: LoadedModel,
    by: Editor,
    settings: Settings,
    groups: Sequence[Sequence[EditRecord]],
    progress: Progress,
    report: Callable[[Sequence[SequencePoint], dict[str, str]], Frozen],
) -> tuple[list[SequencePoint], dict[str, str]]:
    """Make one edit of each group, on top of each other. Returns what was measured, and why records were left out.

    ``report`` makes a partial result of that; progress counts a hundred for a record.
    """
    run = _Run(model, by, settings)
    total, before = 100 * sum(map(len, groups)), 0
    for number, group in enumerate(groups):
        so_far = report(run.points, run.unusable) if run.points else None
        share, end = 100 * len(group), len(run.done)
        stage = f"edit {number + 1} of {len(groups)}: {{}}"
        made = run.add(group, part(progress, before, share, total, stage, lambda _: so_far))  # noqa: B023
        before += share
        last = number == len(groups) - 1
        if (made and is_measured(end, len(run.done))) or (last and len(run.done) > _edits(run.points)):
            run.measure(part(progress, before, 0, total, f"measuring after {len(run.done)} edits", lambda _: so_far))  # noqa: B023
            progress(before, total, report(run.points, run.unusable), stage="measuring")
    return run.points, run.unusable


def is_measured(before: int, edits: int) -> bool:
    """Whether a sequence that has grown from so many edits to so many is measured now.

    At 1, 2, 5, 10, 20, … 100, 200, … edits; and up to 100 after each batch.
    """
    marks = (1, 2, 5, *range(10, OFTEN, 10), *range(OFTEN, edits + 1, SELDOM))
    grown = edits - before > 1 and edits <= OFTEN  # after each batch
    return grown or any(before < mark <= edits for mark in marks)


def _edits(points: Sequence[SequencePoint]) -> int:
    return points[-1].edits if points else 0


def together(records: Iterable[EditRecord]) -> Suite:
    facts = tuple(fact for record in records for fact in record.suite.facts)
    return Suite(name="records", facts=facts)


def by_record(
    records: Iterable[EditRecord], tested: SuiteResult
) -> Iterable[tuple[tuple[RoleScore, ...], tuple[RoleScore, ...]]]:
    """Each record's own scores, and those of its neighbors that share a word with its subject."""
    first = 0
    by_fact: dict[int, list[int]] = {}
    for place, outcome in enumerate(tested.outcomes):
        by_fact.setdefault(outcome.fact, []).append(place)
    for record in records:
        own = [
            tested.outcomes[place].model_copy(update={"fact": fact})
            for fact in range(len(record.suite.facts))
            for place in by_fact[first + fact]
        ]
        yield role_scores(record.suite, own), overlapping_scores(record.suite, own)
        first += len(record.suite.facts)


def case_of(record: EditRecord) -> Case:
    """What is edited."""
    return without_foil(record.case)


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


# --- What is kept ---


def outcome_file(model: LoadedModel, by: Editor, settings: Settings, *parts: str) -> Path:
    """Where an outcome is kept: by weights, dtype, what the editor was trained as, and everything that is asked."""
    made_of = (MEASURED, model.info.dtype, by.name, by.trained_as(model), settings.model_dump_json(), *parts)
    name = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:32]
    return cache_folder() / "edited" / model.info.fingerprint / f"{name}.json"
