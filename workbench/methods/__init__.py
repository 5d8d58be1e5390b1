"""The registry of methods. A further method is one file beside this one and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from workbench.editing import bisection as bisect
from workbench.editing import operations as edit_queue
from workbench.editing import records as edit_facts
from workbench.editing.editors.erasure import erasure
from workbench.editing.editors.rome import rome
from workbench.editing.suite import regression
from workbench.methods.attribution import attribution
from workbench.methods.cot import many_questions as cot_questions
from workbench.methods.cot import result as cot_result
from workbench.methods.cot import truncation as cot
from workbench.methods.generation import continuation
from workbench.methods.lens import logit_lens
from workbench.methods.tracing import causal_trace
from workbench.methods.tracing import facts as trace_facts
from workbench.protocol import Method, Request, Result

METHODS: tuple[Method, ...] = (
    Method("Logit lens", logit_lens.LensRequest, logit_lens.LensResult, logit_lens.run),
    Method("Continuation", continuation.ContinueRequest, continuation.ContinueResult, continuation.run),
    Method("Attribution", attribution.AttributionRequest, attribution.AttributionResult, attribution.run),
    Method("Causal trace", causal_trace.TraceRequest, causal_trace.TraceResult, causal_trace.run),
    Method("Trace of facts", trace_facts.FactsTraceRequest, trace_facts.FactsTraceResult, trace_facts.run),
    Method("ROME edit", rome.RomeRequest, rome.RomeResult, rome.run),
    Method("Edit queue", edit_queue.QueueRequest, edit_queue.QueueResult, edit_queue.run),
    Method("Edits of records", edit_facts.FactsEditRequest, edit_facts.FactsEditResult, edit_facts.run),
    Method("Bisection", bisect.BisectRequest, bisect.BisectResult, bisect.run),
    Method("Chain of thought", cot.CotRequest, cot_result.CotResult, cot.run),
    Method("Chains of thought", cot_questions.CotQuestionsRequest, cot_questions.CotQuestionsResult, cot_questions.run),
    Method("Concept erasure", erasure.ErasureRequest, erasure.ErasureResult, erasure.run),
    Method("Regression suite", regression.SuiteRequest, regression.SuiteResult, regression.run),
)

if TYPE_CHECKING:
    AnyRequest = Request
    AnyResult = Result
else:  # told apart in files by their ``kind``
    AnyRequest = Annotated[Union[tuple(method.request for method in METHODS)], Field(discriminator="kind")]  # noqa: UP007
    AnyResult = Annotated[Union[tuple(method.result for method in METHODS)], Field(discriminator="kind")]  # noqa: UP007


def method_of(request: Request) -> Method:
    """The registry's entry for a request."""
    return next(method for method in METHODS if method.request is type(request))
