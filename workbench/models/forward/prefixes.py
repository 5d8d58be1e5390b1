"""Many texts that begin alike, run with only what is new in each: keys and values of what was run before are kept.

Texts go through the model in batches. They end together, on the right, and the kept keys and values of each stand
directly before its own tokens, so that distances between tokens, sliding windows included, are what they would be
in a run of that text alone. That this holds is checked on the first batch; where it does not, every text is run
alone and from its start.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.errors import NumericalError
from workbench.lazy import torch, transformers
from workbench.memory import in_batches
from workbench.models.forward.resume import PARITY, PARITY_OF_HALF

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

Ids = tuple[int, ...]

Choose = Callable[[int, int, "torch.Tensor"], int]
"""From a text's index, the number of tokens it was continued by, and its logits ``(vocabulary,)`` in float32 to the
next token, or a negative number to stop. It may be asked again from the start, when memory ran out."""

TOKENS_AT_ONCE = {"cpu": 1024}
"""Tokens of one batch: larger ones are no faster there, and smaller ones stop sooner when cancelled."""

TOKENS_AT_ONCE_ELSEWHERE = 16384

ROWS_AT_ONCE = {"cpu": 16}
"""Texts that are gone on with together: on a CPU a step with eight of them takes twice as long as with one."""

ROWS_AT_ONCE_ELSEWHERE = 64

KEPT_BUDGET = 2**30
"""Bytes of keys and values kept at once; beyond, the oldest are computed again."""

WASTE = 0.25
"""The part of a batch's tokens that may be computed again so that its texts can go together."""

LITTLE_WASTE = 64
"""Tokens that may be computed again in any case."""


@dataclass(frozen=True, eq=False)
class _Trunk:
    """A text that was run: its ids, and by layer the keys and values ``(key-value heads, tokens, head width)``."""

    ids: Ids
    keys: list[torch.Tensor]
    values: list[torch.Tensor]

    @property
    def bytes(self) -> int:
        """What it takes."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))


class Prefixes:
    """Runs texts, given as token ids, and remembers those that it is told to keep.

    ``computed`` counts the tokens that went through the blocks, those computed twice included. ``parity`` is how
    far the first batch that used what was kept is off from a run of one of its texts alone (largest difference of
    logits, relative to the largest logit), None before there was one.
    """

    def __init__(self, model: LoadedModel, reuse: bool = True) -> None:
        self.computed = 0
        self.parity: float | None = None
        self.reuses = reuse
        self._model = model
        self._trunks: list[_Trunk] = []

    def keep(self, ids: Ids) -> None:
        """Run one text and keep its keys and values for all texts that begin with a part of it."""
        if self.reuses and self._shared(ids)[1] < len(ids):
            self._keep(self._start([ids], 1), 0, ids)

    def logits(
        self, rows: Sequence[Ids], wanted: Sequence[int] | None = None, keep: bool = False
    ) -> list[torch.Tensor]:
        """Logits ``(wanted, vocabulary)`` after the last ``wanted`` tokens of each text (1 if not given).

        They are float32, on the CPU. With ``keep`` the texts are kept. Raises `NumericalError` where they are
        not finite, `OutOfMemory`.
        """
        wanted = wanted or [1] * len(rows)
        found: dict[int, torch.Tensor] = {}

        def work(indices: list[int]) -> None:
            batch = self._start([rows[i] for i in indices], max(wanted[i] for i in indices))
            for at, i in enumerate(indices):
                found[i] = batch.logits[at, -wanted[i] :].float().cpu()
                if keep and self._shared(rows[i])[1] < len(rows[i]):
                    self._keep(batch, at, rows[i])

        for group in self._groups(rows, wanted):
            for _ in in_batches(group, len(group), work, self._bytes_each(len(rows[group[0]]))):
                pass
        if not all(bool(torch.isfinite(logits).all()) for logits in found.values()):
            raise _not_finite(self._model)
        if self._is_to_check(rows):
            shortest = min(range(len(rows)), key=lambda i: len(rows[i]))
            if not self._agrees(rows[shortest], found[shortest][-1]):
                self.reuses = False
                self._trunks.clear()
                return self.logits(rows, wanted)
        return [found[i] for i in range(len(rows))]

    def go_on(
        self,
        rows: Sequence[Ids],
        limit: int,
        choose: Choose,
        report: Callable[[int], None] = lambda _: None,
        keep: bool = False,
        reserve: int = 0,
    ) -> list[Ids]:
        """The tokens that ``choose`` continues each text by, at most ``limit``.

        There are fewer where only ``reserve`` tokens of the context would be left. ``report`` is called after each
        step with the number of tokens of the longest continuation. With ``keep`` the texts are kept with their
        continuations.
        """
        most = ROWS_AT_ONCE.get(self._model.hf.device.type, ROWS_AT_ONCE_ELSEWHERE)
        limits = [min(limit, self._model.info.context - reserve - len(row)) for row in rows]
        found: dict[int, Ids] = {}

        def work(indices: list[int]) -> None:
            found.update(self._go_on(rows, indices, limits, choose, report, keep))

        bytes_each = self._bytes_each(max(map(len, rows), default=0) + limit)
        for group in self._groups(rows, [1] * len(rows)):
            for _ in in_batches(group, most, work, bytes_each):
                pass
        return [found[i] for i in range(len(rows))]

    def _go_on(
        self,
        rows: Sequence[Ids],
        indices: list[int],
        limits: list[int],
        choose: Choose,
        report: Callable[[int], None],
        keep: bool,
    ) -> dict[int, Ids]:
        batch = self._start([rows[i] for i in indices], 1)
        new: dict[int, list[int]] = {i: [] for i in indices}
        running = list(indices)
        while running:
            logits = batch.logits[:, -1].float().cpu()
            if not bool(torch.isfinite(logits).all()):
                raise _not_finite(self._model)
            chosen: list[int] = []
            for at, i in enumerate(running):
                full = len(new[i]) >= limits[i]
                token = -1 if full else choose(i, len(new[i]), logits[at])
                chosen.append(token)
                if token < 0:
                    if keep:
                        self._keep(batch, at, (*rows[i], *new[i]))
                else:
                    new[i].append(token)
            staying = [at for at, token in enumerate(chosen) if token >= 0]
            if len(staying) < len(running):
                running = [running[at] for at in staying]
                batch = batch.only(staying)
            if running:
                batch = self._step(batch, [token for token in chosen if token >= 0])
                report(max(map(len, new.values())))
        return {i: tuple(tokens) for i, tokens in new.items()}

    def _groups(self, rows: Sequence[Ids], wanted: Sequence[int]) -> list[list[int]]:
        """Indices of rows that go together, those with the most new tokens first."""
        new = [max(len(row) - self._shared(row)[1], n) for row, n in zip(rows, wanted, strict=True)]
        most = TOKENS_AT_ONCE.get(self._model.hf.device.type, TOKENS_AT_ONCE_ELSEWHERE)
        groups: list[list[int]] = []
        waste = 0
        for i in sorted(range(len(rows)), key=lambda i: -new[i]):
            if groups and self.reuses:
                group, longest = groups[-1], new[groups[-1][0]]
                waste += longest - new[i]
                size = longest * (len(group) + 1)
                if size <= most and waste <= max(LITTLE_WASTE, WASTE * size):
                    group.append(i)
                    continue
            groups.append([i])
            waste = 0
        return groups

    def _shared(self, ids: Ids) -> tuple[_Trunk | None, int]:
        """The kept text that ``ids`` shares the longest beginning with, and how many tokens that is."""
        best: tuple[_Trunk | None, int] = None, 0
        for trunk in self._trunks if self.reuses else ():
            n = next((n for n, (a, b) in enumerate(zip(ids, trunk.ids, strict=False)) if a != b), None)
            n = min(len(ids), len(trunk.ids)) if n is None else n
            if n > best[1]:
                best = trunk, n
        return best

    def _start(self, rows: Sequence[Ids], wanted: int) -> _Batch:
        """Run the rows' last tokens after what is kept of them; at least ``wanted`` of them."""
        shared = [self._shared(row) for row in rows]
        new = max(max(len(row) - n for row, (_, n) in zip(rows, shared, strict=True)), wanted)
        before = [max(0, len(row) - new) for row in rows]
        cache = transformers.DynamicCache()  # without a configuration it keeps every token, sliding window or not
        if any(before):
            self._fill(cache, [trunk for trunk, _ in shared], before)
        padded = [(0,) * (new - len(row)) + row[-new:] for row in rows]
        mask = [[0] * (max(before) + new - len(row)) + [1] * len(row) for row in rows]
        positions = [[max(0, len(row) - new + at) for at in range(new)] for row in rows]
        return self._forward(cache, padded, mask, positions, wanted)

    def _fill(self, cache: Any, trunks: Sequence[_Trunk | None], before: Sequence[int]) -> None:
        """Put each row's kept keys and values into the cache, their ends together, and zeros before them."""
        longest = max(before)
        example = next(trunk for trunk in trunks if trunk is not None)
        for layer in range(len(example.keys)):
            pair = []
            for name in ("keys", "values"):
                one = getattr(example, name)[layer]
                both = one.new_zeros(len(trunks), one.shape[0], longest, one.shape[2])
                for at, (trunk, n) in enumerate(zip(trunks, before, strict=True)):
                    if trunk is not None and n:
                        both[at, :, longest - n :] = getattr(trunk, name)[layer][:, :n]
                pair.append(both)
            cache.update(*pair, layer)

    def _step(self, batch: _Batch, tokens: Sequence[int]) -> _Batch:
        mask = [[*row, 1] for row in batch.mask]
        positions = [[sum(row) - 1] for row in mask]
        return self._forward(batch.cache, [(token,) for token in tokens], mask, positions, 1)

    def _forward(
        self, cache: Any, ids: Sequence[Ids], mask: list[list[int]], positions: list[list[int]], wanted: int
    ) -> _Batch:
        hf, device = self._model.hf, self._model.hf.device
        taken = inspect.signature(hf.forward).parameters
        also: dict[str, Any] = {}
        if "position_ids" in taken:  # BLOOM makes them of the mask
            also["position_ids"] = torch.tensor(positions, device=device)
        if "logits_to_keep" in taken:
            also["logits_to_keep"] = wanted
        with torch.no_grad():
            output = hf(
                input_ids=torch.tensor(ids, device=device),
                attention_mask=torch.tensor(mask, device=device),
                past_key_values=cache,
                use_cache=True,
                **also,
            )
        self.computed += len(ids) * len(ids[0])
        return _Batch(cache=cache, mask=mask, logits=output.logits[:, -wanted:])

    def _keep(self, batch: _Batch, row: int, ids: Ids) -> None:
        """Keep a row's keys and values, as far as they are computed: they are the last ones of the cache."""
        layers = batch.cache.layers
        if self.reuses and layers and all(layer.get_seq_length() for layer in layers):
            n = sum(batch.mask[row])
            keys = [layer.keys[row, :, -n:].clone() for layer in layers]
            values = [layer.values[row, :, -n:].clone() for layer in layers]
            self._trunks.append(_Trunk(ids[:n], keys, values))
            while len(self._trunks) > 2 and sum(trunk.bytes for trunk in self._trunks) > KEPT_BUDGET:
                del self._trunks[1]  # the first is what all others begin like

    def _is_to_check(self, rows: Sequence[Ids]) -> bool:
        return self.reuses and self.parity is None and any(self._shared(row)[1] for row in rows)

    def _agrees(self, row: Ids, found: torch.Tensor) -> bool:
        alone = Prefixes(self._model, reuse=False)
        expected = alone.logits([row])[0][-1]
        self.computed += alone.computed
        self.parity = float((found - expected).abs().max() / expected.abs().max())
        return self.parity <= PARITY.get(self._model.info.dtype, PARITY_OF_HALF)

    def _bytes_each(self, tokens: int) -> int:
        """About what one text takes: keys and values of all layers, the states of one, logits."""
        info, anatomy = self._model.info, self._model.anatomy
        numbers = tokens * (2 * info.layers * info.d_model + 8 * info.d_model + 4 * anatomy.d_mlp) + info.vocabulary
        return int(numbers * self._model.hf.dtype.itemsize)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Texts that are being run: 1 in ``mask`` where a slot of the cache is a row's own, ``(rows, slots)``.

    ``logits`` is ``(rows, wanted, vocabulary)``.
    """

    cache: Any
    mask: list[list[int]]
    logits: torch.Tensor

    def only(self, rows: list[int]) -> _Batch:
        """Some of the rows. The cache is cut in place."""
        if rows:
            self.cache.batch_select_indices(torch.tensor(rows, device=self.logits.device))
        return _Batch(self.cache, [self.mask[row] for row in rows], self.logits[rows])


def _not_finite(model: LoadedModel) -> NumericalError:
    return NumericalError(
        f"the model's logits are not finite in {model.info.dtype}; load it with --dtype float32, or switch off the "
        "edit that does this"
    )
