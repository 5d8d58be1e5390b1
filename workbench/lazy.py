"""Heavy libraries on first use, so that a session can be read and the first paint made without them.

A method file says ``from workbench.lazy import torch`` and then writes as if torch were imported; reading the
request and result classes from that file costs nothing. (``lazy import`` of later Pythons will replace this.)
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

# OpenMP's threads spin between two multiplications unless told otherwise before torch is imported: on a machine
# that somebody else uses too, a forward pass then takes many times as long, and the screen waits for a core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class LazyModule(ModuleType):
    """A stand-in that imports the module it names when one of its attributes is first looked up."""

    def __getattribute__(self, name: str) -> Any:
        # Every name, not only the missing ones: nnsight gives all objects a ``save``, which must not hide its own.
        # But no import is triggered by introspection (inspect, doctest, copy).
        own = super().__getattribute__
        return own(name) if name.startswith("__") else getattr(importlib.import_module(own("__name__")), name)


if TYPE_CHECKING:
    import nnsight as nnsight
    import torch as torch
    import transformers as transformers
else:
    nnsight = LazyModule("nnsight")
    torch = LazyModule("torch")
    transformers = LazyModule("transformers")
