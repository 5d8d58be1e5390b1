"""From a prompt that fails to a finding: which kind of failure it is, and what it rests on."""

from __future__ import annotations

from workbench.methods.diagnose.counterfactual import CounterfactualRequest, CounterfactualResult, find_change
from workbench.methods.diagnose.diagnosis import DiagnoseRequest, DiagnoseResult, diagnose
from workbench.methods.diagnose.figures import changed_figures, finding_figures, stability_figures
from workbench.methods.diagnose.stability import StabilityRequest, StabilityResult, vary
from workbench.protocol import Method

STABILITY = Method(
    "Stability",
    StabilityRequest,
    StabilityResult,
    vary,
    stability_figures,
    help="Print how the answer changes with the phrasing of the prompt and with what is prepended.",
)

COUNTERFACTUAL = Method(
    "Counterfactual prompt",
    CounterfactualRequest,
    CounterfactualResult,
    find_change,
    changed_figures,
    help="Print the smallest change of the prompt's tokens that turns the answer.",
)

DIAGNOSE = Method(
    "Diagnosis",
    DiagnoseRequest,
    DiagnoseResult,
    diagnose,
    finding_figures,
    help="Find out which kind of failure a prompt shows, from the prompt alone, and print what that rests on.",
    key="D",
    asks=True,
)
