"""What a causal trace decides and runs before its first cell: corruption, reading, clean and corrupted runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.datasets.facts import relation_of, subjects
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.methods.tracing.sweep import SHARE, WINDOW
from workbench.models.forward import corruption
from workbench.models.forward.runs import LogitMeasure, Run, record
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded
from workbench.protocol import Check

if TYPE_CHECKING:
    from workbench.loading import LoadedModel
    from workbench.methods.tracing.causal_trace import TraceRequest

NO_EFFECT = 0.1
"""A corruption that takes away less than this part of the answer's probability changes nothing worth tracing."""

NO_EFFECT_LOGIT = 0.1
"""The same for a logit difference, in logits."""


@dataclass(frozen=True, eq=False)
class TraceSetup:
    """What is decided and run before the first cell. Row 0 of ``runs`` is clean, the others are corrupted."""

    model: LoadedModel
    request: TraceRequest
    encoded: EncodedCase
    start: int
    window: int
    noise_std: float | None
    runs: Run
    read: LogitMeasure
    answer: str
    top: tuple[int, float]
    clean: float
    corrupted: float

    @property
    def corrupted_runs(self) -> Run:
        """All rows but the clean one."""
        return self.runs.rows(slice(1, None))


def set_up(model: LoadedModel, request: TraceRequest) -> TraceSetup:
    """Encode the case, corrupt its subject, run it clean and corrupted, and read both.

    Raises `InputError` for a case or a setting that makes no sense, `ModelError` for a part that the model has not,
    `NumericalError` for NaN logits.
    """
    encoded = model.encode(request.case)
    start = check_subject(encoded)
    window = _check_settings(request, encoded, model.info.layers)
    model.check_parts(request.kinds)
    ids, added, noise_std = _corrupt(model, request, encoded)
    runs = record(model, ids, added)
    with torch.no_grad():
        logits = model.unembed(runs.states[-1][:, -1]).float()
    if not bool(torch.isfinite(logits).all()):
        raise model.not_finite("the model's logits are")
    top = int(logits[0].argmax())
    read, answer = _reading(model, request, encoded, top)
    values = read(logits)
    return TraceSetup(
        model=model,
        request=request,
        encoded=encoded,
        start=start,
        window=window,
        noise_std=noise_std,
        runs=runs,
        read=read,
        answer=answer,
        top=(top, float(logits[0].softmax(dim=-1)[top])),
        clean=rounded(float(values[0])),
        corrupted=rounded(float(values[1:].mean())),
    )


def check_subject(encoded: EncodedCase) -> int:
    """The subject's first token. Raises `InputError` where nothing stands around the subject to trace to."""
    if len(encoded.ids) - encoded.prepended - encoded.appended < 2:
        raise InputError("the prompt is a single token; a trace needs a subject and something before or after it")
    if encoded.subject is None:
        raise InputError("a trace needs a subject; name the words of the prompt that are to be corrupted")
    start, stop = encoded.subject
    if start <= encoded.prepended and stop == len(encoded.ids):
        raise InputError("the subject covers the whole prompt; choose a part of it, or add words after it")
    return start


def _check_settings(request: TraceRequest, encoded: EncodedCase, layers: int) -> int:
    """The width of the window. Raises `InputError` for a setting that makes no sense."""
    if request.read == "difference" and not (encoded.target and encoded.foil):
        raise InputError("the logit difference needs a target and a foil; give both, or read the probability")
    if request.answer == "target" and not encoded.target:
        raise InputError("there is no target whose probability could be read; give one, or read the top token")
    if not request.kinds or len(set(request.kinds)) < len(request.kinds):
        raise InputError("name what is restored, each kind once: states, mlp, attention")
    if request.samples < 1:
        raise InputError(f"a trace needs at least 1 sample, not {request.samples}")
    std = 1.0 if request.noise_std is None else request.noise_std
    if not (0 < request.noise < math.inf and 0 < std < math.inf):
        raise InputError("the noise must be more than 0; give a multiple such as 3, or a standard deviation")
    if request.window is not None and not 1 <= request.window <= layers:
        raise InputError(f"the window must be 1 to {layers} layers, all that the model has, not {request.window}")
    if not 0 <= request.seed < 2**32:
        raise InputError(f"the seed must be between 0 and {2**32 - 1}, not {request.seed}")
    return request.window or default_window(layers)


def default_window(layers: int) -> int:
    """How many layers are restored together where nobody says: as published, but no more than a third."""
    return max(1, min(WINDOW, layers // SHARE))


def _corrupt(
    model: LoadedModel, request: TraceRequest, encoded: EncodedCase
) -> tuple[torch.Tensor, torch.Tensor, float | None]:
    """Ids and what is added to the embeddings, of the clean run and the corrupted ones, and the noise's size."""
    clean = torch.tensor([encoded.ids], device=model.hf.device)
    nothing = corruption.no_noise(model, 1, len(encoded.ids))
    if request.replacement is not None:
        proposals = _like_subjects(request.case)
        other = corruption.replaced_ids(model, request.case, encoded, request.replacement, proposals)
        return torch.cat([clean, clean.new_tensor([other])]), nothing.repeat(2, 1, 1), None
    std = request.noise_std or rounded(request.noise * corruption.embedding_std(model, subjects()))
    noise = corruption.subject_noise(model, encoded, std, request.samples, request.seed)
    return clean.expand(1 + request.samples, -1), torch.cat([nothing, noise]), std


def _like_subjects(case: Case) -> tuple[str, ...]:
    """The shipped subjects, those of which one can ask the same before the others."""
    relation = relation_of(case.prompt, case.subject or "")
    alike = tuple(fact.subject for fact in relation.facts) if relation else ()
    return tuple(dict.fromkeys((*alike, *subjects())))


def _reading(model: LoadedModel, request: TraceRequest, encoded: EncodedCase, top: int) -> tuple[LogitMeasure, str]:
    """From logits ``(rows, vocabulary)`` to one number a row, and the name of what is read."""
    target, foil = encoded.target, encoded.foil
    if request.read == "difference" and target and foil:
        return lambda logits: (logits[:, target.id] - logits[:, foil.id]).float(), f"{target.text} − {foil.text}"
    answer = target.id if request.answer == "target" and target else top
    return lambda logits: logits.float().log_softmax(dim=-1)[:, answer].exp(), token_text(model.tokenizer, answer)


def trust(setup: TraceSetup) -> list[Check]:
    """How far the trace can be believed, before any cell."""
    request, gap = setup.request, setup.clean - setup.corrupted
    values = f"clean {setup.clean:.3g}, corrupted {setup.corrupted:.3g}"
    little = NO_EFFECT_LOGIT if request.read == "difference" else NO_EFFECT * setup.clean
    if abs(gap) < little:
        floor = Check(name="floor and ceiling", text=f"{values}: the corruption changes nothing", level="warn")
    elif gap < 0:
        floor = Check(name="floor and ceiling", text=f"{values}: the corruption raises it", level="warn")
    else:
        floor = Check(name="floor and ceiling", text=values, level="ok")
    if setup.noise_std is None:
        how = Check(name="corruption", text=f"by “{request.replacement}”")
    else:
        multiple = "" if request.noise_std is not None else f" ({request.noise:g} × the subjects')"
        text = f"noise sd {setup.noise_std:.3g}{multiple}, {request.samples} samples, seed {request.seed}"
        how = Check(name="corruption", text=text)
    return [floor, how, *_window_check(setup), *_answer_check(setup)]


def _window_check(setup: TraceSetup) -> list[Check]:
    layers = setup.model.info.layers
    if setup.request.kinds == ("states",) or SHARE * setup.window <= max(layers, SHARE):
        return []
    text = f"{setup.window} of {layers} layers together, more than a third: neighboring cells are nearly the same"
    return [Check(name="window", text=text, level="warn")]


def _answer_check(setup: TraceSetup) -> list[Check]:
    target, (top, probability) = setup.encoded.target, setup.top
    if target is None or target.id == top:
        return []
    text = f"“{token_text(setup.model.tokenizer, top)}” {probability:.2f}, not the target “{target.text}”"
    return [Check(name="clean answer", text=text, level="warn")]
