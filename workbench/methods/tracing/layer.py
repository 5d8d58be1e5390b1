"""The layer that a trace of a prompt proposes for an edit."""

from __future__ import annotations

from collections.abc import Iterable

from workbench.case import Case
from workbench.methods.tracing.causal_trace import TraceRequest, TraceResult
from workbench.protocol import Request, Result


def traced_layer(traces: Iterable[tuple[Request, Result | None]], case: Case) -> int | None:
    """Where the first trace of the case's prompt and subject peaks at the subject's last token, if any does.

    Of the MLP outputs, which an edit changes, where they were traced; else of the states.
    """
    for request, result in traces:
        if not (isinstance(request, TraceRequest) and isinstance(result, TraceResult)):
            continue
        if (request.case.prompt, request.case.subject) != (case.prompt, case.subject) or not result.encoded.subject:
            continue
        last = result.encoded.subject[1] - 1
        grid = result.grid("mlp") or result.grid("states")
        if grid and (peak := grid.peak_among([last], rises=result.clean > result.corrupted)):
            return peak.layer
    return None
