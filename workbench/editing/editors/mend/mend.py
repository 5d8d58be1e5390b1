"""MEND: an edit is one step of gradient descent, mapped by a network that was trained to make such steps good edits.

Mitchell et al. 2022, "Fast Model Editing at Scale" (arXiv 2110.11309): the rank-one factors of the fine-tuning gradient
of some late down-projections go through a hypernetwork, and their products, times learned step sizes, are the change.
The network is trained once for a model (`workbench.editing.editors.mend.training`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.editing.changes import DenseChange, WeightChange
from workbench.editing.editor import Cases, Details, Editor, Made, Settings
from workbench.editing.editors.mend.gradients import edited, gradients
from workbench.editing.editors.mend.kept import History, MendScores, kept, kept_history, network_file
from workbench.editing.editors.mend.scoring import POOR, said_of
from workbench.editing.gates import gate, gates
from workbench.editing.layers import check_layer
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.rewriting import one_continuation
from workbench.errors import ModelError
from workbench.figures import Figure, said
from workbench.lazy import torch
from workbench.models.forward.upper import Continued, Texts, UpperLayers, log_probabilities
from workbench.models.tokens import continuation_ids
from workbench.numbers import rounded
from workbench.protocol import Check, Progress, part

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TAKES = "about 45 minutes on two cores for the default model, some minutes on a GPU"


class MendSettings(Settings):
    """There is little to set: what an edit is like was decided by training."""

    scale: Annotated[float, Field(gt=0, le=100, description="What the step is multiplied by.")] = 1.0


class MendDetails(Details):
    """``sizes`` are ‖ΔW‖ / ‖W‖ by layer; probabilities those of the whole target. ``scores`` are the network's on
    held-out records and ``unedited`` the model's own; ``trained`` names its training."""

    layers: tuple[int, ...]
    sizes: tuple[float, ...]
    probability_before: float
    probability: float
    trained: str
    records: int
    scores: MendScores
    unedited: MendScores


def _fits(model: LoadedModel, cases: Cases, settings: MendSettings) -> None:  # noqa: ARG001 - fields check themselves
    answers = continuation_ids(model.tokenizer, cases[0])
    model.encode(cases[0], len(answers) - 1)
    check_layer(model, None)
    if not network_file(model.info.fingerprint).exists():
        raise untrained_model(model)


def untrained_model(model: LoadedModel) -> ModelError:
    """What is said where there is no network for these weights."""
    return ModelError(
        f"MEND has not been trained for the weights of {model.info.name}; train it once by "
        f"`workbench editors train mend --model {model.info.name}` ({TAKES})"
    )


def make(model: LoadedModel, cases: Cases, settings: MendSettings, progress: Progress) -> Made:
    """One gradient, mapped. Raises `ModelError` without a trained network, `NumericalError` where it is not finite."""
    (case,) = cases
    progress(0, 3, stage="reading the network")
    trained = kept(network_file(model.info.fingerprint), model)
    if trained is None or trained.history.best is None:
        raise untrained_model(model)
    network, layers = trained.network, trained.history.layers
    texts = Texts()
    asked = texts.continued(model.encode(case).ids, continuation_ids(model.tokenizer, case))
    upper = UpperLayers(model, layers[0], texts.ids, part(progress, 0, 0, 3))
    progress(1, 3, stage="gradient")
    with torch.no_grad():
        changes = {
            layer: (settings.scale * left, right)
            for layer, (left, right) in network.edits(gradients(model, layers, upper, [asked])).items()
        }
        before = _probability(model, upper, asked)
        with edited(model, changes, [0]):
            after = _probability(model, upper, asked)
    if not math.isfinite(after) or not all(bool(each.isfinite().all()) for pair in changes.values() for each in pair):
        raise model.not_finite("the edit's numbers are")
    info = EditInfo(
        id=edit_id(model, f"mend {_version(trained.history)}", cases, settings),
        method="mend",
        title=f"{_layers(layers)} {case.subject or case.prompt} → {(case.target or '').strip()}",
        layers=layers,
    )
    edit = Edit(info, tuple(_change(layer, left[0].cpu(), right[0].cpu()) for layer, (left, right) in changes.items()))
    sizes = tuple(rounded(model.edits.size(Edit(info, (change,)))) for change in edit.changes)
    details = MendDetails(
        layers=layers,
        sizes=sizes,
        probability_before=rounded(before),
        probability=rounded(after),
        trained=trained.history.training,
        records=trained.history.records,
        scores=trained.history.best,
        unedited=trained.history.unedited,
        checks=_checks(trained.history, before, after),
    )
    return Made(edit, details, gates(model, edit, case.subject, part(progress, 2, 1, 3)))


def _version(history: History) -> str:
    return f"{history.training} {history.step}"


def _layers(layers: tuple[int, ...]) -> str:
    consecutive = layers == tuple(range(layers[0], layers[-1] + 1))
    return f"L{layers[0]}-{layers[-1]}" if consecutive and len(layers) > 1 else "L" + ",".join(map(str, layers))


def _change(layer: int, left: torch.Tensor, right: torch.Tensor) -> WeightChange | DenseChange:
    """From factors ``(tokens, width)``. A text may have more tokens than the matrix has rows."""
    live = (left != 0).any(dim=-1)
    left, right = left[live].T.contiguous(), right[live].T.contiguous()
    return WeightChange(layer, left, right) if left.shape[1] < left.shape[0] else DenseChange(layer, left @ right.T)


def _probability(model: LoadedModel, upper: UpperLayers, asked: Continued) -> float:
    (log_p,) = log_probabilities(model, upper.states([0]), [asked])
    return math.exp(float(log_p.sum()))


def _checks(history: History, before: float, after: float) -> tuple[Check, ...]:
    best = history.best
    assert best is not None
    held_out = f"{said_of(best)} on {history.held_out} held-out records"
    network = f"{held_out} of the kinds it was trained on ({best.step} steps, {history.records} records)"
    return (
        gate("edit", f"p {before:.2f} → {after:.2f} in one step", after <= 0.5),
        gate("network", network, best.harmonic < POOR),
    )


def figures(details: MendDetails) -> tuple[Figure, ...]:
    """Layers and sizes, and how far the network is to be trusted, in words."""
    sizes = ", ".join(f"{layer}: {size:.1%}" for layer, size in zip(details.layers, details.sizes, strict=True))
    scores = (
        f"{said_of(details.scores)} (efficacy / generalization / specificity; unedited {said_of(details.unedited)})"
    )
    return said(
        f"layers {sizes} of the matrix; p(target) {details.probability_before:.3f} → {details.probability:.3f}",
        f"the network's held-out scores, on facts of the kinds it was trained on: {scores}",
    )


def trained_as(model: LoadedModel) -> str:
    """The training and the step that the network in use comes from; empty where there is none."""
    history = kept_history(network_file(model.info.fingerprint), model.info.fingerprint)
    return "" if history is None else _version(history)


MEND = Editor(
    "mend",
    "MEND",
    "fact",
    MendSettings,
    MendDetails,
    one_continuation,
    _fits,
    make,
    figures,
    trained_as=trained_as,
)
