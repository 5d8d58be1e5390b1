"""The registry of methods. A further method is one file beside this one and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from workbench.methods import attribution, causal_trace, continuation, logit_lens, trace_facts
from workbench.methods.base import Method, Request, Result

METHODS: tuple[Method, ...] = (
    Method("Logit lens", logit_lens.LensRequest, logit_lens.LensResult, logit_lens.run),
    Method("Continuation", continuation.ContinueRequest, continuation.ContinueResult, continuation.run),
    Method("Attribution", attribution.AttributionRequest, attribution.AttributionResult, attribution.run),
    Method("Causal trace", causal_trace.TraceRequest, causal_trace.TraceResult, causal_trace.run),
    Method("Trace of facts", trace_facts.FactsTraceRequest, trace_facts.FactsTraceResult, trace_facts.run),
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
