"""The ridge lens: the best linear shortcut from each layer's residual stream to the final one.

Din et al. 2023, "Jump to conclusions" (arXiv 2303.09435), with an intercept and a ridge. What is predicted is the final
state after the final norm: a prediction of least squares is shorter than what it predicts the less is known, and a norm
after it would make each as sure as the model is. It is too sure where it errs all the same, so each layer's map is
shortened by a factor, the best for the KL on texts that a first fit leaves out. All layers' second moments are summed
up in one pass over the text, so that no states are kept; each layer is then a Cholesky decomposition or two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from workbench.errors import NumericalError
from workbench.lazy import torch
from workbench.methods.lens.held_out import states_of
from workbench.methods.lens.translators import Translators
from workbench.models.forward.sampling import document_start
from workbench.protocol import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

RIDGE = 1e-3
"""What is added to the diagonal of a layer's covariance, as a share of its mean."""

BATCH = 8
"""Texts that are run together."""

LEFT_OUT = 5
"""One of so many texts is left out of the first fit, for the factors; with fewer than twice as many there are none."""

TUNED_ON = 128
"""Tokens of these on which factors are compared."""

FACTORS = (0.9, 0.8, 0.7, 0.6, 0.5)
"""What maps are shortened by, one after the other while the KL falls."""


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """``shuffled`` is the same fit to other tokens' final states, ``mean_state`` ``(d_model,)`` the mean of these.

    ``factors`` are what each row's map was shortened by, that of the shuffled fit not.
    """

    translators: Translators
    shuffled: Translators
    mean_state: Tensor
    tokens: int
    factors: tuple[float, ...]


def fit_ridge(model: LoadedModel, text: Tensor, seed: int, progress: Progress) -> RidgeFit:
    """Fit every row but the last on texts ``(rows, tokens)``. BOS or separator is no part of the fit.

    Raises `NumericalError` where states are not finite, or too few for a solution.
    """
    moments = _Moments(model, seed)

    def read(begin: int, end: int) -> None:
        for first in range(begin, end, BATCH):
            some = text[first : min(first + BATCH, end)]
            moments.add(some, partial(progress, first, len(text), stage="reading the text"))

    left_out = len(text) // LEFT_OUT if len(text) >= 2 * LEFT_OUT else 0
    read(0, len(text) - left_out)
    factors = _factors(model, moments, text[len(text) - left_out :], progress)
    read(len(text) - left_out, len(text))
    weights, biases = dict[int, "Tensor"](), dict[int, "Tensor"]()
    controls, control_biases = dict[int, "Tensor"](), dict[int, "Tensor"]()
    for row in range(model.info.layers):
        progress(row, model.info.layers, stage="solving")
        (weight, bias), (controls[row], control_biases[row]) = moments.solve(row)
        weights[row], biases[row] = weight * factors[row], bias * factors[row]
    mean = moments.mean_final.float()
    lens = Translators(weights, biases, normed=True)
    return RidgeFit(lens, Translators(controls, control_biases, normed=True), mean, moments.tokens, factors)


def _factors(model: LoadedModel, moments: _Moments, text: Tensor, progress: Progress) -> tuple[float, ...]:
    """The factor of each row's map that is best on texts ``(rows, tokens)`` it was not fitted on; 1 without any."""
    rows = model.info.layers
    if not len(text):
        return (1.0,) * rows
    batches = [states_of(model, text[first : first + BATCH]) for first in range(0, len(text), BATCH)]
    whole = [
        torch.cat([each[:, moments.skipped :].flatten(0, 1) for each in of_row])
        for of_row in zip(*batches, strict=True)
    ]
    chosen = torch.linspace(0, len(whole[0]) - 1, min(TUNED_ON, len(whole[0]))).round().long()
    *before, last = [each[chosen.to(each.device)] for each in whole]
    found = []
    with torch.no_grad():
        final = model.unembed(last).float().log_softmax(dim=-1)

        def kl(state: Tensor) -> float:
            read = model.unembed(state.to(last.dtype), normed=True).float().log_softmax(dim=-1)
            return float((final.exp() * (final - read)).nan_to_num(0.0).sum(dim=-1).mean())

        for row, states in enumerate(before):
            progress(row, rows, stage="how sure each layer may be")
            (weight, bias), _ = moments.solve(row)
            state = states.float() @ weight.to(states.device).T + bias.to(states.device)
            best, least = 1.0, kl(state)
            for factor in FACTORS:
                if (here := kl(state * factor)) >= least:
                    break
                best, least = factor, here
            found.append(best)
    return tuple(found)


class _Moments:
    """Sums over tokens, in float64 and about the first batch's means, which keeps their differences exact."""

    def __init__(self, model: LoadedModel, seed: int) -> None:
        import numpy as np

        self._model = model
        self._random = np.random.RandomState(seed)
        self.skipped = len(document_start(model)) or 1
        rows, width = model.info.layers, model.info.d_model
        self._shift: list[Tensor] = []
        self._sums = torch.zeros(rows + 1, width, dtype=torch.float64)
        self._squares = torch.zeros(rows, width, width, dtype=torch.float64)
        self._crossed = torch.zeros(rows, width, width, dtype=torch.float64)
        self._shuffled = torch.zeros(rows, width, width, dtype=torch.float64)
        self.tokens = 0

    def add(self, ids: Tensor, look: Callable[[], None]) -> None:
        """Run some texts, and add all their tokens' states; ``look`` is called before each layer's."""
        look()
        *before, final = states_of(self._model, ids)
        with torch.no_grad():
            final = self._model.norm(final)
        states = [_exact(each[:, self.skipped :].flatten(0, 1)) for each in (*before, final)]
        if not all(bool(each.isfinite().all()) for each in states):
            raise self._model.not_finite("the model's states are")
        self._shift = self._shift or [each.mean(dim=0) for each in states]
        *inputs, final = (each - shift for each, shift in zip(states, self._shift, strict=True))
        others = final[torch.from_numpy(self._random.permutation(len(final)))]
        for row, x in enumerate(inputs):
            look()
            self._sums[row] += x.sum(dim=0).cpu()
            self._squares[row] += (x.T @ x).cpu()
            self._crossed[row] += (x.T @ final).cpu()
            self._shuffled[row] += (x.T @ others).cpu()
        self._sums[-1] += final.sum(dim=0).cpu()
        self.tokens += len(final)

    @property
    def mean_final(self) -> Tensor:
        """The mean of the final states ``(d_model,)``."""
        return self._mean(-1)

    def solve(self, row: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Weight and bias of a row, and those of the shuffled fit."""
        x, y = self._sums[row] / self.tokens, self._sums[-1] / self.tokens
        covariance = self._squares[row] / self.tokens - torch.outer(x, x)
        ridge = RIDGE * covariance.diagonal().mean()
        if not float(ridge) > 0:
            raise NumericalError("the text's states do not differ from one another; fit the lens on more text")
        factor = torch.linalg.cholesky(covariance + ridge * torch.eye(len(x), dtype=x.dtype))
        found = []
        for crossed in (self._crossed[row], self._shuffled[row]):
            weight = torch.cholesky_solve(crossed / self.tokens - torch.outer(x, y), factor).T
            bias = self._mean(-1) - weight @ self._mean(row)
            found.append((weight.float().contiguous(), bias.float()))
        return found[0], found[1]

    def _mean(self, row: int) -> Tensor:
        return self._shift[row].cpu() + self._sums[row] / self.tokens


def _exact(states: Tensor) -> Tensor:
    """In float64, on a device that knows it."""
    return (states.cpu() if states.device.type == "mps" else states).double()
