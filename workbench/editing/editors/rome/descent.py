"""What can be set about the descent that finds a value, and about the contexts over which it is found."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from workbench.editing.editor import Settings
from workbench.editing.editors.rome.value import Optimisation


class DescentSettings(Settings):
    """Keys and values are those of a prompt and of ``prefixes`` sampled texts of ``prefix_tokens`` before it.

    The settings from ``steps`` on are those of `workbench.editing.editors.rome.value.Optimisation`.
    """

    prefixes: Annotated[
        int, Field(ge=0, le=100, description="Sampled texts prepended, over which keys and values are averaged.")
    ] = 6
    prefix_tokens: Annotated[int, Field(ge=1, le=100, description="Tokens of each of these texts.")] = 10
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of these texts.")] = 0
    corpus: Annotated[str | None, Field(description="A text file for the statistics, instead of sampled text.")] = None
    steps: Annotated[int, Field(ge=1, le=1000, description="Most steps of the descent that finds a value.")] = 25
    rate: Annotated[float, Field(gt=0, description="The learning rate of the descent.")] = 0.5
    kl: Annotated[float, Field(ge=0, description="Weight of the divergence of what is to stay.")] = 0.0625
    decay: Annotated[float, Field(ge=0, description="Weight of the change's length.")] = 0.5
    clamp: Annotated[float, Field(gt=0, description="Longest change, in lengths of what is there.")] = 4.0
    enough: Annotated[float, Field(ge=0, description="Loss of the target in nats at which the descent ends.")] = 0.05

    @property
    def optimisation(self) -> Optimisation:
        """The settings of the descent."""
        return Optimisation(self.steps, self.rate, self.kl, self.decay, self.clamp, self.enough)
