"""Texts whose lower layers are run once: from one block on they run again and again, with gradients.

For whatever changes weights of late layers and needs many forward passes of the same texts, such as fine-tuning. The
model's own forward is called, with lower blocks that pass on and a block's input that was recorded, so that masks,
positions and all else are what the architecture makes them. Texts are padded on the right, where a causal model
cannot see it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.lazy import torch
from workbench.memory import ByDevice
from workbench.models.anatomy import tensor_of
from workbench.models.forward.resume import PARITY, PARITY_OF_HALF, _forward_replaced
from workbench.protocol import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

TOKENS_AT_ONCE = ByDevice(cpu=1024, elsewhere=16384)
"""Tokens of one batch of the runs that record."""


@dataclass(frozen=True)
class Continued:
    """A text among others, by its ``row``, and the tokens that follow its first ``prompt`` tokens; all but the last of
    these are in the text."""

    row: int
    prompt: int
    answers: tuple[int, ...]


class Texts:
    """Texts to be run, each once, whatever is read of it."""

    def __init__(self) -> None:
        self.ids: list[tuple[int, ...]] = []
        self._rows: dict[tuple[int, ...], int] = {}

    def continued(self, prompt: tuple[int, ...], answers: tuple[int, ...]) -> Continued:
        """A prompt and what is to follow it."""
        return Continued(self.row(prompt + answers[:-1]), len(prompt), answers)

    def row(self, text: tuple[int, ...]) -> int:
        """The place of a text among all."""
        if text not in self._rows:
            self._rows[text] = len(self.ids)
            self.ids.append(text)
        return self._rows[text]


def log_probabilities(model: LoadedModel, states: Tensor, asked: Sequence[Continued]) -> list[Tensor]:
    """Log-probabilities of each continuation's tokens, in nats, from the states ``(asked, tokens, d_model)``."""
    rows = [row for row, each in enumerate(asked) for _ in each.answers]
    places = [each.prompt - 1 + number for each in asked for number in range(len(each.answers))]
    wanted = torch.tensor([token for each in asked for token in each.answers], device=states.device)
    log_p = model.unembed(states[rows, places]).float().log_softmax(dim=-1).gather(-1, wanted[:, None])[:, 0]
    return list(torch.split(log_p, [len(each.answers) for each in asked]))


class UpperLayers:
    """The states after the last block of ``texts`` (token ids), computed from block ``layer`` on.

    ``parity`` is how far a run from there is off an unbroken one: largest relative difference. Where it is too large
    for the dtype, ``resumed`` is false and every run is an unbroken one.
    """

    def __init__(
        self, model: LoadedModel, layer: int, texts: Sequence[Sequence[int]], progress: Progress = silent
    ) -> None:
        self._model, self._layer, self._texts = model, layer, texts
        self._blocks = model.block_modules
        self._returns_tuple: dict[int, bool] = {}
        self._entries: dict[int, Tensor] = {}
        self.resumed, self.parity = False, 0.0
        if not layer or not texts:
            return
        for done in self._record():
            progress(done, len(texts), stage=f"running up to layer {layer}")
        with torch.no_grad():
            expected = self.states([0])
            self.resumed = True
            found = self.states([0])
        self.parity = float((found.float() - expected.float()).abs().max() / expected.float().abs().max())
        self.resumed = self.parity <= PARITY.get(model.info.dtype, PARITY_OF_HALF)

    def states(self, rows: Sequence[int], weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """States after the last block ``(rows, tokens, d_model)`` of these texts; what follows a row's own tokens
        means nothing.

        ``weights`` stand in the place of the model's own, by the names that `torch.nn.Module.get_parameter` takes.
        """
        longest = max(len(self._texts[row]) for row in rows)
        final: list[Tensor] = []

        def keep(_module: Any, _args: Any, output: Any) -> None:
            final.append(tensor_of(output, len(rows)))

        base = self._model.hf.base_model
        prefix = f"{self._model.hf.base_model_prefix}."
        own = {name.removeprefix(prefix): weight for name, weight in (weights or {}).items()}
        kwargs = {"input_ids": self._padded(rows, longest), "use_cache": False}
        with ExitStack() as undo:
            undo.callback(self._blocks[-1].register_forward_hook(keep).remove)
            if self.resumed:
                undo.enter_context(self._entering(rows, longest))
            torch.func.functional_call(base, own, kwargs=kwargs)
        return final[0]

    def length(self, row: int) -> int:
        """How many tokens a text has."""
        return len(self._texts[row])

    def _padded(self, rows: Sequence[int], longest: int) -> Tensor:
        ids = [tuple(self._texts[row]) for row in rows]
        padded = [row + row[-1:] * (longest - len(row)) for row in ids]
        return torch.tensor(padded, device=self._model.hf.device)

    @contextmanager
    def _entering(self, rows: Sequence[int], longest: int) -> Iterator[None]:
        """While the model runs, the lower blocks pass on what they are given, and ``layer`` begins as recorded."""
        some = [self._entries[row] for row in rows]
        entry = torch.stack([torch.nn.functional.pad(one, (0, 0, 0, longest - len(one))) for one in some])

        def begin(_module: Any, args: Any, kwargs: Any) -> Any:
            return ((entry, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": entry})

        with ExitStack() as undo:
            for layer in range(self._layer):
                undo.enter_context(_forward_replaced(self._blocks[layer], _passing_on(self._returns_tuple[layer])))
            hook = self._blocks[self._layer].register_forward_pre_hook(begin, with_kwargs=True, prepend=True)
            undo.callback(hook.remove)
            yield

    def _record(self) -> Iterator[int]:
        """Run all texts as far as the layer, those of like length together, and yield how many are done."""
        order = sorted(range(len(self._texts)), key=lambda row: len(self._texts[row]))
        most = TOKENS_AT_ONCE[self._model.hf.device.type]
        done = 0
        while done < len(order):
            size = 1
            while done + size < len(order) and (size + 1) * len(self._texts[order[done + size]]) <= most:
                size += 1
            self._record_batch(order[done : done + size])
            done += size
            yield done

    def _record_batch(self, rows: Sequence[int]) -> None:
        longest = max(len(self._texts[row]) for row in rows)
        entered: list[Tensor] = []

        def note(layer: int) -> Any:
            def hook(_module: Any, _args: Any, output: Any) -> None:
                self._returns_tuple[layer] = isinstance(output, tuple)

            return hook

        def stop(_module: Any, args: Any, kwargs: Any) -> None:
            entered.append(args[0] if args else kwargs["hidden_states"])
            raise _FarEnough

        with ExitStack() as hooks, torch.no_grad():
            for layer in range(self._layer):
                hooks.callback(self._blocks[layer].register_forward_hook(note(layer)).remove)
            block = self._blocks[self._layer]
            hooks.callback(block.register_forward_pre_hook(stop, with_kwargs=True).remove)
            with suppress(_FarEnough):
                self._model.hf.base_model(input_ids=self._padded(rows, longest), use_cache=False)
        for at, row in enumerate(rows):
            self._entries[row] = entered[0][at, : len(self._texts[row])].clone()


class _FarEnough(Exception):
    """Ends a run whose further layers nobody needs."""


def _passing_on(returns_tuple: bool) -> Any:
    def forward(*args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        return (hidden, None) if returns_tuple else hidden

    return forward
