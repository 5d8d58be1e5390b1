"""Direct logit attribution: what each sublayer adds to the logit difference target − foil."""

from __future__ import annotations

from workbench.methods.dla.figures import figures
from workbench.methods.dla.logit_attribution import DlaRequest, DlaResult, run
from workbench.protocol import Method

DLA = Method(
    "Direct logit attribution",
    DlaRequest,
    DlaResult,
    run,
    figures,
    help="Print what each attention and MLP adds to the logit difference target − foil.",
    key="d",
    limits="Contributions are direct only: what a sublayer does by way of later ones is not in them.",
)
