"""Many texts that begin alike, run with only what is new in each: keys and values of what was run before are kept.

Texts go through the model in batches. They end together, on the right, and the kept keys and values of each stand
directly before its own tokens, so that distances between tokens, sliding windows included, are what they would be
in a run of that text alone. That this holds is checked on the first batch; where it does not, every text is run
alone and from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.lazy import torch, transformers
from workbench.memory import ByDevice, in_batches
from workbench.models.forward.decoding import (
    Choose,
    Ids,
    TextBatch,
    bytes_of_a_text,
    check_finite,
    choosing,
    decode,
)
from workbench.models.forward.resume import PARITY, PARITY_OF_HALF

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

TOKENS_AT_ONCE = ByDevice(cpu=1024, elsewhere=16384)
"""Tokens of one batch: larger ones are no faster there, and smaller ones stop sooner when cancelled."""

ROWS_AT_ONCE = ByDevice(cpu=16, elsewhere=64)
"""Texts that are gone on with together: on a CPU a step with eight of them takes twice as long as with one."""

KEPT_BUDGET = 2**30
"""Bytes of keys and values kept at once; beyond, the oldest are computed again."""

WASTE = 0.25
"""The part of a batch's tokens that may be computed again so that its texts can go together."""

LITTLE_WASTE = 64
"""Tokens that may be computed again in any case."""


def shared_beginning(one: Ids, other: Ids) -> int:
    """How many tokens two texts begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


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
        self.reuses = reuse and model.anatomy.keeps
        self._model = model
        self._trunks: list[_Trunk] = []

    def keep(self, ids: Ids) -> None:
        """Run one text and keep its keys and values for all texts that begin with a part of it."""
        if self.reuses and self._shared(ids)[1] < len(ids):
            batch = self._start([ids], 1)
            self.computed += batch.computed
            self._keep(batch, 0, ids)

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
            self.computed += batch.computed
            for at, i in enumerate(indices):
                found[i] = batch.logits[at, -wanted[i] :].float().cpu()
                if keep and self._shared(rows[i])[1] < len(rows[i]):
                    self._keep(batch, at, rows[i])

        for group in self._groups(rows, wanted):
            for _ in in_batches(group, len(group), work, bytes_of_a_text(self._model, len(rows[group[0]]))):
                pass
        for logits in found.values():
            check_finite(self._model, logits)
        if self._is_to_check(rows):
            shortest = min(range(len(rows)), key=lambda i: len(rows[i]))
            if not self._agrees(rows[shortest], found[shortest][-1]):
                self._trust_nothing()
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
        most = ROWS_AT_ONCE[self._model.hf.device.type]
        limits = [min(limit, self._model.info.context - reserve - len(row)) for row in rows]
        found: dict[int, Ids] = {}

        def work(indices: list[int]) -> None:
            def keep_it(place: int, row: int, new: Ids) -> None:
                self._keep(batch, place, (*rows[indices[row]], *new))

            batch = self._begin([rows[i] for i in indices])
            new = decode(
                batch,
                [limits[i] for i in indices],
                choosing(choose, indices),
                report,
                keep_it if keep else None,
            )
            self.computed += batch.computed
            found.update(zip(indices, new, strict=True))

        bytes_each = bytes_of_a_text(self._model, max(map(len, rows), default=0) + limit)
        for group in self._groups(rows, [1] * len(rows)):
            for _ in in_batches(group, most, work, bytes_each):
                pass
        return [found[i] for i in range(len(rows))]

    def _begin(self, rows: Sequence[Ids]) -> TextBatch:
        """As `_start`, with the first batch that uses what is kept checked, and run from the start where it is off."""
        batch = self._start(rows, 1)
        if self._is_to_check(rows):
            shortest = min(range(len(rows)), key=lambda at: len(rows[at]))
            if not self._agrees(rows[shortest], batch.logits[shortest, -1].float().cpu()):
                self._trust_nothing()
                return self._begin(rows)
        return batch

    def _groups(self, rows: Sequence[Ids], wanted: Sequence[int]) -> list[list[int]]:
        """Indices of rows that go together, those with the most new tokens first."""
        new = [max(len(row) - self._shared(row)[1], n) for row, n in zip(rows, wanted, strict=True)]
        most = TOKENS_AT_ONCE[self._model.hf.device.type]
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
            n = shared_beginning(ids, trunk.ids)
            if n > best[1]:
                best = trunk, n
        return best

    def _start(self, rows: Sequence[Ids], wanted: int) -> TextBatch:
        """Run the rows' last tokens after what is kept of them; at least ``wanted`` of them."""
        shared = [self._shared(row) for row in rows]
        new = max(max(len(row) - n for row, (_, n) in zip(rows, shared, strict=True)), wanted)
        before = [max(0, len(row) - new) for row in rows]
        cache = transformers.DynamicCache()  # without a configuration it keeps every token, sliding window or not
        if any(before):
            self._fill(cache, [trunk for trunk, _ in shared], before)
        return TextBatch(self._model, rows, cache, new, wanted)

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

    def _keep(self, batch: TextBatch, row: int, ids: Ids) -> None:
        """Keep a row's keys and values, as far as they are computed: they are the last ones of the cache."""
        layers = batch.cache.layers
        if self.reuses and layers and all(layer.get_seq_length() for layer in layers):
            n = int(batch.mask[row].sum())
            keys = [layer.keys[row, :, -n:].clone() for layer in layers]
            values = [layer.values[row, :, -n:].clone() for layer in layers]
            self._trunks.append(_Trunk(ids[:n], keys, values))
            while len(self._trunks) > 2 and sum(trunk.bytes for trunk in self._trunks) > KEPT_BUDGET:
                del self._trunks[1]  # the first is what all others begin like

    def _is_to_check(self, rows: Sequence[Ids]) -> bool:
        return self.reuses and self.parity is None and any(self._shared(row)[1] for row in rows)

    def _trust_nothing(self) -> None:
        self.reuses = False
        self._trunks.clear()

    def _agrees(self, row: Ids, found: torch.Tensor) -> bool:
        alone = Prefixes(self._model, reuse=False)
        expected = alone.logits([row])[0][-1]
        self.computed += alone.computed
        self.parity = float((found - expected).abs().max() / expected.abs().max())
        return self.parity <= PARITY.get(self._model.info.dtype, PARITY_OF_HALF)
