"""What steering by contrast finds on the way to its edit."""

from __future__ import annotations

from pydantic import Field

from workbench.editing.editor import Details
from workbench.editing.editors.steering.directions import By
from workbench.editing.suite.behaviour import Behaviour
from workbench.protocol import Frozen
from workbench.shapes import Share


class ReadDirection(Frozen):
    """A direction after ``layer``: the share of pairs told apart by it when it is read from the others, and its length
    in units of the states' mean length."""

    layer: int
    told_apart: Share
    length: float


class Steered(Details):
    """The set, how and where directions were read, and what adding them ``strength`` times does to ``behaviour``.

    ``towards`` names the side that is steered to.
    """

    contrast: str
    digest: str
    towards: str
    by: By
    strength: float
    pairs: int
    directions: tuple[ReadDirection, ...] = Field(min_length=1)
    behaviour: Behaviour
