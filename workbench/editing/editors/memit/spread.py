"""Facts written layer by layer: each layer takes its share of what the residual stream still lacks after the last.

Meng et al. 2023, "Mass-Editing Memory in a Transformer" (arXiv 2210.07229), algorithm 1. Only what is changed is
computed: the tokens up to each subject's last, and of the layers those from the edited one to the last of the range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.editing.changes import WeightUpdate
from workbench.editing.editors.memit.facts import FactContexts
from workbench.editing.editors.memit.solve import Keys
from workbench.editing.queue import Edit, EditInfo
from workbench.lazy import torch
from workbench.models.forward.layerwise import Layerwise
from workbench.protocol import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

Solve = Callable[[int, "Tensor", Keys], WeightUpdate]
"""From a layer, what each fact lacks there ``(d_model, facts)``, and the facts' keys to the layer's change."""


@dataclass(frozen=True, eq=False)
class Written:
    """``changes`` layer by layer, and for each fact the part of its value that the residual stream has gained."""

    changes: tuple[WeightUpdate, ...]
    shares: tuple[float, ...]


def spread(
    model: LoadedModel,
    info: EditInfo,
    facts: Sequence[FactContexts],
    aims: Callable[[Tensor], Tensor],
    solve: Solve,
    progress: Progress,
) -> Written:
    """Write facts into the layers of ``info``.

    ``aims`` makes of the states ``(contexts, d_model)`` after the last layer, in float64, what they are to gain.
    Raises `NumericalError` for numbers that are not finite, and what ``solve`` raises.
    """
    layers, last = info.layers, info.layers[-1]
    walk = _Walk(model, facts, len(layers), progress)
    changes: list[WeightUpdate] = []
    before = gain = None
    for number, layer in enumerate(layers):
        walk.number = number
        with model.edits.added(Edit(info, tuple(changes))):
            walk.go_to(walk.main, layer - 1)
            ahead = walk.main.fork()
            keys = walk.keys(ahead, layer)
            walk.go_to(ahead, last)
            states = walk.ends(ahead.states)
        if before is None or gain is None:
            before, gain = states, aims(states)
        lacking = walk.by_fact(gain - (states - before)) / (len(layers) - number)
        progress(number, len(layers), stage=f"solving layer {layer}")
        change = solve(layer, lacking.T, keys)
        if not all(bool(torch.isfinite(tensor).all()) for tensor in change.tensors.values()):
            raise model.not_finite("the edit's numbers are", "edit other layers")
        changes.append(change)
        with model.edits.added(Edit(info, tuple(changes))):
            walk.go_to(walk.main, layer)
    assert before is not None
    assert gain is not None
    gained = ((walk.ends(walk.main.states) - before) * gain).sum(dim=-1, keepdim=True)
    shares = walk.by_fact(gained) / walk.by_fact((gain * gain).sum(dim=-1, keepdim=True)).clamp(min=1e-30)
    return Written(tuple(changes), tuple(shares[:, 0].tolist()))


class _Walk:
    """The contexts of all facts on their way through the layers."""

    def __init__(self, model: LoadedModel, facts: Sequence[FactContexts], layers: int, progress: Progress) -> None:
        self.number = 0
        self._model, self._progress, self._layers = model, progress, layers
        self._number = len(facts)
        device = model.hf.device if model.hf.device.type == "cuda" else torch.device("cpu")
        self._device = device
        self._weights = torch.tensor(
            [weight for fact in facts for weight in fact.weights], dtype=torch.float64, device=device
        )
        of = [number for number, fact in enumerate(facts) for _ in fact.texts]
        self._facts = torch.tensor(of, device=device)
        progress(0, layers, stage="contexts")
        self.main = Layerwise(model, [text for fact in facts for text in fact.texts])

    def go_to(self, walk: Layerwise, layer: int) -> None:
        """Run blocks until the states are those after ``layer``."""
        while walk.layer < layer:
            for done in walk.advance():
                stage = f"states after layer {walk.layer + 1}, {done:,} of {walk.tokens:,} tokens"
                self._progress(self.number, self._layers, stage=stage)

    def keys(self, walk: Layerwise, layer: int) -> Keys:
        """Run the next block, ``layer``, and take the subjects' keys there."""
        seen: list[Tensor] = []

        def keep(_module: Any, args: Any) -> None:
            rows = len(walk.batches[len(seen)].places)
            seen.append(args[0].detach().view(rows, -1, args[0].shape[-1])[:, -1])

        handle = self._model.down_projection(layer).register_forward_pre_hook(keep)
        try:
            self.go_to(walk, layer)
        finally:
            handle.remove()
        return Keys(self._ordered(seen).T, self._weights, self._facts, self._number)

    def ends(self, states: Sequence[Tensor]) -> Tensor:
        """The states ``(contexts, d_model)`` at the subjects' last tokens."""
        return self._ordered([some[:, -1] for some in states])

    def by_fact(self, numbers: Tensor) -> Tensor:
        """Weighted means ``(facts, …)`` over the contexts of each fact."""
        found = torch.zeros(self._number, numbers.shape[1], dtype=torch.float64, device=self._device)
        return found.index_add(0, self._facts, numbers * self._weights[:, None])

    def _ordered(self, batches: Sequence[Tensor]) -> Tensor:
        """Rows of batches in the order of the contexts, in float64."""
        places = torch.tensor([place for batch in self.main.batches for place in batch.places])
        rows = torch.cat([some.cpu() for some in batches])
        found = torch.empty_like(rows)
        found[places] = rows
        return found.to(self._device, torch.float64)
