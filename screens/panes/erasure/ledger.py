"""The erasures of a session: which one is looked at, at which layer, and what has become of their edits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeGuard

from screens.answers import Edits, active_edits
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editors import editor
from workbench.editing.editors.erasure.erased import Erased
from workbench.editing.editors.erasure.erasure import SteeringSettings
from workbench.editing.editors.erasure.layer import ErasedLayer
from workbench.editing.queue import QueueState
from workbench.protocol import Request

EditState = Literal["none", "planned", "on", "off", "held", "removed"]


@dataclass(frozen=True)
class Erasure:
    """An erasure that was asked for, what was found, and the edits that were on before."""

    request: EditRequest
    answer: EditResult
    edits: Edits

    @property
    def result(self) -> Erased:
        """What probes read, and what the edit does."""
        assert isinstance(self.answer.details, Erased)
        return self.answer.details

    @property
    def strength(self) -> float:
        """How strongly it steers."""
        settings = self.request.settings
        return settings.strength if isinstance(settings, SteeringSettings) else 1.0

    @property
    def id(self) -> str | None:
        """Its edit's, None where it got to none."""
        return self.answer.edit.id if self.answer.edit else None

    def is_in(self, queue: QueueState) -> bool:
        """Whether its edit is in the queue."""
        return any(entry.info.id == self.id for entry in queue.entries)

    def state(self, queue: QueueState, under_way: bool) -> EditState:
        """What has become of its edit."""
        if self.id is None:
            return "planned" if under_way else "none"
        entry = next((entry for entry in queue.entries if entry.info.id == self.id), None)
        if entry is None:
            return "removed"
        if not entry.on:
            return "off"
        return "on" if self.id in active_edits(queue) else "held"

    def stale(self, edits: Edits) -> bool:
        """Whether other edits than its own are on than when it was made."""
        return set(edits) - {self.id} != set(self.edits) - {self.id}


class Erasures:
    """Those that stand side by side; one that is asked again takes the place of the one before."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Erasure] = {}
        self._key: Hashable = None
        self._layer: int | None = None

    def __len__(self) -> int:
        return len(self._found)

    def put(self, found: Erasure) -> None:
        """Keep one, and look at it."""
        self._key = key_of(found.request)
        self._found[self._key] = found

    def same(self, request: EditRequest) -> Erasure | None:
        """The one whose place the answer to a request will take."""
        return self._found.get(key_of(request))

    @property
    def shown(self) -> Erasure:
        """The one that is looked at. There must be one."""
        return self._found[self._key]

    @property
    def place(self) -> int:
        """Its number, from 1 on."""
        return list(self._found).index(self._key) + 1

    @property
    def others(self) -> Sequence[Erasure]:
        """The ones that are not looked at."""
        return [found for key, found in self._found.items() if key != self._key]

    def turn(self) -> None:
        """Look at the next one."""
        self._key = list(self._found)[self.place % len(self._found)]

    @property
    def row(self) -> ErasedLayer:
        """The layer that is looked at; at first the last one that was changed."""
        result = self.shown.result
        wanted = result.at(self._layer) if self._layer is not None else None
        return wanted or result.at(result.layers[-1]) or result.probed[-1]

    def go(self, layer: int) -> bool:
        """Look at a layer. Returns whether it is another one, and was probed."""
        if layer == self.row.layer or self.shown.result.at(layer) is None:
            return False
        self._layer = layer
        return True

    def neighbor(self, by: int) -> int:
        """The probed layer so many above, or the outermost one."""
        layers = [row.layer for row in self.shown.result.probed]
        return layers[max(0, min(len(layers) - 1, layers.index(self.row.layer) + by))]


def key_of(request: EditRequest) -> Hashable:
    """What two requests have in common of which one takes the other's place."""
    alike = {"digest": None, "above": True} | ({"strength": 1.0} if request.editor == "steer" else {})
    return request.model_copy(update={"case": None, "settings": request.settings.model_copy(update=alike)})


def is_erasure(request: Request) -> TypeGuard[EditRequest]:
    """Whether a request is for an edit of a concept."""
    return isinstance(request, EditRequest) and editor(request.editor).of == "concept"
