"""What an editor is: from cases and its settings to an edit that is in no queue yet.

An editor is one module (or folder) that declares itself as an `Editor`, and one line in `workbench.editing.editors`.
Everything else (the command line, the form, suites, records, sequences, patches, reports) knows no editor by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from workbench.case import Case
from workbench.editing.queue import Edit
from workbench.figures import Figure
from workbench.protocol import Check, Frozen, Progress

if TYPE_CHECKING:
    from workbench.loading import LoadedModel
    from workbench.models.info import ModelInfo

Cases = tuple[Case, ...]
"""What an edit is made from; none for an editor that needs no prompt."""


class Settings(Frozen):
    """What can be set about an editor: fields with a description, bounds and a default (`workbench.settings`)."""


class Details(Frozen):
    """What an editor found on the way to its edit: losses, sizes, what probes read.

    ``checks`` say how far to believe it; in files they stand among those of the result.
    """

    checks: tuple[Check, ...] = Field(default=(), exclude=True)


class Capacity(Frozen):
    """Of the ``free`` directions that a layer's preserved keys leave, those in use with this edit on."""

    layer: int
    free: int
    used: float

    @property
    def share(self) -> float:
        """The part that is in use, 0 … 1."""
        return self.used / self.free


@dataclass(frozen=True, eq=False)
class Made:
    """An edit that is in no queue yet.

    ``gates`` are the checks of which one that warns makes the edit suspicious. ``capacity`` is that of the layer which
    is fullest with it, of an editor whose room is counted.
    """

    edit: Edit
    details: Details
    gates: tuple[Check, ...] = ()
    capacity: Capacity | None = None


@dataclass(frozen=True)
class Editor:
    """An editor, by what it does: it rewrites a fact (a case with subject and target), acts on a concept, or steers
    behaviour.

    ``check`` raises `workbench.errors.InputError` for cases or settings that make no sense; no model is needed to see
    that. ``fits`` raises it, or `workbench.errors.ModelError`, where a model does not suit them. ``make`` computes the
    edit and leaves the model as it was; the partial results that it reports are `Details`. ``figures`` says what there
    is to draw of these. ``many``: it makes one edit of several cases at once. ``trained_as`` names what else its edits
    of a model depend on, such as a network that is trained anew now and then. ``tried`` is the kind of fix as which
    it is tried where nobody names editors: in context, by steering, or in the weights; "" where it is not. ``where``
    says in a few words which layers of a model it changes unless others are asked for. ``measured`` names the settings
    whose defaults were found by measuring on the default model and may not suit another one.
    """

    name: str
    title: str
    of: Literal["fact", "concept", "behaviour"]
    settings: type[Settings]
    details: type[Details]
    check: Callable[[Cases, Any], None]
    fits: Callable[[LoadedModel, Cases, Any], None]
    make: Callable[[LoadedModel, Cases, Any, Progress], Made]
    figures: Callable[[Any], tuple[Figure, ...]]
    many: bool = False
    trained_as: Callable[[LoadedModel], str] = lambda _: ""
    tried: Literal["in-context", "steer", "weights", ""] = ""
    where: Callable[[ModelInfo], str] = lambda _: ""
    measured: tuple[str, ...] = ()
