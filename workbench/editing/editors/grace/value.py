"""The value of a fact: the state after one layer, at the token of the key, with which the model says the target.

Found by gradient descent on the target's tokens, from the state that is there (Hartvigsen et al. 2023, arXiv
2211.11031, section 3.2). The fact's prompts share it. Only what it can reach is computed: the layers above, at its own
token and those after it, with the recorded keys and values of the tokens before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.editing.editors.grace.prompts import Prompt
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
class Descent:
    """Adam takes at most ``steps`` steps of ``rate``, and none once the target's probability is ``enough``."""

    steps: int
    rate: float
    enough: float


@dataclass(frozen=True, eq=False)
class Learned:
    """``keys`` ``(prompts, d_model)`` and ``value`` ``(d_model,)``, float32 on the CPU.

    ``losses`` are those before each step and after the last, in nats a token of the target. ``probability`` is the
    whole target's, the least over the prompts, and ``probability_before`` the same of the model as it was. ``resumed``
    when only a part of the model was run.
    """

    keys: Tensor
    value: Tensor
    losses: tuple[float, ...]
    probability_before: float
    probability: float
    resumed: bool


def learn(
    model: LoadedModel, layer: int, prompts: Sequence[Prompt], descent: Descent, progress: Progress, what: str = ""
) -> Learned:
    """Find the value. Progress counts steps. Raises `NumericalError` where the loss is not finite."""
    readings = [_Reading(model, layer, prompt) for prompt in prompts]
    keys = torch.stack([reading.key for reading in readings])
    with torch.no_grad():
        before = min(math.exp(float(reading.log_p(reading.key).sum())) for reading in readings)
    losses, least = list[float](), list[float]()
    with torch.enable_grad():
        value = keys[-1].clone().requires_grad_()
        adam = torch.optim.Adam([value], lr=descent.rate)
        for step in range(descent.steps + 1):
            log_p = torch.stack([reading.log_p(value) for reading in readings])  # (prompts, answers)
            loss = -log_p.mean()
            losses.append(float(loss.detach()))
            least.append(math.exp(float(log_p.detach().sum(dim=-1).min())))
            if not math.isfinite(losses[-1]):
                raise model.not_finite(f"the loss after {step} steps is", "use a smaller rate")
            progress(step, descent.steps, stage=f"learning the value{what}, p {least[-1]:.2f}")
            if least[-1] >= descent.enough or step == descent.steps:
                break
            (value.grad,) = torch.autograd.grad(loss, value)
            adam.step()
    found = value.detach().cpu()
    resumed = all(reading.resumed for reading in readings)
    return Learned(keys.cpu(), found, tuple(losses), before, least[-1], resumed)


class _Reading:
    """How likely the answer is after one prompt as a function of the value."""

    def __init__(self, model: LoadedModel, layer: int, prompt: Prompt) -> None:
        self._model, self._layer, self._prompt = model, layer, prompt
        ids = torch.tensor([prompt.ids], device=model.hf.device)
        self._run = record(model, ids, no_noise(model, *ids.shape))
        self.key: Tensor = self._run.states[layer + 1][0, prompt.place].float()
        self._answers = torch.tensor(prompt.answers, device=ids.device)
        self._resumed = Resumed(model, self._run)
        self.resumed = bool(self._run.keys) and self._is_the_same()

    def log_p(self, value: Tensor) -> Tensor:
        """Log-probabilities of the answer's tokens ``(answers,)``, in nats."""
        final = self._above(value) if self.resumed else self._complete(value)
        first = final.shape[1] - len(self._run.ids[0]) + self._prompt.last
        logits = self._model.unembed(final[0, first : first + len(self._answers)])
        return logits.float().log_softmax(dim=-1).gather(-1, self._answers[:, None])[:, 0]

    def _above(self, value: Tensor) -> Tensor:
        """States after the last block from the key's token on ``(1, tokens, d_model)``."""
        first = self._prompt.place
        after = self._resumed.entry(self._layer + 1, first)[:, 1:]
        states = torch.cat([value.to(after.dtype)[None, None], after], dim=1)
        for layer in range(self._layer + 1, self._model.info.layers):
            states = self._resumed.block(layer, first, states)
        return states

    def _complete(self, value: Tensor) -> Tensor:
        """The same of all tokens, by a complete run."""
        final: list[Tensor] = []
        blocks = self._model.block_modules

        def put(_module: Any, _args: Any, output: Any) -> Any:
            states = tensor_of(output).clone()
            states[:, self._prompt.place] = value.to(states.dtype)
            return with_tensor(output, states)

        def keep(_module: Any, _args: Any, output: Any) -> None:
            final.append(tensor_of(output))

        handles = [blocks[self._layer].register_forward_hook(put), blocks[-1].register_forward_hook(keep)]
        try:
            self._model.hf(input_ids=self._run.ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return final[0]

    def _is_the_same(self) -> bool:
        """Whether going on from the middle gives what the complete run gave."""
        try:
            with torch.no_grad():
                states = self._above(self.key)
        except (TypeError, ValueError, LookupError, AttributeError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            return False
        expected = self._run.states[-1][:, self._prompt.place :]
        difference = float((states - expected).abs().max() / expected.abs().max())
        return difference <= PARITY.get(self._model.info.dtype, PARITY_OF_HALF)
