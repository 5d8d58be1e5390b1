"""Which tokens of the prompt pull towards the target, and which towards the foil."""

from __future__ import annotations

from workbench.methods.attribution.attribution import AttributionRequest, AttributionResult, run
from workbench.methods.attribution.figures import attribution_figures
from workbench.protocol import Method

LIMITS = "Methods of attribution disagree, and a score says what a token adds against a baseline, not why."

ATTRIBUTION = Method(
    "Attribution", AttributionRequest, AttributionResult, run, attribution_figures, limits=LIMITS, divided=True
)
