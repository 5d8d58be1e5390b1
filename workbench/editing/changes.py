"""What an edit is made of: changes of a weight, of states at one layer, or of what is read before every prompt.

A kind of change is a dataclass of a layer (None where it is of none) and tensors, and one line in `KINDS`. Queue and
patches know no more of it than is said here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar, Self

from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.anatomy import matrix_shape
from workbench.reading import quoted

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.loading import LoadedModel


@dataclass(frozen=True, eq=False)
class Change(ABC):
    """What is put on a model and taken off exactly, at one layer but for a kind that is not ``LAYERED``.

    ``SHAPES`` name its tensors and the dimensions of each: those that ``sizes`` gives must have these sizes; any other
    (a rank) is free, but the same in all tensors of the change and no larger than ``MOST`` says of it, or else the
    largest of them. ``DTYPES`` name what a tensor holds in the words of safetensors, where that is no floating point.
    So a change from a file is known to fit before anything is applied. A kind ``IN_MODULE`` changes the matrix of a
    module that it names by its path in a block.
    """

    SHAPES: ClassVar[Mapping[str, tuple[str, ...]]]
    MOST: ClassVar[Mapping[str, int]] = {}
    DTYPES: ClassVar[Mapping[str, str]] = {}
    LAYERED: ClassVar[bool] = True
    IN_MODULE: ClassVar[bool] = False

    layer: int | None

    @staticmethod
    @abstractmethod
    def sizes(model: LoadedModel, layer: int, module: str | None = None) -> dict[str, int]:
        """The dimensions that are the model's. Raises `InputError` for a module that it does not have."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that it holds, by name."""
        return {name: getattr(self, name) for name in self.SHAPES}

    def to(self, *where: Any) -> Self:
        """The same with every tensor as `torch.Tensor.to` gives it: on a device, of a dtype, like another tensor.

        Whole numbers stay whole.
        """
        moved: dict[str, Any] = {name: _moved(tensor, *where) for name, tensor in self.tensors.items()}
        return replace(self, **moved)

    def wrong(self, model: LoadedModel) -> str | None:
        """What is wrong with the numbers in its tensors, None for nothing. Their shapes are right by then."""
        del model
        return None


@dataclass(frozen=True, eq=False)
class WeightUpdate(Change):
    """A change that is added to a matrix of its layer, the down-projection if nothing else is said."""

    layer: int

    @staticmethod
    def sizes(model: LoadedModel, layer: int, module: str | None = None) -> dict[str, int]:
        """Those of the down-projection."""
        del module
        d_model, d_mlp = matrix_shape(model.down_projection(layer))
        return {"d_model": d_model, "d_mlp": d_mlp}

    def changed(self, model: LoadedModel) -> Module:
        """The module whose weight it is added to."""
        return model.down_projection(self.layer)

    @abstractmethod
    def update(self) -> Tensor:
        """What is added, ``(written, read)`` as ``(d_model, d_mlp)``, whatever way round the model stores it."""


@dataclass(frozen=True, eq=False)
class StateMap(Change):
    """A change of the residual stream after its layer: the block's forward ends with it."""

    layer: int

    @staticmethod
    def sizes(model: LoadedModel, layer: int, module: str | None = None) -> dict[str, int]:
        """That of the residual stream, after any layer."""
        del layer, module
        return {"d_model": model.anatomy.d_model}

    @abstractmethod
    def mapped(self, states: Tensor) -> Tensor:
        """What stands in the place of ``states`` ``(rows, tokens, d_model)``; float32, as its tensors are then."""

    @classmethod
    def together(cls, maps: Sequence[Self]) -> Sequence[StateMap]:
        """What maps of this kind that come one directly after the other do: here one after the other."""
        return maps


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
class AdapterChange(WeightUpdate):
    """Adds left rightᵀ to the matrix of ``module``, a path in its layer's block: a LoRA adapter's part there."""

    SHAPES = {"left": ("written", "rank"), "right": ("read", "rank")}
    IN_MODULE = True

    left: Tensor
    right: Tensor
    module: str

    @staticmethod
    def sizes(model: LoadedModel, layer: int, module: str | None = None) -> dict[str, int]:
        """Those of the matrix."""
        written, read = matrix_shape(_matrix(model, layer, module or ""))
        return {"written": written, "read": read}

    def changed(self, model: LoadedModel) -> Module:
        """The module that it names."""
        return _matrix(model, self.layer, self.module)

    def update(self) -> Tensor:
        """Their product."""
        return self.left @ self.right.T


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


@dataclass(frozen=True, eq=False)
class Codebook(StateMap):
    """Puts a value in the place of every state that lies within the radius of a key; the nearest key wins.

    After Hartvigsen et al. 2023 (arXiv 2211.11031). ``labels`` are whole numbers that are the same for keys that stand
    for the same answer. Codebooks that are on together are one, in which a later key that comes within reach of an
    earlier one (their distance is no more than the sum of both radii) is taken in as published: of the same label, the
    earlier key's radius grows until it reaches the later key, which is not kept; of another label, no radius is left
    larger than half the distance. Of two keys at one place the later one stays. Keys of one codebook are not compared.
    """

    SHAPES = {"keys": ("n", "d_model"), "values": ("n", "d_model"), "radii": ("n",), "labels": ("n",)}
    MOST = {"n": 10_000}
    DTYPES = {"labels": "I64"}

    keys: Tensor
    values: Tensor
    radii: Tensor
    labels: Tensor

    def wrong(self, model: LoadedModel) -> str | None:
        """No key, or a radius that is not over 0."""
        del model
        if not len(self.radii):
            return "holds no key"
        return None if bool((self.radii > 0).all()) else "holds a radius that is not over 0"

    def mapped(self, states: Tensor) -> Tensor:
        """As the class says."""
        nearest, distances = self.nearest(states)
        hit = distances <= self.radii[nearest]
        return torch.where(hit[..., None], self.values[nearest], states)

    def nearest(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest key to each of ``states`` ``(..., d_model)`` and how far it is: ``(...)`` each."""
        flat = states.reshape(-1, states.shape[-1])
        found = []
        for some in torch.split(flat, max(1, AT_ONCE // len(self.keys))):
            # Distances from differences: those from products lose what is small beside the states.
            found.append(torch.cdist(some, self.keys, compute_mode="donot_use_mm_for_euclid_dist").min(dim=-1))
        nearest, distances = (torch.cat([getattr(one, name) for one in found]) for name in ("indices", "values"))
        return nearest.view(states.shape[:-1]), distances.view(states.shape[:-1])

    @classmethod
    def together(cls, maps: Sequence[Self]) -> Sequence[Self]:
        """One codebook of all their keys, in their order, by the rules of the class."""
        if len(maps) == 1:
            return maps
        every: dict[str, Any] = {name: torch.cat([one.tensors[name] for one in maps]) for name in cls.SHAPES}
        whole = replace(maps[0], **every)
        keys, radii, labels = whole.keys.double(), whole.radii.tolist(), whole.labels.tolist()
        same = (SAME * keys.norm(dim=-1)).tolist()
        kept = torch.ones(len(keys), dtype=torch.bool)
        stop = 0
        for book in maps:
            start, stop = stop, stop + len(book.keys)
            if not start:
                continue
            found = torch.cdist(keys[start:stop], keys[:start]).masked_fill(~kept[:start], torch.inf).min(dim=-1)
            for new, distance, old in zip(
                range(start, stop), found.values.tolist(), found.indices.tolist(), strict=True
            ):
                if distance <= same[new]:
                    kept[old] = False
                elif distance <= radii[old] + radii[new] and labels[old] == labels[new]:
                    radii[old] = max(radii[old], MARGIN * distance)
                    kept[new] = False
                elif distance <= radii[old] + radii[new]:
                    radii[old], radii[new] = min(radii[old], distance / 2), min(radii[new], distance / 2)
        every["radii"] = whole.radii.new_tensor(radii)
        return [replace(whole, **{name: tensor[kept] for name, tensor in every.items()})]


@dataclass(frozen=True, eq=False)
class PromptPrefix(Change):
    """Puts tokens before every prompt that the model reads; no number in the model changes."""

    SHAPES = {"ids": ("tokens",)}
    DTYPES = {"ids": "I64"}
    LAYERED = False

    ids: Tensor

    @staticmethod
    def sizes(model: LoadedModel, layer: int, module: str | None = None) -> dict[str, int]:
        """What the model reads at most; there are no more tokens than that."""
        del layer, module
        return {"context": model.info.context}

    def wrong(self, model: LoadedModel) -> str | None:
        """No token, or one that the model does not embed."""
        if not len(self.ids):
            return "holds no token"
        rows = model.hf.get_parameter(f"{model.anatomy.embedding}.weight").shape[0]
        return None if int(self.ids.min()) >= 0 and int(self.ids.max()) < rows else "holds a token that is none"


SAME = 1e-3
"""Keys that are no further apart than this part of their length are one: states are only computed so exactly."""

MARGIN = 1.001
"""A radius that grows until it reaches another key reaches a little further, for the same reason."""

AT_ONCE = 2**24
"""Distances that are looked at together: 64 MB of them."""


def in_order(maps: Iterable[StateMap]) -> list[StateMap]:
    """Maps of one layer as they are applied: those of one kind that follow each other are put together."""
    found: list[StateMap] = []
    for _, some in groupby(maps, key=type):
        first, *others = some
        found += first.together([first, *others])
    return found


def _matrix(model: LoadedModel, layer: int, module: str) -> Module:
    try:
        found = model.anatomy.block(model.hf, layer).get_submodule(module)
    except AttributeError:
        raise InputError(f"layer {layer} has no module {quoted(module)}; use what was made for this model") from None
    weight = getattr(found, "weight", None)
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise InputError(f"{quoted(module)} of layer {layer} is no matrix that can be added to; name one that is")
    return found


def _moved(tensor: Tensor, *where: Any) -> Tensor:
    moved = tensor.to(*where)
    return moved if tensor.is_floating_point() else tensor.to(moved.device)


KINDS: dict[str, type[Change]] = {
    "weight": WeightChange,
    "keyed": KeyedChange,
    "dense": DenseChange,
    "adapter": AdapterChange,
    "state": StateChange,
    "codebook": Codebook,
    "prefix": PromptPrefix,
}
"""By the name that a patch gives them."""
