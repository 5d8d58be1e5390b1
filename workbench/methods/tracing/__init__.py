"""Causal tracing: which states, MLP outputs or attention outputs carry a fact, of one prompt or of many."""

from __future__ import annotations

from workbench.methods.tracing import causal_trace, facts
from workbench.methods.tracing.figures import facts_trace_figures, trace_figures
from workbench.protocol import Method

TRACE = Method("Causal trace", causal_trace.TraceRequest, causal_trace.TraceResult, causal_trace.run, trace_figures)
TRACE_FACTS = Method("Trace of facts", facts.FactsTraceRequest, facts.FactsTraceResult, facts.run, facts_trace_figures)
