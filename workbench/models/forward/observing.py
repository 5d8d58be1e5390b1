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
"""Layers that a lens reads together on its way down, where nothing tells how far that goes."""

ROWS_AT_ONCE = 64
"""States that are unembedded together: on a processor a row among 64 takes a tenth of one alone."""

ROUNDING = {"float32": 1e-3}
ROUNDING_OF_HALF = 0.03
"""A logit that is behind by no more than this share may be ahead where it is computed otherwise, by dtype."""


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


def depths(model: LoadedModel, states: Tensor, tokens: Sequence[int], rivals: Tensor | None = None) -> list[int]:
    """The layer from which on the logit lens' first choice is the token, for each of ``tokens``.

    ``states`` ``(tokens, layers, d_model)``; every token must be the model's own first choice. ``rivals`` ``(tokens,
    some)`` are other likely tokens of each: a layer at which one of them is ahead is not read in full. The others are,
    from the last layer down, and no further than to where the lens says something else.
    """
    layers = states.shape[1]
    wanted = torch.tensor(tokens, device=states.device)
    lowest = _ahead_of_rivals(model, states, wanted, rivals)
    step = LAYERS_AT_ONCE if lowest is None else layers
    lowest = lowest or [0] * len(tokens)
    found, going = [layers - 1] * len(tokens), list(range(len(tokens)))
    for stop in range(layers - 1, 0, -step):
        rows = [(place, layer) for place in going for layer in range(max(lowest[place], stop - step), stop)]
        kept = set()
        for first in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[first : first + ROWS_AT_ONCE]
            places, at = (torch.tensor(each, device=states.device) for each in zip(*some, strict=True))
            with torch.no_grad():
                top = model.unembed(states[places, at]).argmax(dim=-1)
            kept |= {
                row for row, same in zip(some, (top == wanted[places].to(top.device)).tolist(), strict=True) if same
            }
        for place in going:
            while (place, found[place] - 1) in kept:
                found[place] -= 1
        going = [place for place in going if found[place] == stop - step]
    return found


def _ahead_of_rivals(model: LoadedModel, states: Tensor, wanted: Tensor, rivals: Tensor | None) -> list[int] | None:
    """The layer from which on each token is ahead of all its rivals; None where nobody can tell without all logits.

    Within rounding it counts as ahead: what is read in full afterwards decides.
    """
    matrix = getattr(model.unembedding, "weight", None)
    bias = getattr(model.unembedding, "bias", None)
    if rivals is None or model.anatomy.projection or not isinstance(matrix, torch.Tensor):
        return None
    with torch.no_grad():
        normed = model.norm(states)
        both = torch.cat([wanted[:, None], rivals.to(wanted)], dim=1)
        logits = torch.einsum("tld,tkd->tlk", normed.float(), matrix[both].float())
        if isinstance(bias, torch.Tensor):
            logits += bias[both].float()[:, None]
        own, best = logits[..., 0], logits.amax(dim=-1)
        ahead = own >= best - ROUNDING.get(model.info.dtype, ROUNDING_OF_HALF) * best.abs()
    return (states.shape[1] - ahead.flip(1).int().cumprod(dim=1).sum(dim=1)).clamp(min=0).tolist()
