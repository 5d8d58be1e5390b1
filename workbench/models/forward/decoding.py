"""The one loop that generates: texts that go on together, token by token, with their keys and values kept.

Whatever writes text goes through `decode`: it differs only in how a token is chosen and where a text ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from workbench.lazy import torch, transformers
from workbench.memory import ByDevice, in_batches
from workbench.models.forward.padding import forward_takes, padding_arguments
from workbench.protocol import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

Ids = tuple[int, ...]

Choose = Callable[[Sequence[int], Sequence[int], "Tensor"], Sequence[int]]
"""From the indices of texts, the number of tokens each was continued by, and their logits ``(texts, vocabulary)`` in
float32 on the model's device to the next token of each, or a negative number to stop. It may be asked again from the
start, when memory ran out."""

ChooseOne = Callable[[int, int, "Tensor"], int]
"""The same for one text, with its logits ``(vocabulary,)`` on the CPU."""


def one_by_one(choose: ChooseOne) -> Choose:
    """For a choice that looks at each text by itself."""

    def choose_all(rows: Sequence[int], at: Sequence[int], logits: Tensor) -> list[int]:
        return [choose(*each) for each in zip(rows, at, logits.cpu(), strict=True)]

    return choose_all


ROWS = ByDevice(cpu=64, elsewhere=512)
"""Texts generated together where all begin at once, by kind of device."""


class TextBatch:
    """Texts that are being run. They end together, on the right, so that what is shorter is padded on the left.

    ``mask`` ``(rows, slots)`` on the CPU is 1 where a slot of the cache is a row's own, ``logits`` ``(rows, wanted,
    vocabulary)`` what the last run gave, and ``computed`` counts the tokens that went through the blocks.
    """

    logits: Tensor

    def __init__(
        self, model: LoadedModel, rows: Sequence[Ids], cache: Any = None, new: int | None = None, wanted: int = 1
    ) -> None:
        """Run the rows' last ``new`` tokens after what ``cache`` holds of them, or all of them from the start."""
        longest = max(map(len, rows))
        new = longest if new is None else new
        self.model = model
        # Made without a configuration it keeps every token, sliding window or not.
        self.cache = transformers.DynamicCache() if cache is None else cache
        self.mask = torch.tensor([[0] * (max(longest, new) - len(row)) + [1] * len(row) for row in rows])
        self.computed = 0
        self._texts = [] if model.anatomy.keeps else list(rows)
        if self._texts:
            self._run_whole(wanted)
        else:
            self._run([(0,) * (new - len(row)) + row[-new:] for row in rows], wanted)

    def step(self, tokens: Sequence[int]) -> None:
        """Run one more token of each row."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        if self._texts:
            self._texts = [(*text, token) for text, token in zip(self._texts, tokens, strict=True)]
            self._run_whole(1)
            return
        self._run([(token,) for token in tokens], 1)

    def keep_only(self, rows: list[int]) -> None:
        """Let the other rows go."""
        if self._texts:
            self._texts = [self._texts[row] for row in rows]
        elif rows:
            self.cache.batch_select_indices(torch.tensor(rows, device=self.logits.device))
        self.mask, self.logits = self.mask[rows], self.logits[rows]

    def _run_whole(self, wanted: int) -> None:
        """Each text alone and from its start: what a model with recurrent layers needs, which knows no padding."""
        found = []
        with torch.no_grad():
            for text in self._texts:
                ids = torch.tensor([text], device=self.model.hf.device)
                logits = self.model.hf(input_ids=ids, use_cache=False).logits[:, -wanted:]
                found.append(torch.nn.functional.pad(logits, (0, 0, wanted - logits.shape[1], 0)))
                self.computed += len(text)
        self.logits = torch.cat(found)

    def _run(self, ids: Sequence[Ids], wanted: int) -> None:
        hf, device = self.model.hf, self.model.hf.device
        also = padding_arguments(self.model, self.mask, len(ids[0]))
        if "logits_to_keep" in forward_takes(type(hf).forward):
            also["logits_to_keep"] = wanted
        with torch.no_grad():
            output = hf(
                input_ids=torch.tensor(ids, device=device),
                past_key_values=self.cache,
                use_cache=True,
                **also,
            )
        self.computed += len(ids) * len(ids[0])
        self.logits = output.logits[:, -wanted:]


def decode(
    batch: TextBatch,
    limits: Sequence[int],
    choose: Choose,
    report: Callable[[int], None] = lambda _: None,
    stopped: Callable[[int, int, Ids], None] | None = None,
) -> list[Ids]:
    """The tokens that ``choose`` continues each row of the batch by, at most as many as its limit.

    ``report`` is called before each further run with the number of tokens of the longest continuation. ``stopped``
    is told of each row that has ended, while the batch still holds it: its place in the batch, its index and its new
    tokens, which have all been run then; without it the last token of a row at its limit is not.
    Raises `NumericalError` for logits that are not finite.
    """
    new: list[list[int]] = [[] for _ in limits]
    running = list(range(len(limits)))
    while running:
        logits = batch.logits[:, -1].float()
        check_finite(batch.model, logits)
        going: dict[int, int] = {}  # a place in the batch to its next token
        places = [place for place, row in enumerate(running) if len(new[row]) < limits[row]]
        asked = [running[place] for place in places]
        some = logits if asked == running else logits[places]
        chosen = dict(zip(asked, choose(asked, [len(new[row]) for row in asked], some), strict=True)) if asked else {}
        for place, row in enumerate(running):
            token = chosen.get(row, -1)
            if token < 0:
                if stopped is not None:
                    stopped(place, row, tuple(new[row]))
                continue
            new[row].append(token)
            if stopped is not None or len(new[row]) < limits[row]:
                going[place] = token
        if len(going) < len(running):
            running = [running[place] for place in going]
            batch.keep_only(list(going))
        if running:
            report(max(map(len, new)))
            batch.step(list(going.values()))
    return [tuple(tokens) for tokens in new]


def generate(
    model: LoadedModel, rows: Sequence[Ids], limit: int, choose: Choose, progress: Progress = silent, stage: str = ""
) -> list[Ids]:
    """The tokens that ``choose`` continues each text by, at most ``limit``, all texts from their start.

    Progress counts tokens, and is called before each run. Raises `NumericalError`, `OutOfMemory`.
    """
    found: list[Ids] = []

    def work(indices: list[int]) -> None:
        def report(tokens: int) -> None:
            progress(limit * indices[0] + tokens * len(indices), limit * len(rows), stage=stage)

        report(0)
        batch = TextBatch(model, [rows[i] for i in indices])
        found.extend(decode(batch, [limit] * len(indices), choosing(choose, indices), report))

    bytes_each = bytes_of_a_text(model, max(map(len, rows), default=0) + limit)
    size = ROWS[model.hf.device.type]
    for _ in in_batches(range(len(rows)), size, work, bytes_each):
        pass
    return found


def choosing(choose: Choose, indices: Sequence[int]) -> Choose:
    """The choice for a batch of texts, whose ``indices`` among all of them ``choose`` is asked by."""
    return lambda rows, at, logits: choose([indices[row] for row in rows], at, logits)


def check_finite(model: LoadedModel, logits: Tensor) -> None:
    """Raise `NumericalError` where logits ``(…, vocabulary)`` give no probabilities."""
    if not bool(torch.isfinite(logits.logsumexp(dim=-1)).all()):
        raise model.not_finite("the model's logits are")


def bytes_of_a_text(model: LoadedModel, tokens: int) -> int:
    """About what one text takes: keys and values of all layers, the states of one, logits."""
    info, anatomy = model.info, model.anatomy
    numbers = tokens * (2 * info.layers * info.d_model + 8 * info.d_model + 4 * anatomy.d_mlp) + info.vocabulary
    return int(numbers * model.hf.dtype.itemsize)
