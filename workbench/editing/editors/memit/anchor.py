"""Norm-anchor scaling (arXiv 2602.02543): values that have grown far beyond the unedited model's states are cut back.

In long sequences of edits each value is found on states that earlier ones have lengthened; this stops the growth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.datasets.facts import shipped_facts
from workbench.lazy import torch
from workbench.models.forward.layerwise import Layerwise
from workbench.protocol import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

PILOTS = 10
"""Facts of each shipped relation whose states are measured; there are some 200. The paper takes 100 to 1,000."""

DROPPED = 0.05
"""The part of the lengths, the largest, that is left out of the mean."""

FAR = 2.0
"""A value over so many mean lengths is scaled to the mean."""


def anchored(values: Tensor, mean: float) -> Tensor:
    """Values ``(contexts, d_model)``, those of more than `FAR` mean lengths scaled to the mean."""
    lengths = values.norm(dim=-1, keepdim=True)
    return torch.where(lengths > FAR * mean, values * (mean / lengths), values)


def mean_length(model: LoadedModel, layer: int, progress: Progress) -> float:
    """The mean length of the unedited model's states after ``layer`` at the last tokens of known subjects."""
    known = model.edits.baselines
    if (key := f"mean length after layer {layer}") not in known:
        with model.edits.all_off():
            walk = Layerwise(model, _pilots(model))
            while walk.layer < layer:
                for done in walk.advance():
                    progress(done, walk.tokens, stage=f"lengths after layer {walk.layer + 1}")
        lengths = torch.cat([states[:, -1] for states in walk.states]).float().norm(dim=-1).sort().values
        known[key] = float(lengths[: max(1, round(len(lengths) * (1 - DROPPED)))].mean())
    found: float = known[key]
    return found


def _pilots(model: LoadedModel) -> list[tuple[int, ...]]:
    """Prompts after BOS or separator, up to the subject's last token."""
    found = []
    for relation in shipped_facts():
        for fact in relation.facts[:PILOTS]:
            prompt = relation.prompts(fact.subject)[0]
            encoded = model.encode(Case(prompt=prompt, subject=fact.subject, prepend="separator"))
            assert encoded.subject is not None
            if encoded.subject[1] > 1:
                found.append(encoded.ids[: encoded.subject[1]])
    return found
