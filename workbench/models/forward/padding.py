"""Rows of different lengths in one run: what is shorter is padded on the left, and the model told where."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


def padding_arguments(model: LoadedModel, mask: Tensor, new: int) -> dict[str, Any]:
    """What a run of the last ``new`` tokens is called with beside them.

    ``mask`` ``(rows, tokens)`` is 1 where a token is a row's own, and counts those of the cache as well.
    """
    arguments = {"attention_mask": mask.to(model.hf.device)}
    if "position_ids" in forward_takes(type(model.hf).forward):  # BLOOM makes them of the mask
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        arguments["position_ids"] = positions[:, -new:].to(model.hf.device)
    return arguments


@cache
def forward_takes(forward: Callable[..., Any]) -> frozenset[str]:
    """The names that the forward of a class of models takes. They are looked up once, not at each token."""
    return frozenset(signature(forward).parameters)
