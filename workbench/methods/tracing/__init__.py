"""Causal tracing: which states, MLP outputs or attention outputs carry a fact, of one prompt or of many."""

from __future__ import annotations

from workbench.methods.tracing import causal_trace, facts
from workbench.methods.tracing.figures import facts_trace_figures, trace_figures
from workbench.protocol import Method

LIMITS = (
    "That restoring a state brings an answer back shows that the state is enough after this corruption of the subject, "
    "not that the fact is stored there, nor that an edit works best there."
)

TRACE = Method(
    "Causal trace",
    causal_trace.TraceRequest,
    causal_trace.TraceResult,
    causal_trace.run,
    trace_figures,
    limits=LIMITS,
    divided=True,
)
TRACE_FACTS = Method(
    "Trace of facts",
    facts.FactsTraceRequest,
    facts.FactsTraceResult,
    facts.run,
    facts_trace_figures,
    limits=LIMITS,
    collect=facts.collect,
    records=facts.named_facts,
    divided=True,
)
