"""What patching decides and runs before its first cell: both runs, which tokens belong together, what is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.errors import InputError, ModelError
from workbench.lazy import torch
from workbench.methods.patching.alignment import Pairs, aligned
from workbench.methods.patching.paths import Paths
from workbench.methods.tracing.sweep import Sweep
from workbench.models.forward import corruption
from workbench.models.forward.apart import token_index
from workbench.models.forward.runs import LogitMeasure, Run, record
from workbench.models.tokens import EncodedCase, token_text
from workbench.numbers import rounded

if TYPE_CHECKING:
    from workbench.loading import LoadedModel
    from workbench.methods.patching.patching import PatchRequest
    from workbench.methods.tracing.grid import TraceKind

NO_GAP = 0.1
"""Logits: a difference of the two runs under this is too small to measure anything by."""


@dataclass(frozen=True, eq=False)
class PatchSetup:
    """``base`` and ``source`` are target − foil in the two runs, in logits; ``pairs`` are of base and source tokens."""

    model: LoadedModel
    request: PatchRequest
    encoded: EncodedCase
    encoded_source: EncodedCase
    pairs: Pairs
    base_run: Run
    source_run: Run
    base: float
    source: float
    base_top: int
    source_top: int
    target: int
    foil: int

    @property
    def read(self) -> LogitMeasure:
        """Target − foil from logits, from 0 as in the base run to 1 as in the source run."""
        base, gap = self.base, self.source - self.base
        return lambda logits: ((logits[:, self.target] - logits[:, self.foil]).float() - base) / gap

    @property
    def kinds(self) -> tuple[TraceKind, ...]:
        """What is patched at every layer and token: all but heads."""
        return tuple(kind for kind in self.request.kinds if kind != "heads")

    @property
    def heads_at(self) -> int | None:
        """The token of the changed run at which heads are patched, None where they are not.

        Raises `InputError` for a token that has no partner there.
        """
        if "heads" not in self.request.kinds:
            return None
        token = token_index(self.request.position, len(self.encoded.ids))
        if self.request.direction == "denoising":
            return token
        if (theirs := dict(self.pairs).get(token)) is None:
            raise InputError(f"token {token} has no partner in the source; choose another token for the heads")
        return theirs

    @property
    def sweep(self) -> Sweep:
        """What is put where: from the source into the base run, or the other way."""
        into_base = self.request.direction == "denoising"
        pairs = self.pairs if into_base else tuple((theirs, mine) for mine, theirs in self.pairs)
        giving, receiving = self.source_run, self.base_run
        if not into_base:
            giving, receiving = receiving, giving
        alike = self._alike
        return Sweep(
            model=self.model,
            giving=giving,
            receiving=receiving,
            partner={into: of for into, of in pairs if not (into == of and into < alike)},
            window=self.request.window,
            read=self.read,
            unchanged=0.0 if into_base else 1.0,
        )

    @property
    def paths(self) -> Paths | None:
        """The way from cells to receivers, where it is asked for."""
        request, sweep = self.request, self.sweep
        if not request.receivers:
            return None
        last = sweep.receiving.tokens - 1
        return Paths(sweep, request.receivers, last if request.receive_at is None else request.receive_at)

    @property
    def without_partner(self) -> tuple[int, ...]:
        """The receiving run's tokens that belong to none of the other's."""
        of = 0 if self.request.direction == "denoising" else 1
        tokens = len((self.encoded, self.encoded_source)[of].ids)
        return tuple(sorted(set(range(tokens)) - {pair[of] for pair in self.pairs}))

    @property
    def _alike(self) -> int:
        """How many tokens the prompts begin with alike: up to there the runs are the same."""
        both = tuple(zip(self.encoded.ids, self.encoded_source.ids, strict=False))
        return next((at for at, (mine, theirs) in enumerate(both) if mine != theirs), len(both))


@dataclass(frozen=True, eq=False)
class BothRuns:
    """A prompt and its source, each run, with its logits after the last token ``(vocabulary,)``; what is compared."""

    encoded: EncodedCase
    encoded_source: EncodedCase
    runs: tuple[Run, Run]
    logits: tuple[torch.Tensor, torch.Tensor]
    target: int
    foil: int

    @property
    def tops(self) -> tuple[int, int]:
        """The first choice of each."""
        return int(self.logits[0].argmax()), int(self.logits[1].argmax())


def both_runs(model: LoadedModel, case: Case, source: str) -> BothRuns:
    """Encode and run both. Raises `InputError` for prompts that make no sense, `NumericalError` for NaN logits."""
    encoded, encoded_source = model.encode(case), _encoded_source(model, case, source)
    if encoded.ids == encoded_source.ids:
        raise InputError("the source is the prompt itself, so there is nothing to patch; give another prompt")
    (own, own_logits), (other, other_logits) = _run(model, encoded), _run(model, encoded_source)
    target, foil = _answers(model, encoded, int(own_logits.argmax()), int(other_logits.argmax()))
    return BothRuns(encoded, encoded_source, (own, other), (own_logits, other_logits), target, foil)


def set_up(model: LoadedModel, request: PatchRequest) -> PatchSetup:
    """Encode both prompts, align them, run both, and read them.

    Raises `InputError` for prompts or settings that make no sense, `NumericalError` for NaN logits.
    """
    if request.window > model.info.layers:
        raise InputError(f"the window must be at most {model.info.layers} layers, all that the model has")
    if not request.kinds or len(set(request.kinds)) < len(request.kinds):
        raise InputError("name what is patched, each kind once: states, mlp, attention, heads")
    if "heads" in request.kinds and request.receivers:
        raise InputError("paths lead from states, MLP or attention outputs to receivers; leave out heads or receivers")
    model.check_parts(request.kinds)
    both = both_runs(model, request.case, request.source)
    encoded, encoded_source, target, foil = both.encoded, both.encoded_source, both.target, both.foil
    pairs = aligned(encoded.ids, encoded_source.ids, request.align)
    base, source = (rounded(float(each[target] - each[foil])) for each in both.logits)
    if abs(source - base) < NO_GAP:
        answers = f"“{token_text(model.tokenizer, target)}” − “{token_text(model.tokenizer, foil)}”"
        raise InputError(
            f"{answers} is {base:.2f} logits with the prompt and {source:.2f} with the source, too close to measure "
            "anything between them; choose another source, or a target and a foil on which they differ"
        )
    setup = PatchSetup(
        model=model,
        request=request,
        encoded=encoded,
        encoded_source=encoded_source,
        pairs=pairs,
        base_run=both.runs[0],
        source_run=both.runs[1],
        base=base,
        source=source,
        base_top=both.tops[0],
        source_top=both.tops[1],
        target=target,
        foil=foil,
    )
    if not setup.sweep.partner:
        raise InputError("the prompts differ at no aligned token; name pairs that do, as in 3:4,5:6")
    _check_receivers(setup)
    return setup


def _check_receivers(setup: PatchSetup) -> None:
    request, model, tokens = setup.request, setup.model, setup.sweep.receiving.tokens
    if request.receive_at is not None and not request.receivers:
        raise InputError("a token at which receivers receive needs receivers; name some, as in attention:20-25 mlp:24")
    if wrong := [layer for _, layer in request.receivers if not 0 <= layer < model.info.layers]:
        raise InputError(f"there is no layer {wrong[0]} to receive: the model has {model.info.layers}, counted from 0")
    if request.receive_at is not None and request.receive_at >= tokens:
        raise InputError(f"there is no token {request.receive_at} to receive at: there are {tokens}, counted from 0")
    if request.receivers and not model.anatomy.adds_up:
        raise ModelError(
            f"{model.info.name} {model.anatomy.not_sum}, so no direct path leads through its residual stream; leave "
            "out receivers"
        )


def _encoded_source(model: LoadedModel, case: Case, source: str) -> EncodedCase:
    if not source.strip():
        raise InputError("the source is empty; give the second prompt, whose states are put into the first")
    try:
        return model.encode(Case(prompt=source, prepend=case.prepend, chat=case.chat))
    except InputError as error:
        raise InputError(f"the source: {error}") from error


def _run(model: LoadedModel, encoded: EncodedCase) -> tuple[Run, torch.Tensor]:
    """One run, and its logits after the last token ``(vocabulary,)``."""
    ids = torch.tensor([encoded.ids], device=model.hf.device)
    run = record(model, ids, corruption.no_noise(model, 1, len(encoded.ids)))
    with torch.no_grad():
        logits = model.unembed(run.states[-1][:, -1])[0].float()
    if not bool(torch.isfinite(logits).all()):
        raise model.not_finite("the model's logits are")
    return run, logits


def _answers(model: LoadedModel, encoded: EncodedCase, base_top: int, source_top: int) -> tuple[int, int]:
    """Target and foil: where one is not given, what the source run, and the base run, would say."""
    foil = encoded.foil.id if encoded.foil else None
    target = encoded.target.id if encoded.target else (base_top if foil == source_top else source_top)
    if foil is None:
        foil = source_top if target == base_top else base_top
    if target == foil:
        raise InputError(
            f"both prompts are continued by “{token_text(model.tokenizer, target)}”; give a target and a foil on "
            "which they differ"
        )
    return target, foil
