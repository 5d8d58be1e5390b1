"""Fine-tuning of one MLP down-projection on one fact: the plainest editor, to which all others are compared.

FT-L (the FT+L of Meng et al. 2022, arXiv 2202.05262, after Zhu et al. 2020, arXiv 2012.00363) holds every entry of the
matrix within ±ε of what it was; FT-M (arXiv 2509.22072) does not. Both take the loss on the target's own tokens, each
after the prompt and the tokens before it. (FT-L's public code reads all of them at the prompt's last token, which
is the same for targets of one token, and for others asks for all of them at once.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workbench.editing.changes import DenseChange
from workbench.editing.editor import Cases, Editor, Made, Settings
from workbench.editing.gates import gate, gates
from workbench.editing.layers import LayerDetails, check_layer, chosen_layer, where_one
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.rewriting import one_continuation
from workbench.figures import Curve, Curves, Figure, said
from workbench.lazy import torch
from workbench.models.tokens import continuation_ids
from workbench.numbers import rounded
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


class FtMSettings(Settings):
    """How a down-projection is fine-tuned on a fact."""

    layer: Annotated[int | None, Field(ge=0, description="Where to edit; else the layer known for the model.")] = None
    steps: Annotated[int, Field(ge=1, le=1000, description="Most steps of Adam.")] = 50
    rate: Annotated[float, Field(gt=0, le=1, description="Adam's learning rate.")] = 5e-4
    enough: Annotated[
        float, Field(gt=0, le=1, description="The probability of the target at which the descent ends.")
    ] = 0.95
    weight_decay: Annotated[
        float, Field(ge=0, le=1, description="Pull of each step back to the unchanged matrix (Adam's L2 penalty).")
    ] = 0.0


class FtLSettings(FtMSettings):
    """The same within a box around the matrix. Steps and rate are the published ones.

    The published clamps are 2e-3 for GPT-2 medium and 5e-4 for XL; the default model's facts need 5e-3 by our
    measurement (docs/fine-tuning.md).
    """

    steps: Annotated[int, Field(ge=1, le=1000, description="Most steps of Adam.")] = 25
    clamp: Annotated[float, Field(gt=0, le=1, description="How far any entry of the matrix may move.")] = 5e-3


class FineTuned(LayerDetails):
    """``losses`` are those before each step and after the last, in nats a token of the target.

    ``size`` is ‖ΔW‖ / ‖W‖ and ``largest`` the largest entry of ΔW. Probabilities are those of the whole target.
    """

    losses: tuple[float, ...]
    probability_before: float
    probability: float
    size: float
    largest: float


def _fits(model: LoadedModel, cases: Cases, settings: FtMSettings) -> None:
    answers = continuation_ids(model.tokenizer, cases[0])
    model.encode(cases[0], len(answers) - 1)
    check_layer(model, settings.layer)


def make(name: str, model: LoadedModel, cases: Cases, settings: FtMSettings, progress: Progress) -> Made:
    """Fine-tune, and see what else the change does.

    Raises `NumericalError` where the loss is not finite.
    """
    (case,) = cases
    layer, layer_from = chosen_layer(model, settings.layer)
    prompt, answers = model.encode(case).ids, continuation_ids(model.tokenizer, case)
    tuned = _descend(model, layer, prompt, answers, settings, progress)
    info = EditInfo(
        id=edit_id(model, name, cases, settings.model_copy(update={"layer": layer})),
        method=name,
        title=f"L{layer} {case.subject or case.prompt} → {(case.target or '').strip()}",
        layers=(layer,),
    )
    edit = Edit(info, (DenseChange(layer, tuned.delta),))
    details = FineTuned(
        layer=layer,
        layer_from=layer_from,
        losses=tuple(map(rounded, tuned.losses)),
        probability_before=rounded(tuned.probabilities[0]),
        probability=rounded(tuned.probabilities[-1]),
        size=rounded(model.edits.size(edit)),
        largest=rounded(float(tuned.delta.abs().max())),
        checks=_checks(tuned, settings),
    )
    return Made(edit, details, gates(model, edit, case.subject, progress))


@dataclass(frozen=True, eq=False)
class _Tuned:
    """``delta`` ``(d_model, d_mlp)`` float32 on the CPU; losses and the target's probabilities, step by step."""

    delta: Tensor
    losses: tuple[float, ...]
    probabilities: tuple[float, ...]


def _descend(
    model: LoadedModel,
    layer: int,
    prompt: tuple[int, ...],
    answers: tuple[int, ...],
    settings: FtMSettings,
    progress: Progress,
) -> _Tuned:
    """Adam on ΔW. The forward is the model's own, called with W + ΔW, as it will be rounded, in place of W."""
    path = model.down_projection_path(layer)
    weight = model.hf.get_parameter(path)
    ids = torch.tensor([prompt + answers[:-1]], device=model.hf.device)
    wanted = torch.tensor(answers, device=ids.device)
    losses, probabilities = list[float](), list[float]()
    with torch.enable_grad():
        delta = torch.zeros_like(weight, dtype=torch.float32, requires_grad=True)
        adam = torch.optim.Adam([delta], lr=settings.rate, weight_decay=settings.weight_decay)
        for step in range(settings.steps + 1):
            changed = (weight.float() + delta).to(weight.dtype)
            kwargs = {"input_ids": ids, "use_cache": False}
            logits = torch.func.functional_call(model.hf, {path: changed}, kwargs=kwargs).logits
            log_p = logits[0, len(prompt) - 1 :].float().log_softmax(dim=-1).gather(-1, wanted[:, None])
            loss = -log_p.mean()
            losses.append(float(loss.detach()))
            probabilities.append(math.exp(float(log_p.detach().sum())))
            if not math.isfinite(losses[-1]):
                raise model.not_finite(f"the loss after {step} steps is", "use a smaller rate")
            progress(step, settings.steps, stage=f"fine-tuning, p {probabilities[-1]:.2f}")
            if probabilities[-1] >= settings.enough or step == settings.steps:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
            if isinstance(settings, FtLSettings):
                with torch.no_grad():
                    delta.clamp_(-settings.clamp, settings.clamp)
    found = delta.detach().cpu()
    return _Tuned(
        (found.T if model.anatomy.down_projection_in_first else found).contiguous(), tuple(losses), tuple(probabilities)
    )


def _checks(tuned: _Tuned, settings: FtMSettings) -> tuple[Check, ...]:
    steps, probabilities = len(tuned.losses) - 1, tuned.probabilities
    descent = f"{steps} step{'s' * (steps != 1)}, p {probabilities[0]:.2f} → {probabilities[-1]:.2f}"
    text = f"largest |ΔW| {float(tuned.delta.abs().max()):.1e}"
    if isinstance(settings, FtLSettings):
        at_bound = float((tuned.delta.abs() >= 0.999 * settings.clamp).float().mean())
        text += f" of {settings.clamp:.1e}, which {at_bound:.0%} of the entries reach"
    return (gate("optimisation", descent, probabilities[-1] <= 0.5), Check(name="change", text=text))


def figures(details: FineTuned) -> tuple[Figure, ...]:
    """Layer, size and losses in words, and the descent as a curve where there is more than a start."""
    size = f"layer {details.layer} ({details.layer_from}), {details.size:.1%} of the matrix; "
    steps = len(details.losses) - 1
    losses = f"loss {details.losses[0]:.2f} → {details.losses[-1]:.2f} in {steps} step{'s' * (steps != 1)}"
    if not steps:
        return said(size + losses)
    curve = Curve(label="loss", points=tuple((float(step), value) for step, value in enumerate(details.losses)))
    drawn = Curves(title="Fine-tuning", x="step", y="nats a token of the target", curves=(curve,))
    return (*said(size + losses), drawn)


FT_L = Editor(
    "ft-l",
    "Fine-tuning within bounds",
    "fact",
    FtLSettings,
    FineTuned,
    one_continuation,
    _fits,
    partial(make, "ft-l"),
    figures,
    where=where_one,
)
FT_M = Editor(
    "ft-m",
    "Fine-tuning",
    "fact",
    FtMSettings,
    FineTuned,
    one_continuation,
    _fits,
    partial(make, "ft-m"),
    figures,
    tried="weights",
    where=where_one,
)
