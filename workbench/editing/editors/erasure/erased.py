"""What an erasure, or steering, finds on the way to its edit."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from workbench.datasets.concepts import Split
from workbench.editing.editor import Details
from workbench.editing.editors.erasure.effects import Effects
from workbench.editing.editors.erasure.fit import Pool
from workbench.editing.editors.erasure.layer import ErasedLayer
from workbench.editing.editors.erasure.probes import Accuracy
from workbench.shapes import as_many, increasing

How = Literal["leace", "orth", "steer"]
"""By an eraser (LEACE, or an orthogonal projection), or by steering: the names of the editors."""


class Erased(Details):
    """What probes read, layer by layer, and from the moment that ``effects`` are there what the edit does.

    ``texts`` counts those of each split, ``states`` those that were fitted on and ``per_dimension`` how many that
    is for each of the ``d_model`` dimensions. ``majority`` is the accuracy of always guessing the most frequent
    class. ``layers`` are those changed; ``probed`` has these and, if asked for, those above.
    """

    concept: str
    digest: str
    classes: tuple[str, ...]
    how: How
    pool: Pool
    layers: tuple[int, ...]
    towards: str | None = None
    texts: dict[Split, int]
    states: int
    per_dimension: float
    majority: Accuracy
    probed: tuple[ErasedLayer, ...]
    effects: Effects | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not self.layers:
            raise ValueError("there are no layers")
        increasing("layer", (row.layer for row in self.probed))
        for word in self.effects.words if self.effects else ():
            as_many(classes=self.classes, before=word.before, after=word.after)
        return self

    def at(self, layer: int) -> ErasedLayer | None:
        """What was found at one layer, None where it was not probed."""
        return next((row for row in self.probed if row.layer == layer), None)
