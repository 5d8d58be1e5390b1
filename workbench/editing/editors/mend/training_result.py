"""What a training of an editor is asked and gives, and how that is drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workbench.datasets.suites import EditRecord
from workbench.editing.editors.mend.kept import History
from workbench.editing.editors.mend.scoring import said_of
from workbench.figures import Curve, Curves, Figure, Line, line, said
from workbench.protocol import Request, Result
from workbench.settings import TypedLayers
from workbench.wording import count


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
