"""Chain-of-thought truncation: how far the answer depends on the reasoning, of one question or of many."""

from __future__ import annotations

from workbench.datasets.questions import questions_drawn
from workbench.methods.cot import hinted, many_questions, receivers, resampling, states, suppression, truncation
from workbench.methods.cot.about import beginning, how_asked
from workbench.methods.cot.figures import cot_figures, cot_questions_figures
from workbench.methods.cot.hint_figures import cot_hints_figures
from workbench.methods.cot.hint_results import CotHintsRequest, CotHintsResult
from workbench.methods.cot.many_questions import CotQuestionsRequest, CotQuestionsResult
from workbench.methods.cot.resample_figures import resample_figures
from workbench.methods.cot.resample_result import ResampleRequest, ResampleResult
from workbench.methods.cot.result import CotResult
from workbench.methods.cot.states_figures import states_figures
from workbench.methods.cot.states_result import CotStatesRequest, CotStatesResult
from workbench.protocol import Method

LIMITS = "That an answer depends on the reasoning does not show that the reasoning is why it was given."

COT = Method("Chain of thought", truncation.CotRequest, CotResult, truncation.run, cot_figures, limits=LIMITS)
COT_QUESTIONS = Method(
    "Chains of thought",
    CotQuestionsRequest,
    CotQuestionsResult,
    many_questions.run,
    cot_questions_figures,
    limits=LIMITS,
    collect=many_questions.collect,
    records=questions_drawn,
)
COT_HINTS = Method(
    "Hints at an answer",
    CotHintsRequest,
    CotHintsResult,
    hinted.run,
    cot_hints_figures,
    limits="A hint is mentioned where a list of words finds it; reasoning can speak of it in others.",
    collect=hinted.collect,
    follows=truncation.CotRequest,
    begins=hinted.beginning,
)
RESAMPLE = Method(
    "Reasoning resampled",
    ResampleRequest,
    ResampleResult,
    resampling.run,
    resample_figures,
    help="Print what each sentence of a reasoning changes, by many continuations from each on.",
    follows=truncation.CotRequest,
    begins=beginning,
    limits=LIMITS,
)
COT_STATES = Method(
    "What the states knew",
    CotStatesRequest,
    CotStatesResult,
    states.run,
    states_figures,
    help="Print when the answer is in the words and when in the states, and whether it holds in other words.",
    follows=truncation.CotRequest,
    begins=lambda request, _result: how_asked(request),
    limits=LIMITS,
)
SUPPRESS = Method(
    "Attention suppressed",
    suppression.SuppressRequest,
    suppression.SuppressResult,
    suppression.run,
    suppression.suppress_figures,
    help="Print what becomes of the answer and of later sentences where nothing attends to a sentence.",
    follows=truncation.CotRequest,
    begins=beginning,
    limits=LIMITS,
)
RECEIVERS = Method(
    "Receiver heads",
    receivers.ReceiversRequest,
    receivers.ReceiversResult,
    receivers.run,
    receivers.receivers_figures,
    help="Print which heads look at few sentences of a reasoning, and at which.",
    follows=truncation.CotRequest,
    begins=beginning,
    limits=LIMITS,
)
