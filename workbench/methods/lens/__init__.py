"""The logit lens and its corrections: what the model would say if it stopped at each layer; patchscopes beside them."""

from __future__ import annotations

from workbench.methods.lens import fitting, patchscope, remote
from workbench.methods.lens.figures import lens_figures
from workbench.methods.lens.logit_lens import STAGES, LensRequest, LensResult, run
from workbench.protocol import Method

LENS = Method(
    "Logit lens", LensRequest, LensResult, run, lens_figures, background=STAGES[1], remote=remote.run, divided=True
)
LENS_FIT = Method("Lens fit", fitting.FitLensRequest, fitting.FitLensResult, fitting.run, fitting.fit_figures)
PATCHSCOPE = Method(
    "Patchscope",
    patchscope.PatchscopeRequest,
    patchscope.PatchscopeResult,
    patchscope.run,
    patchscope.patchscope_figures,
    divided=True,
    help="Print what the model says of one state when it is put into a prompt that repeats what it is given.",
)
