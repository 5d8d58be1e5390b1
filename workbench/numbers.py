"""From tensors to the plain numbers that results are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workbench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

DIGITS = 7
"""Significant digits kept in results: as many as float32 has, at a third of the text that a double would need."""


def significant(tensor: Tensor, digits: int = DIGITS) -> Any:
    """Round to ``digits`` significant digits and return nested tuples of floats, shaped like the tensor."""
    values = tensor.detach().double().cpu()
    exponent = values.abs().clamp(min=1e-300).log10().floor()
    # Scaling down for large numbers and up for small ones keeps both factors exact powers of ten.
    places = digits - 1 - exponent
    scaled = torch.where(places >= 0, values * 10.0**places, values / 10.0**-places).round()
    rounded = torch.where(places >= 0, scaled / 10.0**places, scaled * 10.0**-places)
    return _tuples(torch.where(values == 0, values, rounded).tolist())


def rounded(value: float) -> float:
    """Seven significant digits, as many as float32 has."""
    return float(f"{value:.7g}")


def correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's r of estimates and exact values, None where there is nothing to compare."""
    import numpy as np

    if len(pairs) < 3:
        return None
    guessed, exact = np.array(pairs, dtype=float).T
    if not (guessed.std() and exact.std()):
        return None
    return rounded(float(np.corrcoef(guessed, exact)[0, 1]))


def _tuples(nested: Any) -> Any:
    return tuple(_tuples(item) for item in nested) if isinstance(nested, list) else nested
