"""Trained networks in the cache, by the fingerprint of the weights they are for; and trainings that go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from workbench.editing.editors.mend.network import GIVEN, LEARNED, Network, shapes
from workbench.errors import InputError, ModelError
from workbench.files import write_atomically
from workbench.paths import cache_folder
from workbench.protocol import Frozen
from workbench.reading import Unreadable, tensors_of
from workbench.shapes import Share

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

FORMAT = "lm-workbench-mend"

Taken = TypeVar("Taken")


class MendScores(Frozen):
    """Shares 0 … 1 of facts that pass on records that were held out, after so many steps, each edit by itself.

    None where the held-out records have no fact of that role.
    """

    step: int
    efficacy: Share
    generalization: Share | None
    specificity: Share | None

    @property
    def harmonic(self) -> float:
        """The harmonic mean of those there are: what the best network is chosen by."""
        there = [each for each in (self.efficacy, self.generalization, self.specificity) if each is not None]
        return len(there) / sum(1 / each for each in there) if all(there) else 0.0


class Loss(Frozen):
    """Means over the last steps up to ``step``, in nats: of the targets, and the divergence of what is to stay."""

    step: int
    edit: float
    locality: float


class History(Frozen):
    """How a training went. ``training`` names it by all that it depends on, but for the number of steps."""

    training: str
    layers: Annotated[tuple[int, ...], Field(min_length=1)]
    records: int
    held_out: int
    step: int
    unedited: MendScores
    scores: tuple[MendScores, ...] = ()
    losses: tuple[Loss, ...] = ()

    @property
    def best(self) -> MendScores | None:
        """The scores of the network that is used."""
        return max(self.scores, key=lambda scores: scores.harmonic, default=None)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with its history, and the optimiser's ``state`` where the training can go on."""

    network: Network
    history: History
    state: Mapping[str, Tensor]


def network_file(fingerprint: str) -> Path:
    """Where the best network for some weights is."""
    return cache_folder() / "mend" / fingerprint / "network.safetensors"


def checkpoint_file(fingerprint: str) -> Path:
    """Where the last training for some weights stopped."""
    return cache_folder() / "mend" / fingerprint / "checkpoint.safetensors"


def keep(path: Path, fingerprint: str, kept: TrainedNetwork) -> None:
    """Write it, whole or not at all. Raises `InputError` where there is no room."""
    from safetensors.torch import save

    tensors = {f"network.{name}": tensor for name, tensor in kept.network.tensors.items()}
    tensors |= {f"state.{name}": tensor for name, tensor in kept.state.items()}
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "fingerprint": fingerprint, "history": kept.history.model_dump_json()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(whole, metadata))
    except OSError as error:
        raise InputError(f"the network could not be kept at {path}: {error.strerror or error}; make room") from error


def kept_history(path: Path, fingerprint: str) -> History | None:
    """The history in a file, of which no tensor is read; None where there is none, or one for other weights.

    Raises `ModelError` for a damaged one.
    """
    return _read(path, fingerprint, lambda _, history: history)


def kept(path: Path, model: LoadedModel) -> TrainedNetwork | None:
    """What a file holds, on the model's device; None where there is none, or one for other weights.

    Raises `ModelError` for a damaged one.
    """

    def whole(file: Any, history: History) -> tuple[History, dict[str, Tensor]]:
        return history, {name: file.get_tensor(name).to(model.hf.device) for name in file.keys()}  # noqa: SIM118

    found = _read(path, model.info.fingerprint, whole)
    if found is None:
        return None
    history, tensors = found
    damaged = _damaged(path)
    own = {name: tensors.get(f"network.{name}") for name in (*LEARNED, *GIVEN)}
    down = own["down_1"]
    expected = shapes(model, history.layers, down.shape[0] if down is not None and down.ndim else 0)
    for name, shape in expected.items():
        tensor = own[name]
        if tensor is None or tuple(tensor.shape) != shape or not bool(tensor.isfinite().all()):
            raise damaged
    if not all(0 <= layer < model.info.layers for layer in history.layers):
        raise damaged
    network = Network(history.layers, {name: tensor for name, tensor in own.items() if tensor is not None})
    state = {name.removeprefix("state."): each for name, each in tensors.items() if name.startswith("state.")}
    return TrainedNetwork(network, history, state)


def _read(path: Path, fingerprint: str, read: Callable[[Any, History], Taken]) -> Taken | None:
    """What ``read`` takes from a file for these weights and its history; None where there is no such file."""
    try:
        with tensors_of(path) as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT or metadata.get("fingerprint") != fingerprint:
                return None
            return read(file, History.model_validate_json(metadata.get("history", "")))
    except Unreadable as error:
        if error.missing:
            return None
        raise _damaged(path) from error
    except ValidationError as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is a damaged network of MEND; remove it and train again")
