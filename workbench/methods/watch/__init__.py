"""Generation watched token by token: how sure the model is, how late it knew, where it looked, what monitors read."""

from __future__ import annotations

from workbench.methods.watch.figures import figures, opened
from workbench.methods.watch.result import WatchRequest, WatchResult
from workbench.methods.watch.watching import run
from workbench.protocol import Method

WATCH = Method(
    "While it speaks",
    WatchRequest,
    WatchResult,
    run,
    figures,
    help="Generate token by token, with the margin, entropy, depth and sources of each, and what monitors read.",
    key="P",
    opens=opened,
    limits="A small margin says that another token was nearly as likely, and a large one not that the token is true; "
    "depth is that of the plain lens, and where it looked leaves out the output projection.",
)
