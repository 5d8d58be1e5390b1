"""What a block's forward ends with: functions of its output, which edits of states put there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module

MAPS = "workbench_maps"
"""The attribute of a block that lists what its forward ends with."""


def end_with_maps(block: Module) -> None:
    """Let a block's forward end with the functions in its list of maps, none at first.

    Not torch's forward hooks: nnsight reads a module's output before those run, so that a reader would see another
    state than the next block does. Must be called before nnsight has the model.
    """
    forward, maps = block.forward, list[Callable[[Any], Any]]()

    @wraps(forward)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        for each in maps:
            output = each(output)
        return output

    vars(block)[MAPS], block.forward = maps, mapped
