"""The value of a ROME edit: the change of an MLP's output at the subject's last token that makes the model say the
target, found by gradient descent (Meng et al. 2022, arXiv 2202.05262, section 3.1 and appendix E.5).

Only what such a change can reach is computed: the edited layer and those above, at the subject's last token and the
tokens after it, with the recorded keys and values of the tokens before; and only the positions whose predictions
count are unembedded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.editing.editors.rome.contexts import Contexts
from workbench.lazy import torch
from workbench.memory import is_out_of_memory
from workbench.models.anatomy import tensor_of, with_tensor
from workbench.models.forward.corruption import no_noise
from workbench.models.forward.resume import PARITY, PARITY_OF_HALF, Resumed
from workbench.models.forward.runs import record
from workbench.protocol import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel


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
class Value:
    """``delta`` ``(d_model,)`` float32, what is added to W_out's output; ``losses`` by step, in nats."""

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
    """Find the change. ``value_norm`` is ‖v₀‖, the length of the value that is there now. Progress counts steps."""
    readings = [_Reading(model, layer, contexts) for contexts in (*rewrites, essence)]
    answers = torch.cat([reading.answers for reading in readings[:-1]])
    delta = torch.zeros(model.info.d_model, device=model.hf.device, requires_grad=True)
    with torch.no_grad():
        before = _read(model, layer, readings[-1:], delta)[0][:, 0]
    adam = torch.optim.Adam([delta], lr=settings.rate)
    losses: list[float] = []
    probability = kl = 0.0
    for step in range(settings.steps):
        adam.zero_grad()
        *rewritten, kept = _read(model, layer, readings, delta)
        log_p = torch.cat(rewritten)  # (rows, answers, vocabulary)
        said = log_p.gather(-1, answers[..., None])[..., 0].mean(dim=-1)
        divergence = _kl(before, kept[:, 0])
        decay = settings.decay * delta.norm() / value_norm**2
        loss = -said.mean() + settings.kl * divergence + decay
        losses.append(float(loss.detach()))
        probability, kl = float(said.detach().exp().mean()), float(divergence.detach())
        progress(step, settings.steps, stage=f"optimising, loss {losses[-1]:.3f}, p {probability:.2f}")
        if float(-said.detach().mean()) < settings.enough or step == settings.steps - 1:
            break
        loss.backward()
        adam.step()
        with torch.no_grad():
            longest = settings.clamp * value_norm
            if delta.norm() > longest:
                delta.mul_(longest / delta.norm())
    return Value(delta.detach().cpu(), tuple(losses), probability, kl, all(reading.resumed for reading in readings))


def _kl(before: Tensor, now: Tensor) -> Tensor:
    """KL(before ‖ now) in nats, mean over rows, from log-probabilities ``(rows, vocabulary)``."""
    return torch.nn.functional.kl_div(now, before, log_target=True, reduction="batchmean")


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


class _Reading:
    """What the model says in some contexts as a function of the change, computed from the edited layer on.

    A model that cannot be resumed runs as a whole on entry, and has nothing left to go on with.
    """

    def __init__(self, model: LoadedModel, layer: int, contexts: Contexts) -> None:
        self._model, self._layer, self._contexts = model, layer, contexts
        ids = contexts.ids.to(model.hf.device)
        self._run = record(model, ids, no_noise(model, *ids.shape))
        self._resumed = Resumed(model, self._run)
        self.resumed = bool(self._run.keys) and self._is_the_same()
        self.answers = torch.tensor(contexts.answers, device=ids.device).expand(len(ids), -1)

    @property
    def _first(self) -> int:
        """The first token that is computed."""
        return self._contexts.subject_last if self.resumed else 0

    def enter(self, delta: Tensor) -> Tensor:
        """The residual stream after the edited layer, the change added to its value at the subject's last token."""
        token, tokens = self._contexts.subject_last - self._first, self._run.ids.shape[1] - self._first
        with self._adding(delta, token, tokens):
            return self._step(self._layer) if self.resumed else self._complete()

    def go_on(self, layer: int, states: Tensor) -> Tensor:
        """The residual stream after a layer further up."""
        return self._resumed.block(layer, self._first, states) if self.resumed else states

    def read(self, states: Tensor) -> Tensor:
        """The states ``(rows, reads, d_model)`` from which predictions are read."""
        return states[:, torch.tensor(self._contexts.reads, device=states.device) - self._first]

    def _step(self, layer: int) -> Tensor:
        return self._resumed.block(layer, self._first, self._resumed.entry(layer, self._first))

    def _complete(self) -> Tensor:
        """The residual stream after the last layer, of a complete run."""
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
        """While the model runs, add the change to W_out's output at one token."""
        rows = len(self._run.ids)

        def hook(_module: Any, _args: Any, output: Any) -> Any:
            states = tensor_of(output, rows)
            here = torch.zeros(tokens, 1, device=states.device, dtype=states.dtype)
            here[token] = 1
            return with_tensor(output, states + here * delta.to(states.dtype))

        handle = self._model.down_projection(self._layer).register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

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
        expected = self._run.states[-1][:, first:]
        difference = float((states - expected).abs().max() / expected.abs().max())
        return difference <= PARITY.get(self._model.info.dtype, PARITY_OF_HALF)
