"""Heads as what is patched: each head's slice of what the output projection reads, of one token, from run to run.

Wang et al. 2022 (arXiv 2211.00593). Attention's contribution changes by that slice through W_O, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from workbench.errors import InputError
from workbench.lazy import torch
from workbench.memory import in_batches
from workbench.models.forward.attending import contribution, read_by_projections
from workbench.models.forward.patching import bytes_of_gradients, gradients
from workbench.models.forward.resume import Branch, Branching
from workbench.numbers import correlation, rounded
from workbench.protocol import Check, Frozen
from workbench.shapes import as_many, within

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.methods.tracing.sweep import Sweep

PRODUCT = {"float32": 1e-4}
"""How far all heads' slices through W_O may be off what attention contributed, relatively, by dtype."""

PRODUCT_OF_HALF = 0.1


class HeadGrid(Frozen):
    """What is read with each head put in at ``token`` of the run that is changed: ``values[layer][head]``.

    Where ``exact`` is false the value is an estimate from gradients, or None where there is none yet. ``peak`` is the
    layer and head whose exact value is the farthest on the way to the other run; ``correlation`` that of estimates and
    exact values (Pearson).
    """

    token: Annotated[int, Field(ge=0)]
    values: Annotated[tuple[tuple[float | None, ...], ...], Field(min_length=1)]
    exact: tuple[tuple[bool, ...], ...]
    peak: tuple[int, int] | None = None
    correlation: float | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        as_many(values=self.values, exact=self.exact)
        for values, exact in zip(self.values, self.exact, strict=True):
            as_many(heads=self.values[0], values=values, exact=exact)
        if self.peak is not None:
            within("the layer of the peak", self.peak[0], len(self.values))
            within("the head of the peak", self.peak[1], len(self.values[0]))
        return self


class HeadCells:
    """The heads' values at ``token`` of the run that is changed, while they are being found.

    Raises `InputError` for a token at which nothing is put in, `ModelError` for a model without heads.
    """

    def __init__(self, sweep: Sweep, token: int) -> None:
        if token not in sweep.partner:
            raise InputError(
                f"nothing is put in at token {token}: it has no partner, or both prompts begin alike up to it; choose "
                "another token for the heads"
            )
        model = sweep.model
        self._sweep, self._token, self._heads = sweep, token, model.heads.count
        self._layers = model.info.layers
        given = read_by_projections(model, sweep.giving.ids[:1])[:, sweep.partner[token]]
        own = read_by_projections(model, sweep.receiving.ids[:1])[:, token]
        self._outputs = [self._with_each(layer, own[layer], given[layer]) for layer in range(self._layers)]
        self._off = self._misfit(given)
        self._values: list[list[float | None]] = [[None] * self._heads for _ in range(self._layers)]
        self._exact = [[False] * self._heads for _ in range(self._layers)]
        self._guesses: dict[tuple[int, int], float] = {}

    @property
    def work(self) -> int:
        """Tokens times blocks of all cells."""
        return self._heads * sum(self._sweep.work_of(layer, self._token) for layer in range(self._layers))

    @property
    def check(self) -> Check:
        """Whether all slices together make what attention contributed in the other run."""
        level = "ok" if self._off <= PRODUCT.get(self._sweep.model.info.dtype, PRODUCT_OF_HALF) else "warn"
        return Check(name="heads", text=f"their sum is off attention's by {self._off:.0e}", level=level)

    def guess(self) -> None:
        """Estimates: the gradient at what attention contributes times what each head changes of it.

        Raises `OutOfMemory`.
        """
        sweep, found = self._sweep, list["Tensor"]()

        def work(_: list[int]) -> None:
            found[:] = [gradients(sweep.model, sweep.receiving, sweep.read)[1]["attention"][:, 0, self._token]]

        bytes_needed = bytes_of_gradients(sweep.model, sweep.receiving.tokens)
        for _ in in_batches([0], 1, work, bytes_needed):
            pass
        for layer, (slope, outputs) in enumerate(zip(found[0], self._outputs, strict=True)):
            own = sweep.receiving.parts["attention"][layer][self._token]
            for head, effect in enumerate(((outputs - own).float() @ slope.float()).tolist()):
                value = rounded(sweep.unchanged + effect)
                self._values[layer][head] = self._guesses[layer, head] = value

    def compute(self, way: Branching) -> Iterator[int]:
        """Compute all cells, and yield the work that is done after each batch."""
        places = [(layer, head) for layer in range(self._layers) for head in range(self._heads)]
        branches = [Branch(layer, outputs={("attention", layer): self._outputs[layer][head]}) for layer, head in places]
        done = 0
        for batch in way.values(self._token, branches, self._sweep.read):
            for index, values in batch.items():
                layer, head = places[index]
                self._values[layer][head], self._exact[layer][head] = rounded(values[0]), True
                done += self._sweep.work_of(layer, self._token)
            yield done

    def frozen(self, rises: bool) -> HeadGrid:
        """``rises``: what is put in is expected to raise the value."""
        known = [
            (value if rises else -value, -layer, -head)  # of equal ones the first
            for layer, row in enumerate(self._values)
            for head, value in enumerate(row)
            if value is not None and self._exact[layer][head]
        ]
        best = max(known, default=None)
        pairs = [(guess, self._values[layer][head] or 0.0) for (layer, head), guess in self._guesses.items()]
        return HeadGrid(
            token=self._token,
            values=tuple(map(tuple, self._values)),
            exact=tuple(map(tuple, self._exact)),
            peak=None if best is None else (-best[1], -best[2]),
            correlation=correlation(pairs) if all(map(all, self._exact)) else None,
        )

    def _with_each(self, layer: int, own: Tensor, given: Tensor) -> Tensor:
        """What attention contributes ``(heads, d_model)``, row h with the other run's head h."""
        read = own.repeat(self._heads, 1, 1)
        places = torch.arange(self._heads, device=read.device)
        read[places, places] = given
        return contribution(self._sweep.model, layer, read)

    def _misfit(self, given: Tensor) -> float:
        """How far all slices through W_O are from what attention contributed in the giving run, relatively."""
        sweep = self._sweep
        partner = sweep.partner[self._token]
        off = []
        for layer in range(self._layers):
            made = contribution(sweep.model, layer, given[layer][None])[0]
            was = sweep.giving.parts["attention"][layer][partner]
            off.append(float((made - was).abs().max() / was.abs().max().clamp(min=1e-12)))
        return max(off)
