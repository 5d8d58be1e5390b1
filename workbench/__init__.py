"""The core of the workbench: cases, methods, the engine and sessions. No screen, and no torch on import.

For a script or a notebook: `load` a model, make a `request`, `ask`. What these are is in `workbench.scripting`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from workbench.case import Case
    from workbench.scripting import ask, figures_of, kinds, load, load_session, request, text

__all__ = ["Case", "ask", "figures_of", "kinds", "load", "load_session", "request", "text"]


def __getattr__(name: str) -> Any:
    """What is there for scripts, imported when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    return getattr(import_module("workbench.case" if name == "Case" else "workbench.scripting"), name)
