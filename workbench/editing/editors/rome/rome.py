"""ROME: rewrite one fact by a rank-one change of the MLP value matrix of one layer.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv 2202.05262), with the keys and values of the
same prompts throughout, which removes edits that disable a model (arXiv 2403.07175), and every one of these keys made
to receive the change, not only their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import harmonic_mean
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from workbench.case import Case, Start
from workbench.datasets.suites import Suite, suite_for
from workbench.editing.editors.key_statistics import key_statistics
from workbench.editing.editors.rome import soundness
from workbench.editing.editors.rome.contexts import (
    essence_contexts,
    rewrite_contexts,
    sampled_prefixes,
    subject_contexts,
)
from workbench.editing.editors.rome.key import Variant, direction, subject_keys
from workbench.editing.editors.rome.value import Optimisation, optimise
from workbench.editing.patches import keep_edit
from workbench.editing.queue import Edit, EditInfo, QueueState, WeightChange, edit_id
from workbench.editing.suite.regression import SuiteResult, run_suite
from workbench.errors import InputError, ModelError, NumericalError
from workbench.lazy import torch
from workbench.models.forward.unembedding import Row, read_predictions
from workbench.models.tokens import EncodedCase, continuation_ids, encode, token_text
from workbench.numbers import rounded
from workbench.protocol import Check, Frozen, Method, Progress, Request, Result, part, silent
from workbench.shapes import as_many

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.models.loading import LoadedModel

LAYERS = {("llama", 30, 576): 5, ("gpt2", 48, 1600): 17, ("gpt2", 24, 1024): 8, ("gptj", 28, 4096): 5}
"""Where to edit, by architecture, layers and width: the default model by our measurement (docs/edits.md), the others
as published (arXiv 2202.05262; the code that came with it)."""

DEPTH = 0.2
"""Where to edit a model that nobody has measured, as a part of its layers."""

SPARE = 3
"""Prefixes sampled for each that is wanted: those that make prompts of the commonest length are used."""


class RomeRequest(Request):
    """Ask that the case's prompt be continued by its target.

    ``layer`` is the one to edit; without it the best of those in ``sweep``, or else the one known for the model.
    ``variant`` is one of `workbench.editing.editors.rome.key`. Keys and values are those of the prompt and of
    ``prefixes``
    sampled texts of ``prefix_tokens`` in front of it. ``corpus`` names a text file for the statistics; without it text
    is sampled from the model. ``suite`` is run afterwards, or the one that the shipped facts give for the case;
    ``test`` false runs none. The rest are settings of `workbench.editing.editors.rome.value.Optimisation`.
    """

    kind: Literal["rome"] = "rome"
    case: Case
    layer: int | None = None
    sweep: tuple[int, ...] = ()
    variant: Variant = "balanced"
    prefixes: int = 6
    prefix_tokens: int = 10
    seed: int = 0
    corpus: str | None = None
    steps: int = 25
    rate: float = 0.5
    kl: float = 0.0625
    decay: float = 0.5
    clamp: float = 4.0
    enough: float = 0.05
    suite: Suite | None = None
    test: bool = True


class Said(Frozen):
    """What the model says to the prompt: probabilities of target and foil, and its first choice."""

    start: Start
    target: float
    foil: float | None
    top: str
    top_probability: float


class SweptLayer(Frozen):
    """One layer that was tried: the harmonic score of its suite (0 … 1, behind a document start) and its parts."""

    layer: int
    score: float | None
    target_probability: float
    drift: float
    sound: bool


class RomeResult(Result):
    """An edit that is now in the queue, and switched on.

    ``losses`` in nats, by step. ``size`` is ‖ΔW‖ / ‖W‖ of the value matrix. ``before`` and ``after`` are what the
    model says to the prompt as the case has it and behind a document start. ``sound`` when no gate warns. ``suite``
    is None while it has not been run, or where there is none.
    """

    kind: Literal["rome"] = "rome"
    encoded: EncodedCase
    edit: EditInfo
    layer: int
    layer_from: str
    target: str
    prefixes: tuple[str, ...]
    losses: tuple[float, ...]
    size: float
    before: tuple[Said, ...]
    after: tuple[Said, ...]
    sound: bool
    sweep: tuple[SweptLayer, ...] = ()
    suite: SuiteResult | None = None
    queue: QueueState

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(before=self.before, after=self.after)
        return self


@dataclass(frozen=True, eq=False)
class Computed:
    """An edit that is in no queue yet, with what was found on the way; ``shares`` of the change by context."""

    edit: Edit
    prefixes: tuple[str, ...]
    losses: tuple[float, ...]
    size: float
    shares: tuple[float, ...]
    checks: tuple[Check, ...]


def run(model: LoadedModel, request: RomeRequest, progress: Progress) -> RomeResult:
    """Compute the edit, put it into the queue, and run its suite. Cancelled before that, nothing has changed.

    Raises `InputError` for a case or settings that make no sense, `ModelError` for a model whose value matrices
    cannot be edited, `NumericalError` where the numbers blow up.
    """
    encoded = check(model, request)
    suite = (request.suite or suite_for(request.case)) if request.test else None
    before = _said(model, request.case, encoded)
    layer, layer_from, swept = request.layer, "asked for", tuple[SweptLayer, ...]()
    if layer is None and request.sweep:
        swept = _sweep(model, request, suite, progress)
        layer, layer_from = _best(swept), f"best of {len(swept)} tried"
    elif layer is None:
        layer, layer_from = default_layer(model)
    computed = compute(model, request, layer, progress)
    found = soundness.soundness(model, computed.edit, request.case.subject, progress)
    gates = soundness.checks(found, computed.size, computed.shares)
    model.edits.add(computed.edit)
    keep_edit(model.info.fingerprint, computed.edit)
    result = RomeResult(
        encoded=encoded,
        edit=computed.edit.info,
        layer=layer,
        layer_from=layer_from,
        target="".join(token_text(model.tokenizer, i) for i in continuation_ids(model.tokenizer, request.case)),
        prefixes=computed.prefixes,
        losses=computed.losses,
        size=computed.size,
        before=before,
        after=_said(model, request.case, encoded),
        sound=all(gate.level != "warn" for gate in gates),
        sweep=swept,
        queue=model.edits.state,
        checks=(*_success(model, request.case, encoded), *gates, *computed.checks),
    )
    if suite is None:
        none = Check(name="suite", text="none: the relation is not among the shipped facts", level="warn")
        return result.model_copy(update={"checks": (*result.checks, none)} if request.test else {})
    progress(0, 1, result, stage="suite")

    def so_far(partial: Result | None) -> RomeResult:
        return result.model_copy(update={"suite": partial})

    tested = run_suite(model, suite, part(progress, 0, 100, 100, "suite: {}", so_far))
    return result.model_copy(update={"suite": tested})


def check_case(case: Case) -> None:
    """Raise `InputError` where something is missing of which an edit is made; no model is needed to see that."""
    if not (case.subject or "").strip():
        raise InputError("An edit needs a subject: name the words of the prompt that the fact is about.")
    if not (case.target or "").strip():
        raise InputError("An edit needs a target: name what the model is to say instead.")


def check(model: LoadedModel, request: RomeRequest) -> EncodedCase:
    """The case as the model sees it. Raises `InputError` and `ModelError` for what cannot be edited."""
    check_case(request.case)
    encoded = encode(model.tokenizer, request.case, model.info.context)
    for layer in filter(lambda layer: layer is not None, (request.layer, *request.sweep)):
        if not 0 <= layer < model.info.layers:  # type: ignore[operator]
            raise InputError(f"There is no layer {layer}: choose from 0 to {model.info.layers - 1}.")
    if request.steps < 1 or request.prefixes < 0 or request.prefix_tokens < 1:
        raise InputError("An edit needs at least one step, and prefixes of at least one token.")
    if not 0 <= request.seed < 2**32:
        raise InputError(f"The seed must be between 0 and {2**32 - 1}, not {request.seed}.")
    weight = model.value_matrix(0).weight
    assert isinstance(weight, torch.Tensor)
    if not weight.is_floating_point() or weight.shape not in (
        (model.info.d_model, model.anatomy.d_mlp),
        (model.anatomy.d_mlp, model.info.d_model),
    ):
        raise ModelError(
            f"the value matrices of {model.info.name} are quantised, and a change cannot be added to them; load the "
            "model in float32, bfloat16 or float16"
        )
    return encoded


def default_layer(model: LoadedModel) -> tuple[int, str]:
    """The layer to edit when nobody says, and where it comes from."""
    info = model.info
    known = LAYERS.get((info.architecture, info.layers, info.d_model))
    if known is not None:
        return known, "known for this model"
    return round(DEPTH * (info.layers - 1)), f"{DEPTH:.0%} of the depth"


def compute(model: LoadedModel, request: RomeRequest, layer: int, progress: Progress) -> Computed:
    """The change W ← W + δ uᵀ that adds δ to the value of the subject's keys, and makes it that of the target."""
    case = request.case
    corpus = Path(request.corpus) if request.corpus else None
    statistics = key_statistics(model, layer, corpus, progress=progress)
    progress(0, 1, stage="prefixes")
    contexts, prefixes = rewrite_contexts(model, case, _prefixes(model, request), request.prefixes)
    keys = subject_keys(model, layer, contexts)
    weight = _oriented(model, layer)  # (d_model, d_mlp)
    values = keys @ weight.T
    of_first = values[0] if request.variant == "original" else values.mean(dim=0)
    settings = Optimisation(request.steps, request.rate, request.kl, request.decay, request.clamp, request.enough)
    value = optimise(model, layer, contexts, essence_contexts(model, case), float(of_first.norm()), settings, progress)
    first = subject_keys(model, layer, subject_contexts(model, case))
    left, right = value.delta.double(), direction(statistics, keys, first, request.variant)
    if not bool(torch.isfinite(left).all() and torch.isfinite(right).all()):
        raise NumericalError(
            "The edit's numbers are not finite: load the model with --dtype float32, or edit another layer."
        )
    size = float(left.norm() * right.norm() / weight.norm())
    info = EditInfo(
        id=edit_id(model, request.model_copy(update={"layer": layer, "sweep": (), "suite": None, "test": True})),
        method="rome",
        title=f"L{layer} {case.subject} → {(case.target or '').strip()}",
        layers=(layer,),
    )
    change = WeightChange(layer, left.float()[:, None], right.float()[:, None])
    return Computed(
        edit=Edit(info, (change,)),
        prefixes=prefixes,
        losses=tuple(map(rounded, value.losses)),
        size=rounded(size),
        shares=tuple((keys @ right).tolist()),
        checks=(
            statistics.check(),
            Check(
                name="optimisation",
                text=f"{len(value.losses)} steps, p {value.target_probability:.2f} over {len(keys)} contexts"
                + ("" if value.resumed else ", complete runs"),
                level="ok" if value.target_probability > 0.5 else "warn",
            ),
        ),
    )


def _prefixes(model: LoadedModel, request: RomeRequest) -> tuple[str, ...]:
    """Texts sampled from the unedited model, once for all edits that ask for the same ones."""
    if not request.prefixes:
        return ()
    asked = (SPARE * request.prefixes, request.prefix_tokens, request.seed)
    known = model.edits.baselines
    if (key := f"prefixes {asked}") not in known:
        with model.edits.all_off():
            known[key] = sampled_prefixes(model, *asked)
    found: tuple[str, ...] = known[key]
    return found


def _oriented(model: LoadedModel, layer: int) -> Tensor:
    """The value matrix ``(d_model, d_mlp)`` in float64 on the CPU, as it is now."""
    weight: Tensor = model.value_matrix(layer).weight.detach().double().cpu()  # type: ignore[operator]
    return weight.T if model.anatomy.value_matrix_in_first else weight


def _said(model: LoadedModel, case: Case, encoded: EncodedCase) -> tuple[Said, ...]:
    """What the model says to the prompt as it stands and behind a document start, where that is another prompt."""
    cases = [(case.start, encoded)]
    if not case.chat and case.start != "document":
        behind = encode(model.tokenizer, case.model_copy(update={"start": "document"}), model.info.context)
        if behind.ids != encoded.ids:
            cases.append(("document", behind))
    found: dict[int, Said] = {}

    def read(places: object, log_p: Tensor) -> None:
        for (row, _), values in zip(places, log_p.exp(), strict=True):  # type: ignore[call-overload]
            start, one = cases[row]
            top = int(values.argmax())
            found[row] = Said(
                start=start,
                target=rounded(float(values[one.target.id])) if one.target else 0.0,
                foil=rounded(float(values[one.foil.id])) if one.foil else None,
                top=token_text(model.tokenizer, top),
                top_probability=rounded(float(values[top])),
            )

    rows = [Row(ids=one.ids, positions=(len(one.ids) - 1,)) for _, one in cases]
    for _ in read_predictions(model, rows, read):
        pass
    return tuple(found[row] for row in range(len(rows)))


def _success(model: LoadedModel, case: Case, encoded: EncodedCase) -> tuple[Check, ...]:
    """Whether the model says the target now, and if not, whether the first position is why."""
    said = _said(model, case, encoded)[0]
    wanted = encoded.target.text if encoded.target else ""
    text = f"“{said.top}” {said.top_probability:.2f}"
    if said.top == wanted:
        return (Check(name="rewrite", text=text, level="ok"),)
    first = encoded.subject is not None and encoded.subject[1] == 1 and encoded.starts_bare
    why = "; the subject stands in the model's first position, which no edit reaches" if first else ""
    return (Check(name="rewrite", text=f"{text}, not “{wanted}”{why}", level="warn"),)


def _sweep(model: LoadedModel, request: RomeRequest, suite: Suite | None, progress: Progress) -> tuple[SweptLayer, ...]:
    """Try layers, each edit taken back again."""
    swept = []
    for number, layer in enumerate(request.sweep):
        computed = compute(
            model, request, layer, part(progress, 100 * number, 100, 100 * len(request.sweep), f"layer {layer}: {{}}")
        )
        found = soundness.soundness(model, computed.edit, request.case.subject, silent)
        gates = soundness.checks(found, computed.size, computed.shares)
        with model.edits.added(computed.edit):
            said = _said(model, request.case, encode(model.tokenizer, request.case))
            score = None
            if suite is not None:
                tested = run_suite(model, suite, generate=False, canary=False)
                scores = [score for score in tested.harmonic.values() if score is not None]
                score = harmonic_mean(scores) if scores else None
        swept.append(
            SweptLayer(
                layer=layer,
                score=None if score is None else rounded(score),
                target_probability=said[0].target,
                drift=rounded(found.drift),
                sound=all(gate.level != "warn" for gate in gates),
            )
        )
    return tuple(swept)


def _best(swept: tuple[SweptLayer, ...]) -> int:
    """The sound layer with the best score, the likelier target where scores are equal or there is no suite."""
    return max(swept, key=lambda one: (one.sound, one.score or 0.0, one.target_probability)).layer


METHOD = Method("ROME edit", RomeRequest, RomeResult, run)
