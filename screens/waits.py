"""What waits for the engine, in words: what it waits for, and the key that ends that."""

from __future__ import annotations

from workbench.events import LoadRequest
from workbench.protocol import Request
from workbench.registry import method


def named(request: Request) -> str:
    """What is asked, by the name of its method."""
    return f"“{method(request.kind).title}”"


def waiting_for(running: Request | None) -> str:
    """``waiting for “Regression suite”; esc cancels that``. Nothing runs before a model is there."""
    if running is None or isinstance(running, LoadRequest):
        return "waiting for the model …"
    return f"waiting for {named(running)}; esc cancels that"


def after(running: Request) -> str:
    """When it will be done, and how sooner."""
    if isinstance(running, LoadRequest):
        return "once the model is loaded"
    return f"after {named(running)}; esc cancels that"
