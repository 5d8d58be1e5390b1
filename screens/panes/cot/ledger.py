"""What is known about reasonings: each with everything that was done to it, and what is on its way.

Filled from requests, progress and steps as a pane hears of them, live or recorded; no widget, no model.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from screens.answers import Edits
from workbench.methods.cot.interventions import Cue, Early, Filler, Intervention, LeaveOneOut
from workbench.methods.cot.resample_result import ResampleRequest, ResampleResult
from workbench.methods.cot.result import CotResult, Outcome
from workbench.methods.cot.truncation import CotRequest
from workbench.protocol import Check


@dataclass(frozen=True)
class Done:
    """One intervention and its outcomes. ``result`` is what they stand in: answers are numbered there."""

    intervention: Intervention
    result: CotResult
    outcomes: tuple[Outcome, ...]


@dataclass
class CotRun:
    """A reasoning, and what was done to it in this and later requests. ``request`` is the first of them.

    ``resampled`` is what another pane has found of it.
    """

    request: CotRequest
    edits: Edits
    result: CotResult
    done: dict[Hashable, Done] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    resampled: ResampleResult | None = None

    @property
    def complete(self) -> bool:
        """Whether the answer is known after every part of the reasoning."""
        early = self.early
        return early is not None and len(early.outcomes) == len(self.result.sentences) + 1

    @property
    def early(self) -> Done | None:
        """Early answering."""
        return self.done.get(slot_of(Early()))

    def add(self, request: CotRequest, result: CotResult) -> None:
        """Take a result about the same reasoning."""
        if request == self.request or self.result.full is None:
            self.result = result.model_copy(update={"tokens": result.tokens or self.result.tokens})
            # What a reasoning's checks say before it has ended is not true of it.
            self.checks = self.checks | {each.name: each for each in result.checks} if result.sentences else {}
        for done in parts(request, result):
            self.done[slot_of(done.intervention)] = done

    def about(self, intervention: Intervention) -> CotRequest:
        """The request that does this to the same reasoning, of which nothing is generated again."""
        update = {"reasoning": self.result.recorded, "interventions": (intervention,)}
        return self.request.model_copy(update=update)

    def found(self, intervention: Intervention) -> Done | None:
        """What came of an intervention, if just this was done already."""
        done = self.done.get(slot_of(intervention))
        return done if done is not None and done.intervention == intervention and done.outcomes else None


@dataclass
class CotJob:
    """A request that waits or runs, and what the model is writing for it."""

    request: CotRequest
    writing: str = ""


@dataclass
class CotLedger:
    """Hears what happens to reasonings. ``at`` is the one that is looked at."""

    at: CotRun | None = None
    jobs: list[CotJob] = field(default_factory=list)
    _runs: dict[Hashable, CotRun] = field(default_factory=dict)
    _resampled: dict[Hashable, ResampleResult] = field(default_factory=dict)

    def asked(self, request: CotRequest) -> None:
        """A request waits."""
        self.jobs.append(CotJob(request))

    def under_way(self, request: CotRequest, writing: str) -> None:
        """A request runs, and the model writes for it."""
        job = next((job for job in self.jobs if job.request == request), None)
        if job is not None:
            job.writing = writing

    def ended(self, request: CotRequest) -> None:
        """A request has ended, whichever way."""
        job = next((job for job in self.jobs if job.request == request), None)
        if job is not None:
            self.jobs.remove(job)

    def waits(self, request: CotRequest) -> bool:
        """Whether this was asked and has not ended."""
        return any(job.request == request for job in self.jobs)

    def take(self, request: CotRequest, result: CotResult, edits: Edits) -> None:
        """Keep a result, finished or not, with what is known about the same reasoning; it is looked at now."""
        key = base_of(request), edits
        run = self._runs.pop(key, None)
        if run is None or run.result.reasoning != result.reasoning:
            run = CotRun(request, edits, result)
        run.add(request, result)
        run.resampled = self._resampled.get(_text_of(request.question, result, edits))
        self._runs[key] = self.at = run

    def resample(self, request: ResampleRequest, result: ResampleResult, edits: Edits) -> None:
        """Keep what resampling found, beside the reasoning that it is about, now or when that is taken."""
        key = _text_of(request.case.prompt, result.base, edits)
        self._resampled[key] = result
        for run in self._runs.values():
            if _text_of(run.request.question, run.result, run.edits) == key:
                run.resampled = result

    def known(self, request: CotRequest, edits: Edits) -> CotRun | None:
        """The complete answer to a request with these edits."""
        run = self._runs.get((base_of(request), edits))
        return run if run is not None and run.complete else None

    def last_about(self, question: str) -> CotRun | None:
        """The reasoning about a question that was taken last, whatever the edits."""
        return next((run for run in reversed(self._runs.values()) if run.request.question == question), None)

    def question_in(self, prompt: str) -> str:
        """The question that a prompt asks: itself, or that of the reasoning on which a lens was opened."""
        for run in reversed(self._runs.values()):
            cued = (o.prompt for done in run.done.values() for o in done.outcomes if o.prompt is not None)
            if any(prompt.startswith(front) for front in (run.result.prompt, *cued)):
                return run.request.question
        return prompt


def _text_of(question: str, result: CotResult, edits: Edits) -> Hashable:
    """What is the same of a reasoning in whichever pane: the question, its text and how that was read."""
    return question, result.prompt, result.lead_in, result.reasoning, edits


def base_of(request: CotRequest) -> CotRequest:
    """What requests have in common that are about the same reasoning."""
    return request.model_copy(update={"reasoning": None, "interventions": ()})


def slot_of(intervention: Intervention) -> Hashable:
    """What an intervention takes the place of: one of the same kind at the same sentence."""
    if isinstance(intervention, LeaveOneOut):
        return intervention.what, intervention.within
    if isinstance(intervention, Cue):
        return intervention.what, intervention.answer, intervention.by
    if isinstance(intervention, Early | Filler):
        return intervention.what
    return intervention.what, intervention.sentence


def parts(request: CotRequest, result: CotResult) -> Iterator[Done]:
    """The outcomes of a result, finished or not, by the interventions of its request, in whose order they stand."""
    outcomes = iter(result.outcomes)
    for intervention in request.interventions:
        number = _number(intervention, len(result.sentences))
        found = tuple(outcome for _, outcome in zip(range(number), outcomes, strict=False))
        if found:
            yield Done(intervention, result, found)


def _number(intervention: Intervention, sentences: int) -> int:
    """How many outcomes an intervention has."""
    if isinstance(intervention, Early):
        return sentences + 1
    if isinstance(intervention, LeaveOneOut):
        return sentences if intervention.within is None else intervention.within
    return sentences if isinstance(intervention, Filler) else 1
