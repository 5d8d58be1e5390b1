"""The regression suite: what an edit changed that it should, and what it changed that it should not.

Every fact of a suite is put to the model as it is now and to the model without any edit, and both answers are
compared. What the scores mean is in ``docs/suites.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from workbench.case import Prepend
from workbench.datasets.suites import Role, Suite
from workbench.editing.suite import repetition
from workbench.editing.suite.answers import FactKey, FactReading, evaluate
from workbench.editing.suite.free import Continuation, continue_freely
from workbench.editing.suite.held_out import held_out_key, held_out_perplexity
from workbench.editing.suite.scores import FactOutcome, RoleScore, harmonics, overlapping_scores, role_scores
from workbench.editing.suite.unedited import Unedited, keep, key_of, known
from workbench.errors import InputError
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Progress, Request, Result, silent
from workbench.shapes import different, within

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

PREPENDS: tuple[Prepend, ...] = ("as-is", "separator")
PERPLEXITY_LIMIT = 0.01
"""A held-out perplexity that grew by more than this part is a warning: edits of facts should not be felt there."""

ENTROPY_LIMIT = 0.1
"""The same for generated text whose n-gram entropy has fallen by more than this part."""

PERPLEXITY_WORK, FREE_WORK, TEXT_WORK = 20, 20, 40
"""What these count for in the progress: they take about as long as so many facts."""


class SuiteRequest(Request):
    """Ask for a suite, with each of ``prepends`` before its prompts.

    Without ``free`` no fact is continued freely, without ``generate`` no text is generated, without ``held_out`` its
    perplexity is not measured.
    """

    kind: Literal["suite"] = "suite"
    suite: Suite
    prepends: tuple[Prepend, ...] = PREPENDS
    seed: int = 0
    generate: bool = True
    held_out: bool = True
    free: bool = True


class SuiteResult(Result):
    """``harmonic`` is that mean of efficacy, generalization and specificity, None where one is missing.

    Where two of ``prepends`` make the same prompts, these are counted once, as the first of them.
    ``overlapping`` scores the neighbors again that share a word with the subject. ``perplexity`` is that of held-out
    text; ``entropy`` that of generated text in bits, None when none was generated. What was not measured yet when the
    suite was stopped is None too, and ``outcomes`` holds the facts that were.
    """

    kind: Literal["suite"] = "suite"
    suite: Suite
    scores: tuple[RoleScore, ...]
    outcomes: tuple[FactOutcome, ...]
    harmonic: dict[Prepend, float | None]
    harmonic_before: dict[Prepend, float | None]
    overlapping: tuple[RoleScore, ...] = ()
    perplexity: float | None = None
    perplexity_before: float | None = None
    entropy: float | None = None
    entropy_before: float | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for outcome in self.outcomes:
            within("a fact", outcome.fact, len(self.suite.facts))
        different("scores", ((score.role, score.prepend) for score in self.scores))
        return self

    def score(self, role: Role, prepend: Prepend) -> RoleScore | None:
        """The scores of one role with what is prepended."""
        return next((score for score in self.scores if (score.role, score.prepend) == (role, prepend)), None)

    def failing(self) -> tuple[FactOutcome, ...]:
        """What does not pass now: first what passed without edits, last what is no failure of the edit."""
        failing = [outcome for outcome in self.outcomes if not outcome.after.passes]
        return tuple(sorted(failing, key=lambda outcome: (not outcome.before.passes, not self.is_failure(outcome))))

    def is_failure(self, outcome: FactOutcome) -> bool:
        """Whether the edit is to blame that a fact does not pass, and not what the model knew before."""
        return outcome.is_failure(self.suite.facts[outcome.fact].role)


@dataclass
class Measurement:
    """What a suite gives with the weights of one moment, filled as it is found. What was not asked for is None."""

    readings: dict[FactKey, FactReading] = field(default_factory=dict)
    perplexity: float | None = None
    entropy: float | None = None
    free: dict[FactKey, Continuation] | None = None


def run(model: LoadedModel, request: SuiteRequest, progress: Progress) -> SuiteResult:
    """Measure a suite with the edits that are on, and compare with the baseline.

    Progress counts facts; held-out and generated text count as some. A partial result has the facts answered so far.
    Raises `InputError` for a request that makes no sense and for a fact that cannot be encoded (it is named),
    `NumericalError` for NaN logits.
    """
    return _compare(model, request, progress, None)


def run_suite(
    model: LoadedModel,
    suite: Suite,
    progress: Progress = silent,
    *,
    before: Measurement | None = None,
    prepends: Sequence[Prepend] = PREPENDS,
    seed: int = 0,
    generate: bool = True,
    held_out: bool = True,
    free: bool = True,
) -> SuiteResult:
    """As `run`, against ``before`` where that is known: a hundred edits need no more than one `baseline`."""
    request = SuiteRequest(
        suite=suite, prepends=tuple(prepends), seed=seed, generate=generate, held_out=held_out, free=free
    )
    return _compare(model, request, progress, before)


def baseline(model: LoadedModel, request: SuiteRequest, progress: Progress = silent) -> Measurement:
    """Measure with every edit off what is not known of that yet, so that a rerun costs one pass and not two.

    Each part is kept by what it depends on: different suites share the held-out and the generated text. The facts of
    a whole suite are kept for the next session too, but not those of a thousand records, which ask for neither text.
    """
    _check(request)
    found, lacking = Measurement(), list[tuple[str, str]]()
    on_disk = request.generate or request.held_out
    for part, key in _parts(request).items():
        kept = known(model, key, on_disk=on_disk)
        if kept is None:
            lacking.append((part, key))
            continue
        value = getattr(kept, part)
        setattr(found, part, dict(value) if isinstance(value, tuple) else rounded(value))
    if lacking:
        with model.edits.all_off():
            measure(model, request, progress, found)
    for part, key in lacking:
        value = getattr(found, part)
        part_of_it = {part: tuple(value.items()) if isinstance(value, dict) else value}
        if part != "perplexity":  # which is kept where it is measured
            keep(model, key, Unedited.model_validate(part_of_it), on_disk=on_disk)
    return found


def _parts(request: SuiteRequest) -> dict[str, str]:
    """The parts of a measurement that a request asks for, and what each is kept under."""
    suite = request.suite
    keys = {"readings": key_of("facts", request.prepends, suite.facts)}
    if request.free:
        keys["free"] = key_of("continued", request.prepends, suite.facts)
    if request.held_out:
        keys["perplexity"] = held_out_key()
    if request.generate and suite.generation_prompts:
        keys["entropy"] = key_of("generated text", repetition.TOKENS, request.seed, suite.generation_prompts)
    return keys


def measure(
    model: LoadedModel, request: SuiteRequest, progress: Progress = silent, into: Measurement | None = None
) -> Measurement:
    """Measure with the weights as they are now, as much as ``into`` does not hold yet."""
    _check(request)
    into = Measurement() if into is None else into
    facts = len(request.suite.facts) * len(request.prepends)
    total = facts + PERPLEXITY_WORK + FREE_WORK + TEXT_WORK
    if not into.readings:
        evaluate(model, request.suite, request.prepends, _part(progress, 0, facts, total), into.readings)
    if _lacks_perplexity(request, into):
        progress(facts, total, stage="held-out perplexity")
        into.perplexity = rounded(held_out_perplexity(model))
    if _lacks_free(request, into):
        part = _part(progress, facts + PERPLEXITY_WORK, FREE_WORK, total)
        prepends = dict.fromkeys(prepend for _, prepend in into.readings)
        into.free = continue_freely(model, request.suite, prepends, part)
    if _lacks_text(request, into):
        part = _part(progress, facts + PERPLEXITY_WORK + FREE_WORK, TEXT_WORK, total)
        prompts = request.suite.generation_prompts
        texts = repetition.generated(model, prompts, repetition.TOKENS, request.seed, part)
        into.entropy = rounded(repetition.ngram_entropy(texts))
    return into


def _compare(model: LoadedModel, request: SuiteRequest, progress: Progress, before: Measurement | None) -> SuiteResult:
    halves = 100
    unedited = before or baseline(model, request, _part(progress, 0, halves, 2 * halves, "without edits"))
    now = Measurement()

    def found() -> SuiteResult:
        return _result(request, unedited, now)

    measure(model, request, _part(progress, halves, halves, 2 * halves, "as it is now", found), now)
    return found()


def _check(request: SuiteRequest) -> None:
    if not request.suite.facts:
        raise InputError(f"the suite {request.suite.name} has no facts; give it at least one")
    if not request.prepends or len(set(request.prepends)) < len(request.prepends):
        raise InputError("name what is prepended to the prompts, each once: as-is, separator, newline")
    if not 0 <= request.seed < 2**32:
        raise InputError(f"the seed must be between 0 and {2**32 - 1}, not {request.seed}")


def _lacks_perplexity(request: SuiteRequest, found: Measurement) -> bool:
    return request.held_out and found.perplexity is None


def _lacks_free(request: SuiteRequest, found: Measurement) -> bool:
    return request.free and found.free is None


def _lacks_text(request: SuiteRequest, found: Measurement) -> bool:
    return request.generate and bool(request.suite.generation_prompts) and found.entropy is None


def _part(
    progress: Progress,
    before: int,
    share: int,
    whole: int,
    when: str = "",
    found: Callable[[], SuiteResult] | None = None,
) -> Progress:
    """The progress of a part that begins ``before`` and takes ``share`` of the ``whole``."""

    def report(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:
        now = partial if found is None else found()
        progress(before + share * done // max(total, 1), whole, now, stage=f"{stage} {when}".strip())

    return report


# --- Scores ---


def _result(request: SuiteRequest, before: Measurement, now: Measurement) -> SuiteResult:
    suite = request.suite
    outcomes = tuple(
        _outcome(key, before.readings[key], reading, (before.free or {}).get(key), (now.free or {}).get(key))
        for key, reading in sorted(
            now.readings.items(), key=lambda item: (request.prepends.index(item[0][1]), item[0][0])
        )
    )
    scores = role_scores(suite, outcomes)
    return SuiteResult(
        suite=suite,
        scores=scores,
        outcomes=outcomes,
        harmonic=harmonics(scores),
        harmonic_before=harmonics(scores, before=True),
        overlapping=overlapping_scores(suite, outcomes),
        perplexity=now.perplexity,
        perplexity_before=before.perplexity,
        entropy=now.entropy,
        entropy_before=before.entropy,
        checks=tuple(_checks(request, outcomes, before, now)),
    )


def _outcome(
    key: FactKey, before: FactReading, now: FactReading, free_before: Continuation | None, free: Continuation | None
) -> FactOutcome:
    return FactOutcome(
        fact=key[0],
        prepend=key[1],
        before=before.answer,
        after=now.answer,
        first_position=before.bare and not before.known,
        free=free,
        free_before=free_before,
    )


def _checks(
    request: SuiteRequest, outcomes: Sequence[FactOutcome], before: Measurement, now: Measurement
) -> Iterable[Check]:
    asked = len(before.readings)
    failing = [outcome for outcome in outcomes if not outcome.after.passes]
    blamed = [outcome for outcome in failing if outcome.is_failure(request.suite.facts[outcome.fact].role)]
    unknown = len(failing) - len(blamed)
    text = f"{len(outcomes) - len(failing)} of {len(outcomes)} pass"
    text += f", {unknown} not known without edits either" if unknown else ""
    yield Check(name="suite", text=text, level="warn" if blamed else "ok")
    prepends = {prepend for _, prepend in before.readings}
    if same := [prepend for prepend in request.prepends if prepend not in prepends]:
        text = f"{' and '.join(same)} is what the tokenizer does as it is, and counted once"
        yield Check(name="prepended", text=text)
    if len(outcomes) < asked:
        yield Check(name="facts", text=f"{len(outcomes)} of {asked} answered", level="warn")
    if lost := sum(outcome.first_position for outcome in failing):
        text = f"{lost} of {len(failing)} failing begin with their subject and are not known there without edits"
        yield Check(name="first position", text=text)
    yield from _change("held-out perplexity", before.perplexity, now.perplexity, lambda part: part > PERPLEXITY_LIMIT)
    yield from _change("repetition", before.entropy, now.entropy, lambda part: part < -ENTROPY_LIMIT)


def _change(name: str, before: float | None, now: float | None, suspicious: Callable[[float], bool]) -> Iterable[Check]:
    if before is not None and now is not None:
        part = now / before - 1 if before else 0.0
        text = f"{before:.4g} → {now:.4g} ({100 * part:+.1f} %)".replace("-", "−")
        yield Check(name=name, text=text, level="warn" if suspicious(part) else "ok")
