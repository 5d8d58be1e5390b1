"""The step that makes sense next, from what has been asked about the case on the screen: the guided workflow's way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from screens.answers import Edits, active_edits
from screens.keys import Key
from workbench.case import Case
from workbench.editing.edit import EditResult
from workbench.editing.fix import FixRequest, FixResult
from workbench.editing.operations import QueueRequest
from workbench.editing.queue import QueueState
from workbench.editing.suite.regression import SuiteRequest
from workbench.methods.diagnose.diagnosis import DiagnoseRequest, DiagnoseResult
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.protocol import Request
from workbench.registry import methods
from workbench.session import Step


@dataclass(frozen=True)
class NextStep:
    """``keys`` to press, one after the other, and what they do."""

    keys: str
    does: str

    def __str__(self) -> str:
        return f"{self.keys} {self.does}"


ANOTHER = NextStep(Key.PROMPT, "asks about another prompt")
"""After the report, which is the last step of the way."""


def way_on(
    case: Case | None, steps: Iterable[Step], queue: QueueState, places: Mapping[type[Request], str]
) -> NextStep:
    """The next step. ``steps`` are those of the session; ``places`` are the keys that lead to where requests are seen.

    Ask → diagnose → fix → apply → suite → save → report; what was done by other ways than these counts too.
    """
    if case is None:
        return NextStep("type", "a prompt, then enter")
    done = [step for step in steps if step.status == "done"]
    about = [step for step in done if case in (step.case, step.completed)]
    if not about and not _came_of_a_fix(case, done):
        return NextStep("enter", "in the prompt asks")
    if queue.bypassed:
        return NextStep(Key.COMPARE, "puts the edits on again")
    if edits := active_edits(queue):
        return _with_edits(edits, done, places)
    if _came_of_a_fix(case, done):
        return NextStep(Key.REPORT, "writes the report")
    if any(isinstance(step.request, FixRequest) for step in about):
        return NextStep(f"{places[FixRequest]} enter".strip(), "applies a fix")
    diagnoses = [step.result for step in about if isinstance(step.result, DiagnoseResult)]
    if not diagnoses:
        return NextStep(_key_of(DiagnoseRequest), "diagnoses it")
    if diagnoses[-1].fixes:
        return NextStep(_key_of(FixRequest), "tries fixes")
    if diagnoses[-1].failure == "unnamed":
        return NextStep(Key.PROMPT, "names the target")
    if not any(isinstance(step.request, TraceRequest) for step in about):
        return NextStep(Key.TRACE, "traces where it sits")
    return NextStep(Key.REPORT, "writes the report")


def _with_edits(edits: Edits, done: list[Step], places: Mapping[type[Request], str]) -> NextStep:
    """A suite for these edits, then a patch, then the report."""
    edits_pane = places[QueueRequest]
    if not any(_tests(step, edits) for step in done):
        return NextStep(f"{edits_pane} {Key.CHECK}".strip(), "runs the suite")
    if not any(_saves(step) and step.edits == edits for step in done):
        return NextStep(f"{edits_pane} {Key.SAVE}".strip(), "saves a patch")
    return NextStep(Key.REPORT, "writes the report")


def _came_of_a_fix(case: Case, done: list[Step]) -> bool:
    results = (step.result for step in done if isinstance(step.result, FixResult))
    return any(candidate.case == case for result in results for candidate in result.candidates)


def _tests(step: Step, edits: Edits) -> bool:
    """Whether a step says how the model does with exactly these edits."""
    if isinstance(step.request, SuiteRequest):
        return step.edits == edits
    if isinstance(step.result, EditResult):
        return step.result.suite is not None and active_edits(step.result.queue) == edits
    if isinstance(step.result, FixResult):
        return any(each.edit is not None and (*step.edits, each.edit.id) == edits for each in step.result.candidates)
    return False


def _saves(step: Step) -> bool:
    return isinstance(step.request, QueueRequest) and step.request.action.startswith("save")


def _key_of(request: type[Request]) -> str:
    return next(method.key for method in methods() if method.request is request)
