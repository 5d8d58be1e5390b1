"""Results as Rich renderables, for the command line. A further method adds a drawing and one line below."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import RenderableType

from workbench.cli.console import Console, Text
from workbench.cli.reports import analyses, cot, edits, erasure
from workbench.editing.bisection import BisectResult
from workbench.editing.editors.erasure.erasure import ErasureResult
from workbench.editing.editors.rome.rome import RomeResult
from workbench.editing.operations import QueueResult
from workbench.editing.records import FactsEditResult
from workbench.editing.suite.regression import SuiteResult
from workbench.methods.attribution.attribution import AttributionResult
from workbench.methods.cot.many_questions import CotQuestionsResult
from workbench.methods.cot.result import CotResult
from workbench.methods.generation.continuation import ContinueResult
from workbench.methods.lens.logit_lens import LensResult
from workbench.methods.tracing.causal_trace import TraceResult
from workbench.methods.tracing.facts import FactsTraceResult
from workbench.models.info import ModelInfo
from workbench.protocol import Result
from workbench.session import Step

DRAWINGS: dict[type[Result], Callable[[Any], RenderableType]] = {
    LensResult: analyses.draw_lens,
    ContinueResult: analyses.draw_continuation,
    AttributionResult: analyses.draw_attribution,
    TraceResult: analyses.draw_trace,
    FactsTraceResult: analyses.draw_facts_trace,
    RomeResult: edits.draw_rome,
    SuiteResult: edits.draw_suite,
    QueueResult: edits.draw_queue,
    FactsEditResult: edits.draw_facts_edit,
    BisectResult: edits.draw_bisect,
    ErasureResult: erasure.draw_erasure,
    CotResult: cot.draw_cot,
    CotQuestionsResult: cot.draw_cot_questions,
}


def print_step(step: Step, model: ModelInfo) -> None:
    """Print a finished step: its result, and under it the trust strip."""
    if step.result is not None:
        console = Console()
        console.print(DRAWINGS[type(step.result)](step.result))
        console.print(trust_line(step, model), style="dim")


def trust_line(step: Step, model: ModelInfo) -> Text:
    """How far the result is to be believed, on one line."""
    parts = [model.name, model.device, model.dtype, f"kernel {model.attention_kernel}", f"edits {len(step.edits)}"]
    line = Text(" · ".join(parts))
    for check in step.result.checks if step.result else ():
        line.append(f" · {check.name} {check.text}", style="bold yellow" if check.level == "warn" else "")
    line.append(f" · {step.seconds:.1f} s")
    return line
