"""What an edit is made of: changes of a weight or of states at one layer, which the queue puts on and takes off.

A kind of change is a dataclass of a layer and tensors, and one line in `KINDS`. Queue and patches know no more of it
than is said here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


@dataclass(frozen=True, eq=False)
class Change(ABC):
    """What is put on a model at one layer and taken off exactly.

    ``SHAPES`` name its tensors and the dimensions of each: those that ``sizes`` gives must have these sizes; any other
    (a rank) is free, but the same in all tensors of the change and no larger than the largest of them. So a change
    from a file is known to fit before anything is applied.
    """

    SHAPES: ClassVar[dict[str, tuple[str, ...]]]

    layer: int

    @staticmethod
    @abstractmethod
    def sizes(model: LoadedModel, layer: int) -> dict[str, int]:
        """The dimensions that are the model's."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that it holds, by name."""
        return {name: getattr(self, name) for name in self.SHAPES}

    def to(self, *where: Any) -> Self:
        """The same with every tensor as `torch.Tensor.to` gives it: on a device, of a dtype, like another tensor."""
        moved: dict[str, Any] = {name: tensor.to(*where) for name, tensor in self.tensors.items()}
        return replace(self, **moved)


class WeightUpdate(Change):
    """A change that is added to the down-projection of its layer."""

    @staticmethod
    def sizes(model: LoadedModel, layer: int) -> dict[str, int]:
        """Those of the down-projection."""
        d_model, d_mlp = model.down_projection(layer).weight.shape  # type: ignore[misc]
        if model.anatomy.down_projection_in_first:
            d_model, d_mlp = d_mlp, d_model
        return {"d_model": d_model, "d_mlp": d_mlp}

    @abstractmethod
    def update(self) -> Tensor:
        """What is added, ``(d_model, d_mlp)`` whatever way round the model stores it."""


class StateMap(Change):
    """A change of the residual stream after its layer: the block's forward ends with it."""

    @staticmethod
    def sizes(model: LoadedModel, layer: int) -> dict[str, int]:
        """That of the residual stream, after any layer."""
        del layer
        return {"d_model": model.anatomy.d_model}

    @abstractmethod
    def mapped(self, states: Tensor) -> Tensor:
        """What stands in the place of ``states`` ``(rows, tokens, d_model)``; float32, as its tensors are then."""


@dataclass(frozen=True, eq=False)
class WeightChange(WeightUpdate):
    """Adds left rightᵀ, of low rank."""

    SHAPES = {"left": ("d_model", "rank"), "right": ("d_mlp", "rank")}

    left: Tensor
    right: Tensor

    def update(self) -> Tensor:
        """Their product."""
        return self.left @ self.right.T


@dataclass(frozen=True, eq=False)
class KeyedChange(WeightChange):
    """The same, with the keys that it was made for, each times the root of its weight: later edits can spare them."""

    SHAPES = {**WeightChange.SHAPES, "keys": ("d_mlp", "held")}

    keys: Tensor


@dataclass(frozen=True, eq=False)
class DenseChange(WeightUpdate):
    """Adds ``delta``, which may change every entry: for editors whose update has no low rank, such as fine-tuning.

    It is as large as the matrix: 3.5 MB for a layer of the default model, 180 MB for one of a Llama of 7B.
    """

    SHAPES = {"delta": ("d_model", "d_mlp")}

    delta: Tensor

    def update(self) -> Tensor:
        """It."""
        return self.delta


@dataclass(frozen=True, eq=False)
class StateChange(StateMap):
    """Maps every token's state x to x − left rightᵀ (x − center) + shift. The rank may be 0."""

    SHAPES = {
        "left": ("d_model", "rank"),
        "right": ("d_model", "rank"),
        "center": ("d_model",),
        "shift": ("d_model",),
    }

    left: Tensor
    right: Tensor
    center: Tensor
    shift: Tensor

    def mapped(self, states: Tensor) -> Tensor:
        """As the class says."""
        return states - ((states - self.center) @ self.right) @ self.left.T + self.shift


KINDS: dict[str, type[Change]] = {
    "weight": WeightChange,
    "keyed": KeyedChange,
    "dense": DenseChange,
    "state": StateChange,
}
"""By the name that a patch gives them."""
