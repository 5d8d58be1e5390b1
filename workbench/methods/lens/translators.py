"""A lens that is corrected: for each row of a lens an affine map to the final residual stream, and its KL.

Rows count as in a lens: 0 is the embedding, row ℓ + 1 the residual stream after layer ℓ. What a lens has no map for,
the last row among it, is read as it is. Lenses are kept in the cache by the fingerprint of the weights they are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from workbench.errors import InputError, ModelError
from workbench.files import write_atomically
from workbench.paths import cache_folder
from workbench.protocol import Check, Frozen
from workbench.reading import Unreadable, tensors_of
from workbench.shapes import as_many

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

LensName = Literal["logit", "ridge", "tuned", "jacobian"]

TITLES: Mapping[LensName, str] = {
    "logit": "Logit lens",
    "ridge": "Ridge lens",
    "tuned": "Tuned lens",
    "jacobian": "Jacobian lens",
}

FORMAT = "lm-workbench-lens"


class HeldOutKL(Frozen):
    """KL(final ‖ row) in nats over tokens of the held-out text, an entry a row, the embedding first.

    Means over tokens; ``lens_median`` and ``logit_median`` are medians, which a few tokens that are read very badly do
    not move. ``logit`` is the logit lens', ``mean_state`` that of the mean final state whatever the token, ``shuffled``
    that of the same fit to the final states of other tokens, None where the lens was not fitted here.
    """

    tokens: Annotated[int, Field(ge=1)]
    lens: Annotated[tuple[float, ...], Field(min_length=1)]
    logit: tuple[float, ...]
    lens_median: tuple[float, ...]
    logit_median: tuple[float, ...]
    mean_state: float
    shuffled: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(lens=self.lens, lens_median=self.lens_median, logit=self.logit, logit_median=self.logit_median)
        as_many(lens=self.lens, shuffled=self.shuffled)
        return self


class LensFit(Frozen):
    """What a lens is: its kind, what it was fitted on or read from, and its KL on held-out text."""

    lens: LensName
    source: str
    held_out: HeldOutKL

    def check(self, layer: int) -> Check:
        """What the trust strip says of the lens after a layer: it is to be better than the plain one and a constant."""
        known, row = self.held_out, layer + 1
        rivals = {"logit lens": known.logit[row], "mean state": known.mean_state}
        if known.shuffled is not None:
            rivals["shuffled fit"] = known.shuffled[row]
        others = ", ".join(f"{name} {value:.2f}" for name, value in rivals.items())
        where = "embedding" if layer < 0 else f"layer {layer}"
        measured = f"{known.lens[row]:.2f} nats, median {known.lens_median[row]:.2f}"
        text = f"held-out KL at {where} {measured} ({others}); {self.source}"
        last = row == len(known.lens) - 1  # the model's own answer, whatever the lens
        better = last or known.lens[row] < min(rivals.values())
        return Check(name=f"{self.lens} lens", text=text, level="ok" if better else "warn")


@dataclass(frozen=True, eq=False)
class Translators:
    """``weights[row]`` ``(d_model, d_model)`` and ``biases[row]`` ``(d_model,)``, in float32 on the CPU.

    The state x of a row is read as ``x @ weight.T + bias``: a final residual stream, or one that is ``normed``, which
    is what the final norm makes of it.
    """

    weights: Mapping[int, Tensor]
    biases: Mapping[int, Tensor]
    normed: bool = False

    def logits(self, model: LoadedModel, row: int, states: Tensor) -> Tensor:
        """The logits ``(…, vocabulary)`` as which states ``(…, d_model)`` of a row are read."""
        return model.unembed(self.read(row, states), self.normed and row in self.weights)

    def read(self, row: int, states: Tensor) -> Tensor:
        """What states ``(…, d_model)`` of a row are mapped to, in their dtype."""
        if row not in self.weights:
            return states
        weight, bias = self.weights[row].to(states.device), self.biases[row].to(states.device)
        return (states.float() @ weight.T + bias).to(states.dtype)


def lens_file(model: LoadedModel, lens: LensName) -> Path:
    """Where the lens of a kind is kept for these weights."""
    return cache_folder() / "lenses" / model.info.fingerprint / f"{model.info.dtype}-{lens}.safetensors"


def keep_lens(model: LoadedModel, about: LensFit, translators: Translators) -> None:
    """Keep a lens in the place of the one before. Raises `InputError` where there is no room."""
    from safetensors.torch import save

    tensors = {f"weight.{row}": weight.contiguous() for row, weight in translators.weights.items()}
    tensors |= {f"bias.{row}": bias.contiguous() for row, bias in translators.biases.items()}
    metadata = {"format": FORMAT, "fingerprint": model.info.fingerprint, "about": about.model_dump_json()}
    metadata["normed"] = "yes" if translators.normed else "no"
    path = lens_file(model, about.lens)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors, metadata))
    except OSError as error:
        raise InputError(f"the lens could not be kept at {path}: {error.strerror or error}; make room") from error


def kept_lens(model: LoadedModel, lens: LensName) -> tuple[LensFit, Translators] | None:
    """The lens that is kept for these weights, None where there is none. Raises `ModelError` for a damaged one."""
    path = lens_file(model, lens)
    damaged = ModelError(f"{path} is a damaged lens; remove it and fit it, or name its file, again")
    try:
        with tensors_of(path) as file:
            metadata = file.metadata() or {}
            about = LensFit.model_validate_json(metadata.get("about", ""))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Unreadable as error:
        if error.missing:
            return None
        raise damaged from error
    except ValidationError as error:
        raise damaged from error
    rows = model.info.layers + 1
    if metadata.get("format") != FORMAT or about.lens != lens or len(about.held_out.lens) != rows:
        raise damaged
    translators = Translators(_by_row(tensors, "weight."), _by_row(tensors, "bias."), metadata.get("normed") == "yes")
    if (wrong := unfit(model, translators)) or metadata.get("fingerprint") != model.info.fingerprint:
        raise damaged from ValueError(wrong)
    return about, translators


def unfit(model: LoadedModel, translators: Translators) -> str:
    """Why a lens cannot be one for a model of this shape, "" where it can."""
    width, layers = model.info.d_model, model.info.layers
    if not translators.weights:
        return "it maps no layer"
    for row, weight in translators.weights.items():
        bias = translators.biases.get(row)
        if not 0 <= row <= layers:
            return f"it maps layer {row - 1}, and the model has layers 0 to {layers - 1}"
        if tuple(weight.shape) != (width, width) or bias is None or tuple(bias.shape) != (width,):
            return f"it maps states of width {weight.shape[-1] if weight.ndim else 0}, and the model's have {width}"
        if not bool(weight.isfinite().all()) or not bool(bias.isfinite().all()):
            return f"its map of layer {row - 1} holds numbers that are not finite"
    return ""


def _by_row(tensors: Mapping[str, Any], prefix: str) -> dict[int, Tensor]:
    return {
        int(name.removeprefix(prefix)): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) and name.removeprefix(prefix).isdecimal()
    }
