"""ROME: rewrite one fact by a rank-one change of one layer's MLP down-projection.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv 2202.05262), with the keys and values of the
same prompts throughout, which removes edits that disable a model (arXiv 2403.07175), and every one of these keys made
to receive the change, not only their mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.editing.changes import WeightChange
from workbench.editing.editor import Cases, Editor, Made, Settings
from workbench.editing.editors.key_statistics import key_statistics
from workbench.editing.editors.rome.contexts import (
    essence_contexts,
    prefixes_of,
    rewrite_contexts,
    subject_contexts,
)
from workbench.editing.editors.rome.descent import DescentSettings
from workbench.editing.editors.rome.details import RomeDetails
from workbench.editing.editors.rome.figures import rome_figures
from workbench.editing.editors.rome.key import KeyVariant, direction, subject_keys
from workbench.editing.editors.rome.value import optimise
from workbench.editing.gates import gate, gates
from workbench.editing.layers import check_layer, chosen_layer, w_out, where_one
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.rewriting import one_rewrite
from workbench.lazy import torch
from workbench.numbers import rounded
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

UNEVEN = 0.5
"""The least part of the change that a context may receive. The published computation collapses where the prompt's
own key receives next to nothing and is divided by it (arXiv 2402.09656, 2406.11263)."""


class RomePlace(Settings):
    """Where the edit is made, and by which key: ``variant`` is one of `workbench.editing.editors.rome.key`."""

    layer: Annotated[int | None, Field(ge=0, description="Where to edit; else the layer known for the model.")] = None
    variant: Annotated[
        KeyVariant, Field(description="Every context receives the change, or their mean, or as published.")
    ] = "balanced"


class RomeSettings(DescentSettings, RomePlace):
    """Where a fact is rewritten, and how its value is found."""


def _fits(model: LoadedModel, cases: Cases, settings: RomeSettings) -> None:
    model.encode(cases[0])
    check_layer(model, settings.layer)


def make(model: LoadedModel, cases: Cases, settings: RomeSettings, progress: Progress) -> Made:
    """The change W ← W + δ uᵀ that adds δ to the value of the subject's keys, and makes it that of the target.

    Raises `NumericalError` where the numbers blow up.
    """
    (case,) = cases
    layer, layer_from = chosen_layer(model, settings.layer)
    corpus = Path(settings.corpus) if settings.corpus else None
    statistics = key_statistics(model, layer, corpus, progress=progress)
    progress(0, 1, stage="prefixes")
    sampled = prefixes_of(model, settings.prefixes, settings.prefix_tokens, settings.seed)
    contexts, prefixes = rewrite_contexts(model, case, sampled, settings.prefixes)
    keys = subject_keys(model, layer, contexts)
    values = keys @ w_out(model, layer).T
    of_first = values[0] if settings.variant == "original" else values.mean(dim=0)
    value = optimise(
        model, layer, contexts, essence_contexts(model, case), float(of_first.norm()), settings.optimisation, progress
    )
    first = subject_keys(model, layer, subject_contexts(model, case))
    left, right = value.delta.double(), direction(statistics, keys, first, settings.variant)
    if not bool(torch.isfinite(left).all() and torch.isfinite(right).all()):
        raise model.not_finite("the edit's numbers are", "edit another layer")
    info = EditInfo(
        id=edit_id(model, "rome", cases, settings.model_copy(update={"layer": layer})),
        method="rome",
        title=f"L{layer} {case.subject} → {(case.target or '').strip()}",
        layers=(layer,),
    )
    edit = Edit(info, (WeightChange(layer, left.float()[:, None], right.float()[:, None]),))
    shares = tuple(map(rounded, (keys @ right).tolist()))
    received = f"receive {min(shares):.2f} … {max(shares):.2f} of the change"
    steps = f"{len(value.losses)} steps, p {value.target_probability:.2f} over {len(keys)} contexts"
    return Made(
        edit=edit,
        details=RomeDetails(
            layer=layer,
            layer_from=layer_from,
            prefixes=prefixes,
            losses=tuple(map(rounded, value.losses)),
            size=rounded(model.edits.size(edit)),
            shares=shares,
            checks=(
                statistics.check(),
                Check(
                    name="optimisation",
                    text=steps + ("" if value.resumed else ", complete runs"),
                    level="ok" if value.target_probability > 0.5 else "warn",
                ),
            ),
        ),
        gates=gates(model, edit, case.subject, progress, gate("contexts", received, min(shares) < UNEVEN)),
    )


ROME = Editor(
    "rome",
    "ROME",
    "fact",
    RomeSettings,
    RomeDetails,
    one_rewrite,
    _fits,
    make,
    rome_figures,
    tried="weights",
    where=where_one,
)
