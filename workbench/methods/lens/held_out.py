"""How good readings of the residual stream are: their KL to the model's own answer, on text nothing was fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.datasets.held_out import held_out_text
from workbench.lazy import nnsight, torch
from workbench.memory import in_batches
from workbench.methods.lens.translators import HeldOutKL, Translators
from workbench.models.anatomy import tensor_of
from workbench.models.forward.ordinary_text import text_length
from workbench.models.forward.sampling import document_start
from workbench.numbers import significant
from workbench.protocol import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

TOKENS = 256
"""Tokens at which lenses are measured, spread evenly over the held-out text."""

LOGITS_BUDGET = 64 * 2**20
"""Bytes of logits held at once."""

Reading = Callable[[int, "Tensor"], "Tensor"]
"""From a row and its states ``(tokens, d_model)`` to logits ``(tokens, vocabulary)``."""


def states_of(model: LoadedModel, ids: Tensor) -> list[Tensor]:
    """The residual stream ``(rows, tokens, d_model)`` of texts ``(rows, tokens)``: the embedding, then each block's."""
    with torch.no_grad():
        with model.nn.trace(input_ids=ids.to(model.hf.device), use_cache=False) as tracer:
            states = nnsight.save([])
            states.append(model.nn.blocks[0].input)
            for block in model.nn.blocks:
                states.append(tensor_of(block.output, len(ids)))
            tracer.stop()  # before the unembedding, which is wanted for a few tokens only
    return list(states)


@dataclass(frozen=True, eq=False)
class HeldOutStates:
    """``states`` ``(layers + 1, tokens, d_model)`` of some tokens of the held-out text."""

    states: Tensor

    def kl(self, model: LoadedModel, readings: Mapping[str, Reading], progress: Progress) -> dict[str, Tensor]:
        """KL(final ‖ reading) in nats, ``(rows, tokens)`` by reading. The last row is what is compared with."""
        rows, tokens = self.states.shape[:2]
        found = {name: torch.zeros(rows, tokens) for name in readings}
        bytes_each = 2 * 4 * model.info.vocabulary

        def measure(positions: list[int]) -> None:
            final = model.unembed(self.states[-1, positions]).float().log_softmax(dim=-1)
            for row in range(rows):
                progress(positions[0] * rows + row * len(positions), tokens * rows, stage="measuring on held-out text")
                for name, reading in readings.items():
                    read = reading(row, self.states[row, positions]).float().log_softmax(dim=-1)
                    kl = (final.exp() * (final - read)).nan_to_num(0.0).sum(dim=-1)
                    found[name][row, positions] = kl.clamp(min=0).cpu()

        with torch.no_grad():
            for _ in in_batches(range(tokens), max(1, LOGITS_BUDGET // bytes_each), measure, bytes_each):
                pass
        return found


def held_out_states(model: LoadedModel) -> HeldOutStates:
    """The states of `TOKENS` tokens, or as many as there are, in texts after BOS or separator."""
    start, length = document_start(model), text_length(model)
    ids = model.tokenizer(held_out_text(), add_special_tokens=False, verbose=False)["input_ids"]
    pieces = [ids[begin : begin + length] for begin in range(0, len(ids) - length + 1, length)] or [ids]
    found = []
    for piece in pieces:
        states = states_of(model, torch.tensor([[*start, *piece]]))
        found.append(torch.stack([each[0, len(start) or 1 :] for each in states]))
    whole = torch.cat(found, dim=1)
    chosen = torch.linspace(0, whole.shape[1] - 1, min(TOKENS, whole.shape[1])).round().long()
    return HeldOutStates(whole[:, chosen.to(whole.device)])


def held_out_kl(
    model: LoadedModel,
    translators: Translators,
    mean_state: Tensor | None,
    shuffled: Translators | None,
    progress: Progress,
) -> HeldOutKL:
    """What a lens' trust is made of. ``mean_state`` is the mean final state after the final norm; where none was
    measured elsewhere it is the held-out text's own.

    Raises `NumericalError` where the model's states are not finite.
    """
    progress(0, 1, stage="measuring on held-out text")
    held_out = held_out_states(model)
    final = held_out.states[-1]
    if not bool(held_out.states.isfinite().all()):
        raise model.not_finite("the model's states are")
    with torch.no_grad():
        constant = model.norm(final).float().mean(dim=0) if mean_state is None else mean_state
    readings: dict[str, Reading] = {
        "lens": lambda row, states: translators.logits(model, row, states),
        "logit": lambda _, states: model.unembed(states),
    }
    if shuffled is not None:
        readings["shuffled"] = lambda row, states: shuffled.logits(model, row, states)
    known = held_out.kl(model, readings, progress)
    of_mean: Reading = lambda _, states: model.unembed(constant.to(states).expand_as(states), normed=True)  # noqa: E731
    mean = HeldOutStates(held_out.states[-1:]).kl(model, {"mean": of_mean}, progress)["mean"]
    return HeldOutKL(
        tokens=held_out.states.shape[1],
        lens=significant(known["lens"].mean(dim=1)),
        logit=significant(known["logit"].mean(dim=1)),
        lens_median=significant(known["lens"].median(dim=1).values),
        logit_median=significant(known["logit"].median(dim=1).values),
        mean_state=significant(mean.mean()),
        shuffled=significant(known["shuffled"].mean(dim=1)) if shuffled is not None else None,
    )
