"""The logit lens: what the model would say if it stopped at each layer."""

from __future__ import annotations

from workbench.methods.lens.figures import lens_figures
from workbench.methods.lens.logit_lens import LensRequest, LensResult, run
from workbench.protocol import Method

LENS = Method("Logit lens", LensRequest, LensResult, run, lens_figures)
