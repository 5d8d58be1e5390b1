"""The value of an edit: the change at the subject's last token that makes the model say the target, found by gradient
descent, for one fact or for many at once.

ROME changes an MLP's output (Meng et al. 2022, arXiv 2202.05262, section 3.1 and appendix E.5), MEMIT the residual
stream after the last of its layers (Meng et al. 2023, arXiv 2210.07229, section 4.3).

Only what such a change can reach is computed: the edited layer and those above, at the subject's last token and the
tokens after it, with the recorded keys and values of the tokens before; and only the positions whose predictions
count are unembedded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench.editing.editors.rome.contexts import Contexts
from workbench.lazy import torch
from workbench.memory import is_out_of_memory
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.forward.corruption import no_noise
from workbench.models.forward.resume import PARITY, PARITY_OF_HALF, Resumed
from workbench.models.forward.runs import Run, record
from workbench.protocol import Progress

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.loading import LoadedModel

ValuePlace = Literal["value", "residual"]
"""What is changed: the output of a layer's down-projection, or the residual stream after that layer."""


@dataclass(frozen=True)
class Optimisation:
    """Settings of the descent; the values are the published ones, but for when it ends.

    Adam takes at most ``steps`` steps of ``rate``; the loss is the target's mean negative log-probability (nats) +
    ``kl`` × the divergence of what is to stay + ``decay`` × ‖δ‖ / ‖v₀‖²; ‖δ‖ is clamped to ``clamp`` × ‖v₀‖. The
    descent ends when the first of these falls under ``enough``: in a small model the last one alone keeps the sum
    over the published bound.
    """

    steps: int = 25
    rate: float = 0.5
    kl: float = 0.0625
    decay: float = 0.5
    clamp: float = 4.0
    enough: float = 0.05


@dataclass(frozen=True, eq=False)
class Sought:
    """One fact: the contexts in which its target is wanted, and that in which all is to stay.

    ``norm`` is ‖v₀‖, the length of what is there now; without it, the mean length over the contexts.
    """

    rewrites: Sequence[Contexts]
    essence: Contexts
    norm: float | None = None


@dataclass(frozen=True, eq=False)
class Value:
    """``delta`` ``(d_model,)`` float32 on the CPU, what is added; ``losses`` by step, in nats."""

    delta: Tensor
    losses: tuple[float, ...]
    target_probability: float
    kl: float
    resumed: bool


def optimise(
    model: LoadedModel,
    layer: int,
    rewrites: Sequence[Contexts],
    essence: Contexts,
    value_norm: float,
    settings: Optimisation,
    progress: Progress,
) -> Value:
    """Find the change of one value. ``value_norm`` is ‖v₀‖, the length of the value now. Progress counts steps."""
    (found,) = optimise_all(model, layer, (Sought(rewrites, essence, value_norm),), settings, progress)
    return found


def optimise_all(
    model: LoadedModel,
    layer: int,
    sought: Sequence[Sought],
    settings: Optimisation,
    progress: Progress,
    place: ValuePlace = "value",
) -> list[Value]:
    """Find the changes of many facts in the same steps, each with an end of its own. Progress counts steps.

    No fact's loss depends on another's change, so each descends as it would alone.
    """
    readings = _readings(model, layer, place, sought)
    resumed = all(reading.resumed for reading in readings)
    norms = _norms(sought, readings, model)
    delta = torch.zeros(len(sought), model.info.d_model, device=model.hf.device, requires_grad=True)
    with torch.no_grad():
        for reading in readings:
            if not reading.answers.numel():
                (reading.before,) = _read(model, layer, [reading], delta)
    adam = torch.optim.Adam([delta], lr=settings.rate)
    losses: list[list[float]] = [[] for _ in sought]
    found: dict[int, Value] = {}
    for step in range(settings.steps):
        adam.zero_grad()
        said, divergence = _said(model, layer, readings, delta, len(sought))
        loss = -said + settings.kl * divergence + settings.decay * delta.norm(dim=-1) / norms**2
        running = [fact for fact in range(len(sought)) if fact not in found]
        for fact in running:
            losses[fact].append(float(loss[fact].detach()))
        progress(step, settings.steps, stage=_stage(said, losses, running))
        over = step == settings.steps - 1
        ended = [fact for fact in running if over or float(-said[fact].detach()) < settings.enough]
        for fact in ended:
            probability, kl = float(said[fact].detach().exp()), float(divergence[fact].detach())
            found[fact] = Value(delta[fact].detach().cpu().clone(), tuple(losses[fact]), probability, kl, resumed)
        if len(found) == len(sought):
            break
        loss[[fact for fact in running if fact not in ended]].sum().backward()
        adam.step()
        with torch.no_grad():
            lengths = delta.norm(dim=-1)
            delta.mul_(torch.where(lengths > settings.clamp * norms, settings.clamp * norms / lengths, 1.0)[:, None])
        if ended:
            readings = [left for reading in readings if (left := reading.without(ended)) is not None]
    return [found[fact] for fact in range(len(sought))]


def _stage(said: Tensor, losses: Sequence[Sequence[float]], running: Sequence[int]) -> str:
    """Loss and probability, means over the facts that still descend."""
    loss = sum(losses[fact][-1] for fact in running) / len(running)
    probability = float(said.detach()[list(running)].exp().mean())
    return f"optimising, loss {loss:.3f}, p {probability:.2f}"


def _said(
    model: LoadedModel, layer: int, readings: Sequence[_Reading], delta: Tensor, facts: int
) -> tuple[Tensor, Tensor]:
    """For each fact the target's mean log-probability a token, over its contexts, and KL(before ‖ now) in nats."""
    said, rows, divergence = (torch.zeros(facts, device=delta.device) for _ in range(3))
    for reading, log_p in zip(readings, _read(model, layer, readings, delta), strict=True):
        if reading.before is None:
            each = log_p.gather(-1, reading.answers[..., None])[..., 0].mean(dim=-1)
            said = said.index_add(0, reading.facts, each)
            rows = rows.index_add(0, reading.facts, torch.ones_like(each))
        else:
            each = torch.nn.functional.kl_div(log_p, reading.before, log_target=True, reduction="none").sum(dim=-1)
            divergence = divergence.index_add(0, reading.facts, each.mean(dim=-1))
    return said / rows.clamp(min=1), divergence


def _read(model: LoadedModel, layer: int, readings: Sequence[_Reading], delta: Tensor) -> list[Tensor]:
    """Log-probabilities ``(rows, reads, vocabulary)`` in float32 at the positions that each reading reads.

    All of them go through a block before any goes through the next, and are unembedded together: reading the
    weights from memory takes longer than multiplying so few tokens by them.
    """
    hidden = [reading.enter(delta) for reading in readings]
    for above in range(layer + 1, model.info.layers):
        hidden = [reading.go_on(above, states) for reading, states in zip(readings, hidden, strict=True)]
    wanted = [reading.read(states) for reading, states in zip(readings, hidden, strict=True)]
    logits = model.unembed(torch.cat([states.flatten(0, 1) for states in wanted]))
    sizes = [len(states.flatten(0, 1)) for states in wanted]
    split = torch.split(logits.float().log_softmax(dim=-1), sizes)
    return [log_p.view(*states.shape[:2], -1) for log_p, states in zip(split, wanted, strict=True)]


def _readings(model: LoadedModel, layer: int, place: ValuePlace, sought: Sequence[Sought]) -> list[_Reading]:
    """The contexts of all facts; those run together that are alike from the subject's last token on.

    What stands before it may differ in length, if the model gives the same for a row that is padded.
    """
    found = []
    for alike in _grouped([(fact, some) for fact, one in enumerate(sought) for some in (*one.rewrites, one.essence)]):
        lengths = {contexts.ids.shape[1] for _, contexts in alike}
        together = _Reading.of(model, layer, place, alike)
        if len(lengths) == 1 or (together.resumed and together.is_as_unpadded()):
            found.append(together)
        else:
            found += [
                _Reading.of(model, layer, place, [(fact, some) for fact, some in alike if some.ids.shape[1] == length])
                for length in sorted(lengths)
            ]
    return found


def _grouped(contexts: Sequence[tuple[int, Contexts]]) -> Iterator[list[tuple[int, Contexts]]]:
    groups: dict[tuple[tuple[int, ...], int], list[tuple[int, Contexts]]] = {}
    for fact, some in contexts:
        groups.setdefault((some.tail, len(some.answers)), []).append((fact, some))
    yield from groups.values()


def _norms(sought: Sequence[Sought], readings: Sequence[_Reading], model: LoadedModel) -> Tensor:
    """‖v₀‖ of each fact: as given, or the mean length of the states that are changed in the contexts of its target."""
    total, rows = torch.zeros(2, len(sought), device=model.hf.device).unbind()
    for reading in readings:
        if reading.answers.numel():
            lengths = reading.changed_states.float().norm(dim=-1)
            total, rows = (
                old.index_add(0, reading.facts, new)
                for old, new in ((total, lengths), (rows, torch.ones_like(lengths)))
            )
    means = (total / rows.clamp(min=1)).tolist()
    given = [mean if one.norm is None else one.norm for one, mean in zip(sought, means, strict=True)]
    return torch.tensor(given, device=model.hf.device)


class _Reading:
    """What the model says in contexts of one tail as a function of the changes, computed from the edited layer on.

    ``facts`` ``(rows,)`` says whose change is made in each row. ``answers`` are ``(rows, answers)``, none for what is
    to stay, of which ``before`` is what the model said without a change. A model that cannot be resumed runs as a
    whole on entry, and has nothing left to go on with.
    """

    def __init__(
        self,
        model: LoadedModel,
        layer: int,
        place: ValuePlace,
        like: Contexts,
        run: Run,
        facts: Tensor,
        answers: Tensor,
    ) -> None:
        self.facts, self.answers = facts, answers
        self.before: Tensor | None = None
        self._model, self._layer, self._place = model, layer, place
        self._contexts, self._run = like, run
        self._resumed = Resumed(model, run)
        self.resumed = bool(run.keys) and self._is_the_same()

    @classmethod
    def of(
        cls, model: LoadedModel, layer: int, place: ValuePlace, contexts: Sequence[tuple[int, Contexts]]
    ) -> _Reading:
        """Those of contexts that are alike from the subject's last token on, each with its fact's number."""
        device = model.hf.device
        longest = max((some for _, some in contexts), key=lambda some: some.ids.shape[1])
        missing = [longest.ids.shape[1] - some.ids.shape[1] for _, some in contexts]
        pad = torch.nn.functional.pad
        ids = torch.cat([pad(some.ids, (by, 0)) for by, (_, some) in zip(missing, contexts, strict=True)]).to(device)
        mask = torch.cat(
            [pad(torch.ones_like(some.ids), (by, 0)) for by, (_, some) in zip(missing, contexts, strict=True)]
        ).to(device)
        facts = torch.tensor([fact for fact, some in contexts for _ in some.ids], device=device)
        answers = torch.tensor([some.answers for _, some in contexts for _ in some.ids], device=device)
        run = record(model, ids, no_noise(model, *ids.shape), mask if any(missing) else None)
        return cls(model, layer, place, longest, run, facts, answers)

    def is_as_unpadded(self) -> bool:
        """Whether the row with the most padding came out as it does by itself."""
        assert self._run.mask is not None
        own = self._run.mask.sum(dim=1)
        row = int(own.argmin())
        ids = self._run.ids[row : row + 1, -int(own[row]) :]
        alone = record(self._model, ids, no_noise(self._model, *ids.shape)).states[-1][0]
        padded = self._run.states[-1][row, -int(own[row]) :]
        return self._within_parity(padded, alone)

    def _within_parity(self, states: Tensor, expected: Tensor) -> bool:
        difference = float((states - expected).abs().max() / expected.abs().max())
        return difference <= PARITY.get(self._model.info.dtype, PARITY_OF_HALF)

    def without(self, ended: Sequence[int]) -> _Reading | None:
        """The same without the rows of some facts, None where no row is left."""
        left = torch.isin(self.facts, torch.tensor(ended, device=self.facts.device), invert=True)
        if bool(left.all()):
            return self
        if not bool(left.any()):
            return None
        other = object.__new__(_Reading)
        vars(other).update(vars(self))
        other.facts, other.answers = self.facts[left], self.answers[left]
        other.before = None if self.before is None else self.before[left]
        other._resumed = self._resumed.only(left)
        other._run = self._run.rows(left)
        return other

    @property
    def changed_states(self) -> Tensor:
        """The states ``(rows, d_model)`` after the layer at the subject's last token, without a change."""
        return self._run.states[self._layer + 1][:, self._contexts.subject_last]

    @property
    def _first(self) -> int:
        """The first token that is computed."""
        return self._contexts.subject_last if self.resumed else 0

    def enter(self, delta: Tensor) -> Tensor:
        """States after the edited layer, with each row's change made at the subject's last token."""
        token, tokens = self._contexts.subject_last - self._first, self._run.ids.shape[1] - self._first
        own = delta[self.facts]
        if self.resumed and self._place == "residual":
            return _changed(self._resumed.entry(self._layer + 1, self._first), own, token)
        with self._adding(own, token, tokens):
            if self.resumed:
                return self._resumed.block(self._layer, self._first, self._resumed.entry(self._layer, self._first))
            return self._complete()

    def go_on(self, layer: int, states: Tensor) -> Tensor:
        """States after a layer further up."""
        return self._resumed.block(layer, self._first, states) if self.resumed else states

    def read(self, states: Tensor) -> Tensor:
        """The states ``(rows, reads, d_model)`` from which predictions are read."""
        return states[:, torch.tensor(self._contexts.reads, device=states.device) - self._first]

    def _complete(self) -> Tensor:
        """States after the last layer, of a complete run."""
        final: list[Tensor] = []
        last = self._model.block_modules[-1]
        handle = last.register_forward_hook(lambda _module, _args, output: final.append(tensor_of(output)))
        try:
            self._model.hf(input_ids=self._run.ids, use_cache=False)
        finally:
            handle.remove()
        return final[0]

    @contextmanager
    def _adding(self, delta: Tensor, token: int, tokens: int) -> Iterator[None]:
        """While the model runs, make each row's change ``(rows, d_model)`` at one of so many tokens."""

        def hook(_module: Any, _args: Any, output: Any) -> Any:
            states = tensor_of(output, len(delta))
            assert states.shape[1] == tokens
            return with_tensor(output, _changed(states, delta, token))

        handle = self._module.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    @property
    def _module(self) -> Module:
        """That of which the output is changed."""
        by_value = self._place == "value"
        return self._model.down_projection(self._layer) if by_value else self._model.block_modules[self._layer]

    def _is_the_same(self) -> bool:
        """Whether going on from the middle gives what the complete run gave."""
        first = self._contexts.subject_last
        try:
            with torch.no_grad():
                states = self._resumed.entry(self._layer, first)
                for above in range(self._layer, self._model.info.layers):
                    states = self._resumed.block(above, first, states)
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            return False
        return self._within_parity(states, self._run.states[-1][:, first:])


def _changed(states: Tensor, delta: Tensor, token: int) -> Tensor:
    """States ``(rows, tokens, d_model)`` with ``delta`` ``(rows, d_model)`` added at one token."""
    here = torch.zeros(states.shape[1], 1, device=states.device, dtype=states.dtype)
    here[token] = 1
    return states + here * delta.to(states.dtype)[:, None]
