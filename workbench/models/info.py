"""What a session remembers about the model it was made with. Plain data: no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workbench.protocol import Frozen
from workbench.shapes import LayerCount

BYTES = {"float64": 8, "float32": 4}
"""A number's; 2 of any other type."""

REMOTE = "remote"
"""In the place of a device, where the model is elsewhere (`workbench.remote`); its name says at which address."""


class ModelInfo(Frozen):
    """A loaded model as the trust strip and the session header know it.

    ``fingerprint`` identifies the weights (a short hex digest, see `workbench.loading`); ``parameters`` is
    their number; ``attention_kernel`` is what computes attention (sdpa, eager, ...); ``context`` is the longest
    prompt in tokens; ``chat_template`` says whether the tokenizer brings one; ``adapter`` is the folder of one that
    was merged into the weights; ``quantised`` says from what the weights were dequantised.
    """

    name: str
    architecture: str
    fingerprint: str
    parameters: int
    layers: LayerCount
    d_model: int
    vocabulary: int
    context: int
    dtype: str
    device: str
    attention_kernel: str
    chat_template: bool
    adapter: Annotated[str | None, Field(exclude_if=lambda adapter: adapter is None)] = None
    quantised: Annotated[str | None, Field(exclude_if=lambda quantised: quantised is None)] = None

    @property
    def is_remote(self) -> bool:
        """Whether its weights are elsewhere."""
        return self.device == REMOTE

    @property
    def bytes(self) -> int:
        """Those of its weights."""
        return self.parameters * BYTES.get(self.dtype, 2)

    @property
    def origin(self) -> tuple[str, ...]:
        """What was done to the weights when they were loaded, for the trust strip."""
        merged = [f"adapter {self.adapter} merged"] if self.adapter else []
        return (*([f"weights dequantised from {self.quantised}"] if self.quantised else []), *merged)
