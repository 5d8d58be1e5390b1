"""How good a network is: held-out records, each edited by itself, and their facts asked."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from workbench.editing.editors.mend.gradients import Factors, edited, gradients
from workbench.editing.editors.mend.kept import MendScores
from workbench.editing.editors.mend.material import PARTS, RecordTokens, batches
from workbench.lazy import torch
from workbench.models.forward.upper import UpperLayers, log_probabilities
from workbench.wording import points

if TYPE_CHECKING:
    from workbench.editing.editors.mend.network import Network
    from workbench.loading import LoadedModel

POOR = 0.5
"""A harmonic mean of the held-out scores below which a network is called poor."""


def held_out_scores(
    model: LoadedModel, upper: UpperLayers, network: Network | None, held_out: Sequence[RecordTokens], step: int
) -> MendScores:
    """Each record edited by itself, or not at all without a network, and its facts asked."""
    passed: dict[str, list[bool]] = {role: [] for role in PARTS}
    with torch.no_grad():
        for some in batches(held_out, 8):
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


def said_of(scores: MendScores) -> str:
    """Efficacy / generalization / specificity in %."""
    return " / ".join(points(each) for each in (scores.efficacy, scores.generalization, scores.specificity))
