"""Which layer an editor changes, why that one, and the matrix that it changes there: the down-projection ``W_out``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.editing.editor import Details
from workbench.errors import InputError, ModelError
from workbench.lazy import torch
from workbench.paths import cache_folder
from workbench.protocol import Frozen
from workbench.remembering import remember, remembered

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel
    from workbench.models.info import ModelInfo

DEFAULT_MODEL = ("llama", 30, 576)
"""The default model, by architecture, layers and width: what is not as published was measured on it."""

LAYERS = {DEFAULT_MODEL: 5, ("gpt2", 48, 1600): 17, ("gpt2", 24, 1024): 8, ("gptj", 28, 4096): 5}
"""Where to edit, by architecture, layers and width: the default model by our measurement (docs/edits.md), the others
as published (arXiv 2202.05262; the code that came with it)."""

RANGES = {
    DEFAULT_MODEL: (4, 8),
    ("llama", 32, 4096): (4, 8),
    ("gpt2", 48, 1600): (13, 17),
    ("gptj", 28, 4096): (3, 8),
}
"""First and last layer of edits that are spread over several: the default model by our measurement (docs/memit.md), the
others as published (arXiv 2210.07229, arXiv 2410.02355)."""

AROUND = 2
"""Layers on either side of the middle one, in a model that nobody has measured."""

DEPTH = 0.2
"""Where to edit a model that nobody has measured, as a part of its layers."""

SWEPT = "best of the sweep"


class LayerDetails(Details):
    """Details of an editor that changes one layer. ``layer_from`` says in a few words why it is this one."""

    layer: int
    layer_from: str


def is_default_model(info: ModelInfo) -> bool:
    """Whether it is the model on which the defaults were measured, or one of its size."""
    return (info.architecture, info.layers, info.d_model) == DEFAULT_MODEL


def at_depth(info: ModelInfo, depth: float) -> tuple[int, str]:
    """The layer at a part of the depth that was measured on the default model, and where it comes from."""
    elsewhere = "" if is_default_model(info) else ", not measured on this model"
    return round(depth * (info.layers - 1)), f"{depth:.0%} of the depth{elsewhere}"


def where_at_depth(depth: float) -> Callable[[ModelInfo], str]:
    """Says in a few words which layer `at_depth` gives, and where it comes from."""
    return lambda info: ", ".join(map(str, at_depth(info, depth)))


def known_layer(info: ModelInfo) -> int | None:
    """The layer that was measured as the best to edit: on these weights here, by us, or by the authors of a method."""
    here = measured_layer(info.fingerprint)
    return listed_layer(info) if here is None else here


def listed_layer(info: ModelInfo) -> int | None:
    """The layer that the table has for models of this kind and size."""
    return LAYERS.get((info.architecture, info.layers, info.d_model))


def where_one(info: ModelInfo) -> str:
    """The layer that is edited of a model unless another is asked for, in a few words."""
    return ", ".join(map(str, _layer_of(info)))


def where_several(info: ModelInfo) -> str:
    """And the layers of edits that are spread over several."""
    layers, why = _layers_of(info)
    return f"{layers[0]}-{layers[-1]}, {why}"


def chosen_layer(model: LoadedModel, asked: int | None) -> tuple[int, str]:
    """The layer to edit, and where it comes from: asked for, known for the model, or a part of the depth."""
    return _layer_of(model.info) if asked is None else (asked, "asked for")


def _layer_of(info: ModelInfo) -> tuple[int, str]:
    if (known := known_layer(info)) is not None:
        return known, "known for this model" if measured_layer(info.fingerprint) is None else "measured on this model"
    return round(DEPTH * (info.layers - 1)), f"{DEPTH:.0%} of the depth, not measured: try --sweep"


class _KeptLayer(Frozen):
    layer: int


def keep_layer(fingerprint: str, layer: int) -> None:
    """Remember the layer that did best on a model's weights, for edits that name none."""
    remember(_kept_at(fingerprint), _KeptLayer(layer=layer))


def measured_layer(fingerprint: str) -> int | None:
    """The layer that `keep_layer` was given for these weights, None where none was or it cannot be read."""
    found = remembered(_kept_at(fingerprint), _KeptLayer)
    return None if found is None else found.layer


def _kept_at(fingerprint: str) -> Path:
    return cache_folder() / "measured" / f"{fingerprint}.json"


def found_by_sweep(details: Details) -> Details:
    """The same details of an edit whose layer a sweep found: the editor itself was asked for that layer."""
    return details.model_copy(update={"layer_from": SWEPT}) if isinstance(details, LayerDetails) else details


def chosen_layers(model: LoadedModel, asked: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """The layers over which an edit is spread, the first first, and where they come from, as for one layer."""
    return (tuple(sorted(asked)), "asked for") if asked else _layers_of(model.info)


def _layers_of(info: ModelInfo) -> tuple[tuple[int, ...], str]:
    known = RANGES.get((info.architecture, info.layers, info.d_model))
    if known is not None:
        return tuple(range(known[0], known[1] + 1)), "known for this model"
    found = measured_layer(info.fingerprint)
    middle = round(DEPTH * (info.layers - 1)) if found is None else found
    around = range(max(0, middle - AROUND), min(info.layers, middle + AROUND + 1))
    where = f"{DEPTH:.0%} of the depth, not measured" if found is None else f"layer {found}, measured on this model"
    return tuple(around), f"around {where}"


def check_layer(model: LoadedModel, layer: int | None) -> None:
    """Raise `InputError` for a layer that is not there, `ModelError` where W_out cannot be changed."""
    if layer is not None and not 0 <= layer < model.info.layers:
        raise InputError(f"there is no layer {layer}; choose from 0 to {model.info.layers - 1}")
    weight = model.down_projection(layer or 0).weight
    assert isinstance(weight, torch.Tensor)
    d_model, d_mlp = model.info.d_model, model.anatomy.mlp_widths[layer or 0]
    if not weight.is_floating_point() or weight.shape not in ((d_model, d_mlp), (d_mlp, d_model)):
        raise ModelError(
            f"the down-projections of {model.info.name} are quantised, and a change cannot be added to them; load the "
            "model in float32, bfloat16 or float16"
        )


def w_out(model: LoadedModel, layer: int) -> Tensor:
    """W_out ``(d_model, d_mlp)`` in float64 on the CPU, as it is now."""
    weight: Tensor = model.down_projection(layer).weight.detach().double().cpu()  # type: ignore[operator]
    return weight.T if model.anatomy.down_projection_in_first else weight
