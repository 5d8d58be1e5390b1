"""Training MEND's hypernetwork, once for a model: ``workbench editors train mend``.

Mitchell et al. 2022 (arXiv 2110.11309), section 3.2 and algorithm 1: each record's edit is made by the network as it
is, and the network learned by what the edited model then says: L = c_edit L_edit + c_loc L_loc, with the targets'
negative log-probability on the rewrite and a paraphrase, and KL(unedited ‖ edited) on what is to stay. Gradients
are taken of the network alone, never through the gradient that it maps; the layers below the edited ones run once for
each text. Steps depend on the seed and their number alone, so that a training that was stopped goes on as if it had
not been.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from workbench.datasets.suites import EditRecord
from workbench.editing.editors.mend.gradients import gradients
from workbench.editing.editors.mend.kept import (
    History,
    Loss,
    TrainedNetwork,
    checkpoint_file,
    keep,
    kept,
    network_file,
)
from workbench.editing.editors.mend.losses import Lesson, Lessons, draw, losses, unedited_states
from workbench.editing.editors.mend.material import Material, batches, material, shipped_records
from workbench.editing.editors.mend.network import LEARNED, Network, untrained
from workbench.editing.editors.mend.scoring import POOR, held_out_scores, said_of
from workbench.editing.editors.mend.training_result import TrainRequest, TrainResult, figures
from workbench.editing.layers import check_layer
from workbench.errors import Cancelled, InputError
from workbench.lazy import torch
from workbench.models.forward.upper import UpperLayers
from workbench.numbers import rounded
from workbench.protocol import Check, Method, Progress, part

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

LAST = 3
"""How many layers are edited unless they are named: the last three, as published."""

SAMPLED = 256
"""Records whose gradients say what is normal."""

HALVINGS = 12
"""How often the first step sizes are halved at most."""

REPORTED = 20
"""Steps that a point of the losses' curve is the mean of."""

CLIP = 100.0
"""The longest gradient of a step, as published."""


def run(model: LoadedModel, request: TrainRequest, progress: Progress) -> TrainResult:
    """Train, and keep the network that does best on held-out records. Progress counts steps.

    What was reached is kept when it is stopped. The model has its own edits again afterwards; it is trained without.
    Raises `InputError` for records and layers that make no sense, `ModelError` for a model without down-projections,
    `NumericalError` where a loss is not finite.
    """
    layers = request.layers or tuple(range(max(0, model.info.layers - LAST), model.info.layers))
    for layer in layers:
        check_layer(model, layer)
    if len({model.anatomy.mlp_widths[layer] for layer in layers}) > 1:
        raise InputError(
            "the MLPs of these layers have different widths, for which there is no one network; name others"
        )
    layers = tuple(sorted(set(layers)))
    with model.edits.all_off():
        training = _begin(model, request, layers, progress)
        try:
            _train(training, request, progress)
        except Cancelled:
            training.checkpoint()
            progress(training.history.step, request.steps, training.result(request.steps), stage="stopped")
            raise
    return training.result(request.steps)


@dataclass(eq=False)
class _Training:
    """What changes from step to step, and what does not."""

    lessons: Lessons
    material: Material
    network: Network
    adam: Any
    history: History
    resumed: int
    since: list[tuple[float, float]] = field(default_factory=list)

    def checkpoint(self) -> None:
        """Keep what it takes to go on from here."""
        state = {
            f"{part}.{name}": values[part]
            for name, tensor in self.network.learned.items()
            for values in [self.adam.state.get(tensor, {})]
            for part in ("exp_avg", "exp_avg_sq")
            if part in values
        }
        if self.since:
            state["since"] = torch.tensor(self.since, dtype=torch.float64)
        fingerprint = self.lessons.model.info.fingerprint
        keep(checkpoint_file(fingerprint), fingerprint, TrainedNetwork(self.network, self.history, state))

    def measured(self) -> None:
        """Measure on what is held out, and keep the network where it is the best so far."""
        model, upper = self.lessons.model, self.lessons.upper
        scores = held_out_scores(model, upper, self.network, self.material.held_out, self.history.step)
        self.history = self.history.model_copy(update={"scores": (*self.history.scores, scores)})
        if self.history.best is scores:
            fingerprint = model.info.fingerprint
            keep(network_file(fingerprint), fingerprint, TrainedNetwork(self.network, self.history, {}))

    def result(self, steps: int) -> TrainResult:
        """What there is so far."""
        return TrainResult(
            editor="mend", steps=steps, resumed=self.resumed, history=self.history, checks=_checks(self, steps)
        )


def _begin(model: LoadedModel, request: TrainRequest, layers: tuple[int, ...], progress: Progress) -> _Training:
    """Read the records, run what has to be run once, and take up the training where there is one."""
    progress(0, request.steps, stage="reading the records")
    records = request.records or shipped_records(request.seed)
    read = material(model, records, request.seed)
    name = _name(model, request, records, layers)
    upper = UpperLayers(model, layers[0], read.texts.ids, part(progress, 0, 0, request.steps))
    before = kept(checkpoint_file(model.info.fingerprint), model)
    is_new = before is None or before.history.training != name
    if before is not None and not is_new:
        network, history, state = before.network, before.history, before.state
    else:
        progress(0, request.steps, stage="gradients of the records")
        sample = [
            gradients(model, layers, upper, [example.rewrite for example in some])
            for some in batches(read.examples[:SAMPLED], request.batch)
        ]
        network, state = untrained(model, layers, request.rank, request.seed, sample), {}
        history = History(
            training=name,
            layers=layers,
            records=len(read.examples),
            held_out=len(read.held_out),
            step=0,
            unedited=held_out_scores(model, upper, None, read.held_out, 0),
        )
    adam = _optimiser(network, request, history.step, state)
    since = [(float(edit), float(kept)) for edit, kept in state["since"]] if "since" in state else []
    unedited = unedited_states(upper, read.examples, 4 * request.batch)
    lessons = Lessons(model, upper, read.examples, unedited)
    training = _Training(lessons, read, network, adam, history, history.step, since)
    if is_new:
        _find_first_steps(training, request, progress)
    return training


def _name(model: LoadedModel, request: TrainRequest, records: Sequence[EditRecord], layers: tuple[int, ...]) -> str:
    """The same for two requests of which one goes on with the other."""
    plain = request.model_copy(update={"records": (), "steps": 1, "layers": layers})
    parts = (model.info.fingerprint, model.info.dtype, plain.model_dump_json(), *(r.model_dump_json() for r in records))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _optimiser(network: Network, request: TrainRequest, step: int, state: Any) -> Any:
    """Adam over what is learned, as it was after ``step`` steps."""
    for tensor in network.learned.values():
        tensor.requires_grad_()
    steps = [network.tensors["log_step"]]
    others = [network.tensors[name] for name in LEARNED if name != "log_step"]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": steps, "lr": request.step_rate}]
    adam = torch.optim.Adam(groups, lr=request.rate)
    for name, tensor in network.learned.items():
        if f"exp_avg.{name}" in state:
            moments = {part: state[f"{part}.{name}"].clone() for part in ("exp_avg", "exp_avg_sq")}
            adam.state[tensor] = {"step": torch.tensor(float(step)), **moments}
    return adam


def _train(training: _Training, request: TrainRequest, progress: Progress) -> None:
    while True:
        step = training.history.step
        due = step % request.every == 0 or step == request.steps
        if step and due and all(scores.step < step for scores in training.history.scores):
            progress(step, request.steps, training.result(request.steps), stage="measuring on held-out records")
            training.measured()
            training.checkpoint()
        if step >= request.steps:
            return
        stage = f"training, edit {training.since[-1][0]:.2f} nats" if training.since else "training"
        progress(step, request.steps, training.result(request.steps), stage=stage)
        training.since.append(_step(training, request, step))
        update: dict[str, Any] = {"step": step + 1}
        if (step + 1) % REPORTED == 0 or step + 1 == request.steps:
            edit, locality = (rounded(fmean(each)) for each in zip(*training.since, strict=True))
            update["losses"] = (*training.history.losses, Loss(step=step + 1, edit=edit, locality=locality))
            training.since.clear()
        training.history = training.history.model_copy(update=update)


def _step(training: _Training, request: TrainRequest, step: int) -> tuple[float, float]:
    """One step of Adam on some records drawn by the step's number. Returns the two losses."""
    with torch.enable_grad():
        loss_edit, loss_kept = losses(training.lessons, training.network, _lesson(training, request, step))
        found = float(loss_edit.detach()), float(loss_kept.detach())
        if not all(map(math.isfinite, found)):
            raise training.lessons.model.not_finite(f"the loss of step {step + 1} is", "use a smaller rate")
        training.adam.zero_grad()
        loss = request.c_edit * loss_edit + request.c_loc * loss_kept
        loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(list(training.network.learned.values()), CLIP)
    training.adam.step()
    return found


def _lesson(training: _Training, request: TrainRequest, step: int) -> Lesson:
    return draw(training.lessons, training.network.layers, request.batch, request.seed, step)


def _find_first_steps(training: _Training, request: TrainRequest, progress: Progress) -> None:
    """Halve the untrained network's steps until the loss of the first records' edits is at its lowest."""
    log_step = training.network.tensors["log_step"]
    found: dict[int, float] = {}
    drawn = _lesson(training, request, 0)
    with torch.no_grad():
        for halvings in range(HALVINGS):
            progress(0, request.steps, stage="finding the first step size")
            loss_edit, loss_kept = losses(training.lessons, training.network, drawn)
            found[halvings] = float(request.c_edit * loss_edit + request.c_loc * loss_kept)
            log_step -= math.log(2)
        best = min(found, key=lambda halvings: found[halvings])
        log_step += (HALVINGS - best) * math.log(2)


def _checks(training: _Training, steps: int) -> tuple[Check, ...]:
    history, read = training.history, training.material
    found = []
    if (best := history.best) is not None:
        text = f"{said_of(best)} at step {best.step}, unedited {said_of(history.unedited)}"
        found.append(Check(name="held out", text=text, level="warn" if best.harmonic < POOR else "ok"))
    if history.step < steps:
        found.append(Check(name="steps", text=f"{history.step} of {steps}; ask again to go on", level="warn"))
    upper = training.lessons.upper
    resumed = upper.resumed or not history.layers[0]
    parity = f"resumed, parity {upper.parity:.0e}" if resumed else "complete runs"
    found.append(Check(name="lower layers", text=parity, level="ok" if resumed else "info"))
    if read.unusable:
        found.append(Check(name="records", text=f"{read.unusable} could not be read", level="warn"))
    return tuple(found)


TRAINING = Method("Training of an editor", TrainRequest, TrainResult, run, figures)
