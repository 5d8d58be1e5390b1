"""Fine-tuning on many facts together: one late MLP down-projection, in mini-batches and epochs.

LocFT-BF (arXiv 2509.22072): fine-tuning fails as an editor where each fact is trained to the end before the next one
begins; run over all of them in epochs of mini-batches, at one well-chosen layer, it is a strong baseline. The loss is
FT-M's, on the target's own tokens alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.editing.changes import DenseChange
from workbench.editing.editor import Cases, Editor, Made, Settings
from workbench.editing.gates import gate, gates
from workbench.editing.layers import LayerDetails, at_depth, check_layer, where_at_depth
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.rewriting import continuations
from workbench.figures import Curve, Curves, Figure, said
from workbench.lazy import torch
from workbench.models.forward.upper import Texts, UpperLayers, log_probabilities
from workbench.models.tokens import continuation_ids
from workbench.numbers import rounded
from workbench.protocol import Check, Progress, part
from workbench.wording import count

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

DEPTH = 0.7
"""Which layer is tuned unless one is asked for, as a part of the layers: 20 of the default model's 30."""


class FtBatchSettings(Settings):
    """How a down-projection is fine-tuned on many facts; docs/fine-tuning.md has what was measured."""

    layer: Annotated[int | None, Field(ge=0, description="Where to edit; else at 70 % of the depth.")] = None
    epochs: Annotated[int, Field(ge=1, le=1000, description="Most passes over all facts.")] = 50
    mini_batch: Annotated[int, Field(ge=1, le=1000, description="Facts of a mini-batch.")] = 8
    rate: Annotated[float, Field(gt=0, le=1, description="Adam's learning rate.")] = 5e-4
    weight_decay: Annotated[
        float, Field(ge=0, le=1, description="Pull of each step back to the unchanged matrix (Adam's L2 penalty).")
    ] = 0.0
    enough: Annotated[
        float, Field(gt=0, le=1, description="The probability of their targets at which facts are left alone.")
    ] = 0.95
    seed: Annotated[int, Field(ge=0, lt=2**32, description="Of the order of the facts in each epoch.")] = 0


class FineTunedTogether(LayerDetails):
    """``losses`` are means over the facts, in nats a token of the target: as met in each epoch, and after the last.

    Probabilities are those of whole targets, means over the facts; ``reached`` counts those that are over one half.
    ``size`` is ‖ΔW‖ / ‖W‖ and ``largest`` the largest entry of ΔW.
    """

    facts: int
    losses: tuple[float, ...]
    probability_before: float
    probability: float
    reached: int
    size: float
    largest: float


def _fits(model: LoadedModel, cases: Cases, settings: FtBatchSettings) -> None:
    for case in cases:
        answers = continuation_ids(model.tokenizer, case)
        model.encode(case, len(answers) - 1)
    check_layer(model, settings.layer)


def make(model: LoadedModel, cases: Cases, settings: FtBatchSettings, progress: Progress) -> Made:
    """Fine-tune on all cases together, and see what else the change does.

    Raises `NumericalError` where a loss is not finite.
    """
    layer, layer_from = _layer(model, settings.layer)
    tuned = _descend(model, layer, cases, settings, part(progress, 0, 95, 100))
    several = len(cases) > 1
    (first, *_) = cases
    alone = f"{first.subject or first.prompt} → {(first.target or '').strip()}"
    about = count(len(cases), "fact") if several else alone
    info = EditInfo(
        id=edit_id(model, "ft-batch", cases, settings.model_copy(update={"layer": layer})),
        method="ft-batch",
        title=f"L{layer} {about}",
        layers=(layer,),
    )
    edit = Edit(info, (DenseChange(layer, tuned.delta),))
    details = FineTunedTogether(
        layer=layer,
        layer_from=layer_from,
        facts=len(cases),
        losses=tuple(map(rounded, tuned.losses)),
        probability_before=rounded(fmean(tuned.before)),
        probability=rounded(fmean(tuned.after)),
        reached=sum(probability > 0.5 for probability in tuned.after),
        size=rounded(model.edits.size(edit)),
        largest=rounded(float(tuned.delta.abs().max())),
        checks=_checks(tuned),
    )
    return Made(edit, details, gates(model, edit, None if several else first.subject, part(progress, 95, 5, 100)))


def _layer(model: LoadedModel, asked: int | None) -> tuple[int, str]:
    if asked is not None:
        return asked, "asked for"
    return at_depth(model.info, DEPTH)


@dataclass(frozen=True, eq=False)
class _Tuned:
    """``delta`` ``(d_model, d_mlp)`` float32 on the CPU; the target's probability of each fact, before and after."""

    delta: Tensor
    losses: tuple[float, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def _descend(model: LoadedModel, layer: int, cases: Cases, settings: FtBatchSettings, progress: Progress) -> _Tuned:
    """Adam on ΔW, a step for each mini-batch in which a target is not likely enough. Progress counts facts.

    It ends after ``epochs``, or after one in which no step was taken.
    """
    path = model.down_projection_path(layer)
    weight = model.hf.get_parameter(path)
    texts = Texts()
    facts = [texts.continued(model.encode(case).ids, continuation_ids(model.tokenizer, case)) for case in cases]
    upper = UpperLayers(model, layer, texts.ids, part(progress, 0, 0, 1))
    drawn = _Orders(settings.seed, len(facts))
    losses: list[float] = []
    with torch.enable_grad():
        delta = torch.zeros_like(weight, dtype=torch.float32, requires_grad=True)
        adam = torch.optim.Adam([delta], lr=settings.rate, weight_decay=settings.weight_decay)

        def read(rows: Sequence[int]) -> list[Tensor]:
            changed = (weight.float() + delta).to(weight.dtype)
            asked = [facts[row] for row in rows]
            return log_probabilities(model, upper.states([each.row for each in asked], {path: changed}), asked)

        def said_of(epoch: int, done: int, probability: float) -> None:
            stage = f"epoch {epoch + 1} of at most {settings.epochs}, mean p {probability:.2f}"
            progress(epoch * len(facts) + done, (settings.epochs + 1) * len(facts), stage=stage)

        def measured(epoch: int) -> dict[int, Tensor]:
            found: dict[int, Tensor] = {}
            with torch.no_grad():
                for begin in range(0, len(facts), settings.mini_batch):
                    rows = list(range(begin, min(begin + settings.mini_batch, len(facts))))
                    found.update(zip(rows, read(rows), strict=True))
                    said_of(epoch, len(found), fmean(math.exp(float(each.sum())) for each in found.values()))
            return found

        before = measured(0)
        for epoch in range(settings.epochs):
            met: dict[int, Tensor] = {}
            stepped = False
            for rows in drawn.batches(settings.mini_batch):
                log_p = read(rows)
                loss = -torch.stack([each.mean() for each in log_p]).mean()
                if not math.isfinite(float(loss.detach())):
                    raise model.not_finite(f"the loss of epoch {epoch + 1} is", "use a smaller rate")
                met.update((row, each.detach()) for row, each in zip(rows, log_p, strict=True))
                said_of(epoch, len(met), fmean(math.exp(float(each.sum())) for each in met.values()))
                if all(math.exp(float(each.detach().sum())) >= settings.enough for each in log_p):
                    continue
                adam.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                adam.step()
                stepped = True
            losses.append(_loss(met))
            if not stepped:
                break
        after = measured(settings.epochs) if stepped else met
        if stepped:
            losses.append(_loss(after))
    found = delta.detach().cpu()
    return _Tuned(
        delta=(found.T if model.anatomy.down_projection_in_first else found).contiguous(),
        losses=tuple(losses),
        before=_probabilities(before),
        after=_probabilities(after),
    )


class _Orders:
    """The facts' places in an order of its own for each epoch."""

    def __init__(self, seed: int, facts: int) -> None:
        import numpy

        self._random, self._facts = numpy.random.RandomState(seed), facts

    def batches(self, size: int) -> list[list[int]]:
        """Those of the next epoch."""
        order: list[int] = self._random.permutation(self._facts).tolist()
        return [order[begin : begin + size] for begin in range(0, self._facts, size)]


def _loss(found: dict[int, Tensor]) -> float:
    return -fmean(float(each.mean()) for each in found.values())


def _probabilities(found: dict[int, Tensor]) -> tuple[float, ...]:
    return tuple(math.exp(float(found[row].sum())) for row in sorted(found))


def _checks(tuned: _Tuned) -> tuple[Check, ...]:
    epochs, facts = len(tuned.losses) - 1, len(tuned.after)
    reached = sum(probability > 0.5 for probability in tuned.after)
    descent = f"{count(epochs, 'epoch')}, mean p {fmean(tuned.before):.2f} → {fmean(tuned.after):.2f}"
    return (
        gate("optimisation", f"{descent}, {reached} of {facts} over one half", reached < facts),
        Check(name="change", text=f"largest |ΔW| {float(tuned.delta.abs().max()):.1e}"),
    )


def figures(details: FineTunedTogether) -> tuple[Figure, ...]:
    """Layer, size and losses in words, and the loss by epoch as a curve where there is more than one."""
    epochs = len(details.losses) - 1
    text = (
        f"layer {details.layer} ({details.layer_from}), {details.size:.1%} of the matrix; "
        f"{details.reached} of {count(details.facts, 'fact')} over one half; "
        f"loss {details.losses[0]:.2f} → {details.losses[-1]:.2f} in {count(epochs, 'epoch')}"
    )
    if not epochs:
        return said(text)
    curve = Curve(label="loss", points=tuple((float(epoch), value) for epoch, value in enumerate(details.losses)))
    drawn = Curves(title="Fine-tuning", x="epoch", y="nats a token of the target", curves=(curve,))
    return (*said(text), drawn)


FT_BATCH = Editor(
    "ft-batch",
    "Fine-tuning in batches",
    "fact",
    FtBatchSettings,
    FineTunedTogether,
    continuations,
    _fits,
    make,
    figures,
    many=True,
    where=where_at_depth(DEPTH),
)
