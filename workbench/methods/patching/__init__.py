"""Patching between two prompts: what of one run, put into the other, turns the answer."""

from __future__ import annotations

from workbench.methods.patching.figures import figures, opened
from workbench.methods.patching.pasting import PasteRequest, PasteResult
from workbench.methods.patching.pasting import run as run_paste
from workbench.methods.patching.pasting_figures import paste_figures
from workbench.methods.patching.patching import PatchRequest, PatchResult, run
from workbench.protocol import Method

PATCH = Method(
    "Patching",
    PatchRequest,
    PatchResult,
    run,
    figures,
    help="Print which states, taken from the run of a second prompt, turn the answer: activation patching.",
    key="T",
    divided=True,
    opens=opened,
)

PASTE = Method(
    "Pasted cells",
    PasteRequest,
    PasteResult,
    run_paste,
    paste_figures,
    help="Print the answer with cells of a second prompt's run pasted into chosen places of the first's.",
)
