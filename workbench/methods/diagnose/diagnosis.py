"""Diagnosis: every method that says something about a failure, from cheap to dear, and what they come to together.

Each is an ordinary step of the session. The finding at the end is made by the rules in ``rules.py`` from numbers of
these steps, and is no proof of a cause: what a fix does has to be tested by a suite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from workbench.case import Case
from workbench.errors import InputError
from workbench.methods.attribution.attribution import AttributionRequest, AttributionResult
from workbench.methods.diagnose.counterfactual import CounterfactualRequest
from workbench.methods.diagnose.evidence import COMPLETE, Evidence
from workbench.methods.diagnose.proposals import (
    NEXT_CHOICE,
    OTHER_NAME,
    Proposal,
    known_fact,
    propose_answers,
    propose_subject,
)
from workbench.methods.diagnose.rules import Failure, FindingSentence, FixKind, find
from workbench.methods.diagnose.stability import StabilityRequest
from workbench.methods.generation.continuation import ContinueRequest, ContinueResult
from workbench.methods.heads.head_attribution import HeadsRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import Asking, Check, Frozen, Progress, Request, Result

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

MANY_TOKENS = 64
"""A longer prompt is looked at through the lens at its last token only."""

AGREE = 0.5
"""Two attributions that correlate less than this do not agree about the prompt."""

GRADIENT_TOKENS = 3_000
"""Integrated gradients take at most so many gradients times the prompt's tokens."""

FEWEST_GRADIENTS = 150
"""Of a prompt that cannot have so many of them none is computed. On the 22 tokens of “Peter lives in Berlin. Emma lives
in Oslo. …” not even 800 converge, and the 136 that are affordable took two fifths of the diagnosis."""


class DiagnoseRequest(Request):
    """Ask what kind of failure a case shows. Whatever of subject, target and foil is not named is proposed."""

    kind: Literal["diagnose"] = "diagnose"
    case: Case


class AskedStep(Frozen):
    """A step that the diagnosis asked for, by its number (0 where nothing is recorded), and ``why`` it failed."""

    step: int
    method: str
    about: str
    why: str = ""


class DiagnoseResult(Result):
    """``case`` has what was proposed filled in. ``failure`` is None until all is measured.

    ``sentences`` are two to five, each with its number. ``margin`` is the target's probability minus the foil's, as
    asked. ``fixes`` are worth trying, the most promising first.
    """

    kind: Literal["diagnose"] = "diagnose"
    case: Case
    proposals: tuple[Proposal, ...] = ()
    steps: tuple[AskedStep, ...] = ()
    failure: Failure | None = None
    title: str = ""
    sentences: tuple[FindingSentence, ...] = ()
    margin: float | None = None
    advice: str = ""
    fixes: tuple[FixKind, ...] = ()


def diagnose(model: LoadedModel, request: DiagnoseRequest, progress: Progress, ask: Asking) -> DiagnoseResult:
    """Ask every method in turn, and conclude. A method that cannot be had is named with its reason.

    Raises `InputError` for a case that cannot be encoded.
    """
    return _Diagnosis(model, request.case, progress, ask).conclude()


class _Diagnosis:
    """What is known so far."""

    def __init__(self, model: LoadedModel, case: Case, progress: Progress, ask: Asking) -> None:
        self._model = model
        self._case = case
        self._progress = progress
        self._ask = ask
        self._asked: list[AskedStep] = []
        self._proposals: tuple[Proposal, ...] = ()
        self._found: dict[str, tuple[int, Result]] = {}

    def conclude(self) -> DiagnoseResult:
        """Run every stage, then judge."""
        n_tokens = len(self._model.encode(self._case).ids)  # what cannot be encoded is said before anything is asked
        positions = None if n_tokens <= MANY_TOKENS else (-1,)
        stages: tuple[tuple[str, str, Callable[[], Request | str]], ...] = (
            ("continue", "what the model says", lambda: ContinueRequest(case=self._case)),
            ("stability", "other phrasings and starts", lambda: StabilityRequest(case=self._with_answers())),
            ("attribution", "the input, by integrated gradients", self._attribution),
            (
                "occlusion",
                "the input, by occlusion",
                lambda: AttributionRequest(case=self._case, method="occlusion", unit="word"),
            ),
            ("counterfactual", "the smallest change", lambda: CounterfactualRequest(case=self._with_subject())),
            ("lens", "the layers", lambda: LensRequest(case=self._case, positions=positions)),
            ("heads", "what heads and MLPs write", lambda: HeadsRequest(case=self._case)),
            ("trace", "the place", self._trace),
        )
        for number, (name, about, make) in enumerate(stages):
            self._progress(number, len(stages), self._result(), stage=about)
            self._step(name, about, make)
        return self._judged()

    def _step(self, name: str, about: str, make: Callable[[], Request | str]) -> None:
        request = make()
        if isinstance(request, str):
            self._asked.append(AskedStep(step=0, method=name, about=about, why=request))
            return
        answered = self._ask(request)
        self._asked.append(AskedStep(step=answered.id, method=name, about=about, why=answered.why))
        if answered.result is not None:
            self._found[name] = answered.id, answered.result

    def _with_answers(self) -> Case:
        """The case with target and foil, and with the subject where the shipped facts know it."""
        if known_fact(self._case) is not None:
            self._take(*propose_subject(self._case, {}))
        found = self._found.get("continue")
        if found is not None and isinstance(found[1], ContinueResult) and found[1].generated:
            first = found[1].generated[0]
            self._take(*propose_answers(self._case, first.text, first.runner_up))
        return self._case

    def _with_subject(self) -> Case:
        """The case with a subject."""
        found = self._found.get("occlusion")
        moved: dict[str, float] = {}
        if found is not None and isinstance(found[1], AttributionResult):
            texts, scores = found[1].encoded.texts, found[1].scores
            for start, stop in found[1].units:
                moved["".join(texts[start:stop]).strip()] = sum(scores[start:stop])
        self._take(*propose_subject(self._case, moved))
        return self._case

    def _take(self, case: Case, proposals: tuple[Proposal, ...]) -> None:
        """What is proposed, if the model can read the case with it."""
        try:
            self._model.encode(case)
        except InputError:
            return
        self._case, self._proposals = case, (*self._proposals, *proposals)

    def _attribution(self) -> Request | str:
        tokens = len(self._model.encode(self._case).ids)
        affordable = GRADIENT_TOKENS // tokens
        if affordable < FEWEST_GRADIENTS:
            return f"at {tokens} tokens it takes too long; ask for it by itself"
        request = AttributionRequest(case=self._case, tolerance=COMPLETE)
        return request.model_copy(update={"limit": min(request.limit, affordable)})

    def _trace(self) -> Request | str:
        """No finding rests on it but that of a fact that is recalled, and it is two fifths of the work on a passage."""
        if not self._case.subject:
            return "it needs a subject"
        if find(self._evidence()).failure == "context":
            return "the answer is copied from the prompt, and not recalled; ask for it by itself"
        return TraceRequest(case=self._case, kinds=("states", "mlp"))

    def _result(self) -> DiagnoseResult:
        return DiagnoseResult(case=self._case, proposals=self._proposals, steps=tuple(self._asked))

    def _evidence(self) -> Evidence:
        guessed = any(each.origin in (OTHER_NAME, NEXT_CHOICE) for each in self._proposals)
        return Evidence(self._case, self._found, guessed)

    def _judged(self) -> DiagnoseResult:
        evidence = self._evidence()
        rule = find(evidence)
        return DiagnoseResult(
            case=self._case,
            proposals=self._proposals,
            steps=tuple(self._asked),
            failure=rule.failure,
            title=rule.title,
            sentences=tuple(rule.says(evidence))[:5],
            margin=evidence.margin,
            advice=rule.advice,
            fixes=rule.fixes,
            checks=_checks(evidence, self._asked, self._proposals),
        )


def _checks(evidence: Evidence, asked: list[AskedStep], proposals: tuple[Proposal, ...]) -> tuple[Check, ...]:
    found: list[Check] = []
    failed = [f"{each.method} ({each.why})" for each in asked if each.why and each.step]
    spared = [f"{each.method} ({each.why})" for each in asked if each.why and not each.step]
    if failed:
        found.append(Check(name="not measured", text="; ".join(failed), level="warn"))
    if spared:
        found.append(Check(name="not asked", text="; ".join(spared), level="info"))
    guessed = [each.part for each in proposals if each.origin != "the shipped facts"]
    if guessed:
        found.append(
            Check(name="proposed", text=f"{', '.join(guessed)}: look whether it is what was meant", level="warn")
        )
    if evidence.agreement is not None and not evidence.complete:
        text = "integrated gradients have not converged, and say nothing about occlusion"
        found.append(Check(name="agreement", text=text, level="warn"))
    elif evidence.agreement is not None:
        text = f"two attributions correlate {evidence.agreement:.2f}"
        found.append(Check(name="agreement", text=text, level="ok" if evidence.agreement >= AGREE else "warn"))
    found.append(Check(name="a finding", text="is no proof of a cause: test a fix by its suite"))
    return tuple(found)
