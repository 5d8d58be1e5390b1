"""What blocks and attention did at the last token of each run of a text that is being generated.

Plain forward hooks keep the residual stream after every block at the last token only, and the attention weights from
there, so that looking on costs little beside the run itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from workbench.errors import ModelError
from workbench.lazy import torch
from workbench.models.anatomy import tensor_of
from workbench.models.forward.decoding import Ids, TextBatch
from workbench.models.heads import eager, weights_in

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from workbench.loading import LoadedModel

LAYERS_AT_ONCE = 4
"""Layers that a lens reads together on its way down: most tokens are new within the last few."""


class Observed:
    """The run before: ``states`` ``(layers, d_model)`` of the residual stream after each block at the last token.

    ``blind`` says in a sentence why nobody can tell where the model looked, "" where one can.
    """

    def __init__(self, model: LoadedModel, attention: bool) -> None:
        self._model = model
        self._states: list[Tensor] = [torch.empty(0)] * model.info.layers
        self._weights: dict[int, Tensor] = {}
        self._norms: Tensor | None = None
        self.blind = "" if attention else "not asked"
        if attention:
            try:
                model.heads  # noqa: B018 - found here, or not
            except ModelError as error:
                self.blind = str(error)

    @property
    def states(self) -> Tensor:
        """As the class says."""
        return torch.stack([state.to(self._states[-1].device) for state in self._states])

    def sources(self, cache: Any) -> Tensor | None:
        """How much arrived from each token ``(tokens,)`` at the last one, as shares; None where nobody can tell.

        The attention weight times the norm of the value (Kobayashi et al. 2020, arXiv 2004.10102, without W_O), summed
        over all heads of all layers. The norms of values are remembered, so that each is computed once.
        """
        if self.blind:
            return None
        known = 0 if self._norms is None else self._norms.shape[-1]
        try:
            new = torch.stack([layer.values[0, :, known:] for layer in cache.layers]).float().norm(dim=-1)
            norms = new if self._norms is None else torch.cat([self._norms, new], dim=-1)  # (layers, kv heads, tokens)
            weights = torch.stack([self._weights[layer] for layer in range(len(cache.layers))]).float()
            grouped = weights.view(*norms.shape[:2], -1, norms.shape[-1]).sum(dim=2)
        except (RuntimeError, LookupError, AttributeError) as error:
            self.blind = f"keys and values of this model do not fit its attention weights ({type(error).__name__})"
            return None
        self._norms = norms
        arrived = (grouped * norms).sum(dim=(0, 1)).cpu()
        return arrived / arrived.sum().clamp(min=1e-12)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, runs of the model are looked at."""
        with ExitStack() as hooks:
            for layer, block in enumerate(self._model.block_modules):
                hooks.callback(block.register_forward_hook(self._keep_state(layer)).remove)
                if not self.blind:
                    looking = block.get_submodule(self._model.heads.weights)
                    hooks.callback(looking.register_forward_hook(self._keep_weights(layer)).remove)
            yield

    def begun(self, ids: Ids) -> TextBatch:
        """A text that has been run, its last token by itself under the kernel that returns attention weights."""
        if self.blind or len(ids) == 1:
            return TextBatch(self._model, [ids])
        batch = TextBatch(self._model, [ids[:-1]])
        with self.kernel():
            batch.step(ids[-1:])
        return batch

    @contextmanager
    def kernel(self) -> Iterator[None]:
        """While it lasts, attention weights are returned, if they are wanted."""
        with ExitStack() as stack:
            if not self.blind:
                stack.enter_context(eager(self._model.hf))
            yield

    def _keep_state(self, layer: int) -> Any:
        def hook(_module: Module, _args: Any, output: Any) -> None:
            self._states[layer] = tensor_of(output)[0, -1]

        return hook

    def _keep_weights(self, layer: int) -> Any:
        def hook(_module: Module, _args: Any, output: Any) -> None:
            if (weights := weights_in(output)) is not None:
                self._weights[layer] = weights[0, :, -1]

        return hook


def depths(model: LoadedModel, states: Tensor, tokens: Sequence[int]) -> list[int]:
    """The layer from which on the logit lens' first choice is the token, for each of ``tokens``.

    ``states`` ``(tokens, layers, d_model)``; every token must be the model's own first choice. The lens is read from
    the last layer down, and no further than to where it says something else.
    """
    layers = states.shape[1]
    found = [layers - 1] * len(tokens)
    wanted = torch.tensor(tokens, device=states.device)
    going = list(range(len(tokens)))
    stop = layers - 1
    while going and stop:
        start = max(0, stop - LAYERS_AT_ONCE)
        with torch.no_grad():
            first = model.unembed(states[going, start:stop]).argmax(dim=-1)  # (going, layers of this round)
        kept = (first == wanted[going, None].to(first.device)).flip(1).cumprod(dim=1).sum(dim=1).tolist()
        for place, many in zip(going, kept, strict=True):
            found[place] = stop - many
        going = [place for place, many in zip(going, kept, strict=True) if many == stop - start]
        stop = start
    return found
