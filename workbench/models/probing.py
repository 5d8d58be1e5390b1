"""One run of a model over a few tokens, of which what each module read and returned is kept."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

PROBE = (1, 2, 3, 4, 5)
"""The tokens of the run."""


@dataclass
class Seen:
    """What every module read first and returned first, in the order in which they began."""

    read: dict[str, Tensor]
    returned: dict[str, Any]
    times: dict[str, int]
    ended: list[str]


def run_once(model: Any, modules: dict[str, Module]) -> tuple[Seen, Tensor]:
    """What every one of ``modules``, by its path, read and returned, and the logits ``(1, tokens, vocabulary)``."""
    seen = Seen({}, {}, {}, [])

    def before(path: str) -> Any:
        def hook(_module: Module, args: Any, kwargs: Any) -> None:
            first = args[0] if args else kwargs.get("hidden_states")
            if path not in seen.read and isinstance(first, torch.Tensor):
                seen.read[path] = first.clone()
            seen.times[path] = seen.times.get(path, 0) + 1

        return hook

    def after(path: str) -> Any:
        def hook(_module: Module, _args: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) and output else output
            if path not in seen.returned and isinstance(first, torch.Tensor):
                seen.returned[path] = first.clone()
                seen.ended.append(path)

        return hook

    with ExitStack() as hooks, torch.no_grad():
        for path, module in modules.items():
            if path:
                hooks.callback(module.register_forward_pre_hook(before(path), with_kwargs=True).remove)
                hooks.callback(module.register_forward_hook(after(path)).remove)
        ids = torch.tensor([PROBE], device=model.device)
        logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return seen, logits


def off(found: Tensor, expected: Tensor) -> float:
    """Largest difference, as a part of the largest number."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-9))


def proportional(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether one tensor is the other times a number."""
    one, other = one.flatten().double(), other.flatten().double()
    factor = (one @ other) / (one @ one).clamp(min=1e-12)
    return off(one * factor, other) <= tolerance
