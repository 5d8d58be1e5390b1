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
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from workbench.datasets.suites import EditRecord
from workbench.editing.editors.mend.gradients import Factors, edited, gradients
from workbench.editing.editors.mend.kept import (
    History,
    Loss,
    MendScores,
    TrainedNetwork,
    checkpoint_file,
    keep,
    kept,
    network_file,
)
from workbench.editing.editors.mend.material import PARTS, Material, RecordTokens, material, shipped_records
from workbench.editing.editors.mend.network import LEARNED, Network, untrained
from workbench.editing.layers import check_layer
from workbench.errors import Cancelled, InputError
from workbench.figures import Curve, Curves, Figure, Line, line, said
from workbench.lazy import torch
from workbench.models.forward.upper import Continued, UpperLayers, log_probabilities
from workbench.numbers import rounded
from workbench.protocol import Check, Method, Progress, Request, Result, part
from workbench.settings import TypedLayers
from workbench.wording import count, points

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

LAST = 3
"""How many layers are edited unless they are named: the last three, as published."""

SAMPLED = 256
"""Records whose gradients say what is normal."""

HALVINGS = 12
"""How often the first step sizes are halved at most."""

STAYING = 3
"""Prompts of each record after which nothing is to change, in each step: as many again as rewrite and paraphrase."""

REPORTED = 20
"""Steps that a point of the losses' curve is the mean of."""

CLIP = 100.0
"""The longest gradient of a step, as published."""

POOR = 0.5
"""A harmonic mean of the held-out scores below which the network is called poor."""


class TrainRequest(Request):
    """Train the network of an editor that has to be trained, or go on with a training that was stopped.

    Without ``records`` it is trained on counterfactual answers to the shipped facts. Rates, rank and batch are for
    a small model and some thousand steps; published: rate 1e-6 and rank 1,920 for up to 100,000 steps of ten.
    """

    kind: Literal["train-editor"] = "train-editor"
    editor: Literal["mend"] = "mend"
    records: tuple[EditRecord, ...] = ()
    steps: Annotated[int, Field(ge=1, le=1_000_000, description="How many steps, those made before included.")] = 1500
    batch: Annotated[int, Field(ge=1, le=4096, description="Records of a step.")] = 16
    layers: Annotated[TypedLayers, Field(description="Where to edit, such as 27-29; else the last three layers.")] = ()
    rank: Annotated[int, Field(ge=1, le=8192, description="The network's rank.")] = 256
    rate: Annotated[float, Field(gt=0, le=1, description="Adam's learning rate.")] = 3e-4
    step_rate: Annotated[float, Field(gt=0, le=1, description="That of the logarithms of the step sizes.")] = 1e-2
    c_edit: Annotated[float, Field(ge=0, description="Weight of the targets' loss.")] = 0.1
    c_loc: Annotated[float, Field(ge=0, description="Weight of the divergence of what is to stay.")] = 1.0
    every: Annotated[int, Field(ge=1, description="Steps from one measurement on held-out records to the next.")] = 100
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of the network, the records drawn, those held out.")] = 0


class TrainResult(Result):
    """``history`` is that of the training so far; ``resumed`` the step at which it was taken up, 0 for a new one."""

    kind: Literal["train-editor"] = "train-editor"
    editor: str
    steps: int
    resumed: int
    history: History


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

    model: LoadedModel
    upper: UpperLayers
    material: Material
    unedited: dict[int, Tensor]
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
        fingerprint = self.model.info.fingerprint
        keep(checkpoint_file(fingerprint), fingerprint, TrainedNetwork(self.network, self.history, state))

    def measured(self) -> None:
        """Measure on what is held out, and keep the network where it is the best so far."""
        scores = held_out_scores(self.model, self.upper, self.network, self.material.held_out, self.history.step)
        self.history = self.history.model_copy(update={"scores": (*self.history.scores, scores)})
        if self.history.best is scores:
            fingerprint = self.model.info.fingerprint
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
            for some in _batches(read.examples[:SAMPLED], request.batch)
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
    unedited = _unedited(upper, read.examples, 4 * request.batch)
    training = _Training(model, upper, read, unedited, network, adam, history, history.step, since)
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
        loss_edit, loss_kept = _losses(training, _draw(training, request, step))
        found = float(loss_edit.detach()), float(loss_kept.detach())
        if not all(map(math.isfinite, found)):
            raise training.model.not_finite(f"the loss of step {step + 1} is", "use a smaller rate")
        training.adam.zero_grad()
        loss = request.c_edit * loss_edit + request.c_loc * loss_kept
        loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(list(training.network.learned.values()), CLIP)
    training.adam.step()
    return found


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What a step is made of: the records' gradient, targets that are asked, and texts that are to stay as they are.

    ``owners`` are the edits under which each of these is read.
    """

    gradient: Factors
    asked: Sequence[Continued]
    stays: Sequence[int]
    owners: Sequence[int]


def _draw(training: _Training, request: TrainRequest, step: int) -> _Drawn:
    """The records of a step, by its number, and what is asked of them."""
    import numpy

    random = numpy.random.RandomState((request.seed, step))
    examples = training.material.examples
    drawn = [examples[i] for i in random.choice(len(examples), min(request.batch, len(examples)), replace=False)]
    rewrites = [example.rewrite for example in drawn]
    asked, owners, stays, stay_owners = [], list[int](), list[int](), list[int]()
    for edit, example in enumerate(drawn):
        others = example.paraphrases or (example.rewrite,)
        asked += [example.rewrite, others[random.randint(len(others))]]
        owners += [edit, edit]
        other = examples[random.randint(len(examples))]
        for pool in (*(STAYING - 1) * (example.stays,), other.stays):
            if pool:
                stays.append(pool[random.randint(len(pool))])
                stay_owners.append(edit)
    gradient = gradients(training.model, training.network.layers, training.upper, rewrites)
    return _Drawn(gradient, asked, stays, [*owners, *stay_owners])


def _losses(training: _Training, drawn: _Drawn) -> tuple[Tensor, Tensor]:
    """The targets' loss and the divergence of what is to stay, in nats, after the edits of a step's records."""
    model, asked = training.model, drawn.asked
    with edited(model, training.network.edits(drawn.gradient), drawn.owners):
        states = training.upper.states([*(each.row for each in asked), *drawn.stays])
    loss_edit = -torch.stack([each.mean() for each in log_probabilities(model, states, asked)]).mean()
    if not drawn.stays:
        return loss_edit, torch.zeros_like(loss_edit)
    return loss_edit, _divergence(training, states[len(asked) :], drawn.stays)


def _find_first_steps(training: _Training, request: TrainRequest, progress: Progress) -> None:
    """Halve the untrained network's steps until the loss of the first records' edits is at its lowest."""
    log_step = training.network.tensors["log_step"]
    found: dict[int, float] = {}
    drawn = _draw(training, request, 0)
    with torch.no_grad():
        for halvings in range(HALVINGS):
            progress(0, request.steps, stage="finding the first step size")
            loss_edit, loss_kept = _losses(training, drawn)
            found[halvings] = float(request.c_edit * loss_edit + request.c_loc * loss_kept)
            log_step -= math.log(2)
        best = min(found, key=lambda halvings: found[halvings])
        log_step += (HALVINGS - best) * math.log(2)


def _divergence(training: _Training, states: Tensor, rows: Sequence[int]) -> Tensor:
    """KL(unedited ‖ edited) in nats after the last tokens of some texts, their mean."""
    model = training.model
    last = states[list(range(len(rows))), [training.upper.length(row) - 1 for row in rows]]
    now = model.unembed(last).float().log_softmax(dim=-1)
    with torch.no_grad():
        before = model.unembed(torch.stack([training.unedited[row] for row in rows])).float().log_softmax(dim=-1)
    return torch.nn.functional.kl_div(now, before, log_target=True, reduction="batchmean")


def _unedited(upper: UpperLayers, examples: Sequence[RecordTokens], size: int) -> dict[int, Tensor]:
    """The states ``(d_model,)`` after the last block and token of every text that is to stay, by its row."""
    rows = sorted({row for example in examples for row in example.stays}, key=lambda row: (upper.length(row), row))
    found: dict[int, Tensor] = {}
    with torch.no_grad():
        for begin in range(0, len(rows), size):
            some = rows[begin : begin + size]
            states = upper.states(some)
            found.update((row, states[at, upper.length(row) - 1].clone()) for at, row in enumerate(some))
    return found


def held_out_scores(
    model: LoadedModel, upper: UpperLayers, network: Network | None, held_out: Sequence[RecordTokens], step: int
) -> MendScores:
    """Each record edited by itself, or not at all without a network, and its facts asked."""
    passed: dict[str, list[bool]] = {role: [] for role in PARTS}
    with torch.no_grad():
        for some in _batches(held_out, 8):
            changes: Factors = {}
            if network is not None:
                changes = network.edits(gradients(model, network.layers, upper, [each.rewrite for each in some]))
            asked = [
                (edit, question.role, each)
                for edit, example in enumerate(some)
                for question in example.questions
                for each in (question.right, question.wrong)
            ]
            with edited(model, changes, [edit for edit, _, _ in asked]):
                states = upper.states([each.row for _, _, each in asked])
            found = log_probabilities(model, states, [each for _, _, each in asked])
            for (_, role, _), right, wrong in zip(asked[::2], found[::2], found[1::2], strict=True):
                passed[role].append(bool(right.mean() > wrong.mean()))
    efficacy, generalization, specificity = (fmean(passed[role]) if passed[role] else None for role in PARTS)
    return MendScores(step=step, efficacy=efficacy or 0.0, generalization=generalization, specificity=specificity)


def _batches(examples: Sequence[RecordTokens], size: int) -> list[Sequence[RecordTokens]]:
    return [examples[begin : begin + size] for begin in range(0, len(examples), size)]


def said_of(scores: MendScores) -> str:
    """Efficacy / generalization / specificity in %."""
    return " / ".join(points(each) for each in (scores.efficacy, scores.generalization, scores.specificity))


def _checks(training: _Training, steps: int) -> tuple[Check, ...]:
    history, read = training.history, training.material
    found = []
    if (best := history.best) is not None:
        text = f"{said_of(best)} at step {best.step}, unedited {said_of(history.unedited)}"
        found.append(Check(name="held out", text=text, level="warn" if best.harmonic < POOR else "ok"))
    if history.step < steps:
        found.append(Check(name="steps", text=f"{history.step} of {steps}; ask again to go on", level="warn"))
    resumed = training.upper.resumed or not history.layers[0]
    parity = f"resumed, parity {training.upper.parity:.0e}" if resumed else "complete runs"
    found.append(Check(name="lower layers", text=parity, level="ok" if resumed else "info"))
    if read.unusable:
        found.append(Check(name="records", text=f"{read.unusable} could not be read", level="warn"))
    return tuple(found)


def figures(result: TrainResult) -> tuple[Figure, ...]:
    """What was trained on what, the scores, and both losses and scores by step."""
    history = result.history
    where = ", ".join(map(str, history.layers))
    taken_up = f", taken up at {result.resumed}" if result.resumed else ""
    lines: list[str | Line] = [
        f"MEND at layers {where}: step {history.step} of {result.steps}{taken_up}; "
        f"{count(history.records, 'record')}, {history.held_out} held out",
        line(f"unedited {said_of(history.unedited)} (efficacy / generalization / specificity)", "muted"),
    ]
    if (best := history.best) is not None:
        lines.append(f"best {said_of(best)}, at step {best.step}; this network is used from now on")
    found: list[Figure] = [*said(*lines)]
    if history.losses:
        pairs = {"targets": "edit", "divergence of what is to stay": "locality"}
        curves = tuple(
            Curve(label=label, points=tuple((float(loss.step), getattr(loss, name)) for loss in history.losses))
            for label, name in pairs.items()
        )
        found.append(Curves(title="Losses", x="step", y="nats", curves=curves))
    if history.scores:
        every = (history.unedited, *history.scores)
        names = ("efficacy", "generalization", "specificity")
        curves = tuple(
            Curve(
                label=name,
                points=tuple(
                    (float(each.step), None if (value := getattr(each, name)) is None else 100 * value)
                    for each in every
                ),
                decimals=1,
            )
            for name in names
        )
        found.append(Curves(title="Held-out records", x="step", y="% that pass", curves=curves))
    return tuple(found)


TRAINING = Method("Training of an editor", TrainRequest, TrainResult, run, figures)
