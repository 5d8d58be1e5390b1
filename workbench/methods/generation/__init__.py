"""What the model goes on to say."""

from __future__ import annotations

from workbench.methods.generation import remote
from workbench.methods.generation.continuation import ContinueRequest, ContinueResult, run
from workbench.methods.generation.figures import continuation_figures
from workbench.protocol import Method

CONTINUE = Method(
    "Continuation",
    ContinueRequest,
    ContinueResult,
    run,
    continuation_figures,
    help="Continue the prompt greedily, with the probability of every token.",
    remote=remote.run,
    divided=True,
    limits="Only the likeliest continuation is shown; sampling gives others.",
)
