"""The losses of a training step: what the model says after the edits of some records by the network as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.editing.editors.mend.gradients import Factors, edited, gradients
from workbench.lazy import torch
from workbench.models.forward.upper import Continued, UpperLayers, log_probabilities

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.editing.editors.mend.material import RecordTokens
    from workbench.editing.editors.mend.network import Network
    from workbench.loading import LoadedModel

STAYING = 3
"""Prompts of each record after which nothing is to change, in each step: as many again as rewrite and paraphrase."""


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a network learns from: records, and the states ``(d_model,)`` in which the unedited model ends their texts.

    ``unedited`` has those of every text that is to stay, by its row in ``upper``.
    """

    model: LoadedModel
    upper: UpperLayers
    examples: Sequence[RecordTokens]
    unedited: dict[int, Tensor]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a step is made of: the records' gradient, targets that are asked, and texts that are to stay as they are.

    ``owners`` are the edits under which each of these is read.
    """

    gradient: Factors
    asked: Sequence[Continued]
    stays: Sequence[int]
    owners: Sequence[int]


def draw(lessons: Lessons, layers: Sequence[int], batch: int, seed: int, step: int) -> Lesson:
    """The records of a step, by its number, and what is asked of them."""
    import numpy

    random = numpy.random.RandomState((seed, step))
    examples = lessons.examples
    drawn = [examples[i] for i in random.choice(len(examples), min(batch, len(examples)), replace=False)]
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
    gradient = gradients(lessons.model, layers, lessons.upper, rewrites)
    return Lesson(gradient, asked, stays, [*owners, *stay_owners])


def losses(lessons: Lessons, network: Network, lesson: Lesson) -> tuple[Tensor, Tensor]:
    """The targets' loss and the divergence of what is to stay, in nats, after the edits of a step's records."""
    model, asked = lessons.model, lesson.asked
    with edited(model, network.edits(lesson.gradient), lesson.owners):
        states = lessons.upper.states([*(each.row for each in asked), *lesson.stays])
    loss_edit = -torch.stack([each.mean() for each in log_probabilities(model, states, asked)]).mean()
    if not lesson.stays:
        return loss_edit, torch.zeros_like(loss_edit)
    return loss_edit, _divergence(lessons, states[len(asked) :], lesson.stays)


def _divergence(lessons: Lessons, states: Tensor, rows: Sequence[int]) -> Tensor:
    """KL(unedited ‖ edited) in nats after the last tokens of some texts, their mean."""
    model = lessons.model
    last = states[list(range(len(rows))), [lessons.upper.length(row) - 1 for row in rows]]
    now = model.unembed(last).float().log_softmax(dim=-1)
    with torch.no_grad():
        before = model.unembed(torch.stack([lessons.unedited[row] for row in rows])).float().log_softmax(dim=-1)
    return torch.nn.functional.kl_div(now, before, log_target=True, reduction="batchmean")


def unedited_states(upper: UpperLayers, examples: Sequence[RecordTokens], size: int) -> dict[int, Tensor]:
    """The states ``(d_model,)`` after the last block and token of every text that is to stay, by its row."""
    rows = sorted({row for example in examples for row in example.stays}, key=lambda row: (upper.length(row), row))
    found: dict[int, Tensor] = {}
    with torch.no_grad():
        for begin in range(0, len(rows), size):
            some = rows[begin : begin + size]
            states = upper.states(some)
            found.update((row, states[at, upper.length(row) - 1].clone()) for at, row in enumerate(some))
    return found
