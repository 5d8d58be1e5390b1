"""What is fitted at one layer: an eraser (LEACE, or an orthogonal projection), or a direction to steer along.

LEACE: Belrose et al. 2023, "LEACE: Perfect linear concept erasure in closed form" (arXiv 2306.03819), section 4: of all
maps that leave pooled states and classes uncorrelated, the one that moves states least, on average. Here that average
is over every token of the texts, as the edit will be applied to every token; what is erased does not depend on it. All
is fitted in float64, and applied in float32 by the edit queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.datasets.concepts import Example
from workbench.editing.changes import StateChange
from workbench.editing.editors.erasure import probes
from workbench.editing.editors.erasure.probes import Accuracy, Held
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.layerwise import Layerwise

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.editing.editors.erasure.probes import Array

Pool = Literal["last", "mean", "all"]
Eraser = Literal["leace", "orth"]

SMALLEST = 1e-4
"""Singular values of the whitened cross-covariance below this are rounding. The library's own 0.01 silently erases
nothing where a class is rarer than one in a hundred or so."""

MOST_PROBED = 10_000
"""States of a split that probes are given: with every token pooled there would be far more, at no gain."""


class Pooling:
    """How states of texts become rows: the last token's, the mean, or one row for every token.

    What is prepended to a text (its first ``prepended[i]`` tokens) is left out. ``owner`` has each row's text,
    ``classes`` its class. The order of rows is that of the batches and is the same for every layer.
    """

    def __init__(
        self,
        stream: Layerwise,
        pool: Pool,
        examples: Sequence[Example],
        labels: Sequence[str],
        prepended: Sequence[int],
        seed: int,
    ) -> None:
        import numpy as np

        self._pool, self._n_classes = pool, len(labels)
        self._prepended = [torch.tensor([prepended[place] for place in batch.places]) for batch in stream.batches]
        self._trained = [
            torch.tensor([examples[place].split == "train" for place in batch.places]) for batch in stream.batches
        ]
        lengths = [batch.ids.shape[1] for batch in stream.batches]
        owners = [place for batch in stream.batches for place in batch.places]
        if pool == "all":
            rows = [
                length - prepended[at]
                for batch, length in zip(stream.batches, lengths, strict=True)
                for at in batch.places
            ]
            owners = [at for at, count in zip(owners, rows, strict=True) for _ in range(count)]
        self.owner = np.array(owners)
        self.classes = np.array([labels.index(example.label) for example in examples])[self.owner]
        splits = np.array([example.split for example in examples])[self.owner]
        self.fitted = splits == "train"
        random = np.random.RandomState(seed)
        self._probed = {
            split: np.sort(random.permutation(np.flatnonzero(splits == split))[:MOST_PROBED])
            for split in ("train", "test", "held-out")
        }

    def rows(self, stream: Layerwise) -> Tensor:
        """The states as rows ``(rows, d_model)`` in float32. Raises `NumericalError` where they are not finite."""
        pooled = [
            self._pooled(states.float(), prepended)
            for states, prepended in zip(stream.states, self._prepended, strict=True)
        ]
        rows = torch.cat(pooled)
        if not bool(torch.isfinite(rows).all()):
            raise stream.model.not_finite(f"the residual stream after layer {stream.layer} is")
        return rows

    def every_token(self, stream: Layerwise) -> Iterator[Tensor]:
        """All tokens of the training texts and of what is prepended to them, batch by batch ``(rows, d_model)``."""
        for states, trained in zip(stream.states, self._trained, strict=True):
            if bool(trained.any()):
                yield states[trained].flatten(0, 1)

    def training(self, rows: Tensor) -> tuple[Array, Array]:
        """Of all rows those that probes are trained on, and their classes."""
        return self._of("train", rows)

    def held(self, rows: Tensor) -> Held:
        """Of all rows those that probes are tested on."""
        return Held(self._of("test", rows), self._of("held-out", rows) if len(self._probed["held-out"]) else None)

    def fresh(self, rows: Tensor) -> tuple[tuple[Array, Array], Held]:
        """The unseen texts, divided: one half to train a probe that shares no text with the eraser, one to test it.

        Neighboring texts, one of each class, are the same but for the concept and stay together.
        """
        states, classes = self._of("test", rows)
        mine = self.owner[self._probed["test"]] // self._n_classes % 2 == 0
        held = Held((states[~mine], classes[~mine]), self.held(rows).templates)
        return (states[mine], classes[mine]), held

    def majority(self) -> Accuracy:
        """What always guessing the most frequent class has."""
        nothing = torch.zeros(len(self.classes), 1)
        return self.held(nothing).score(probes.majority(*self.training(nothing)))

    @property
    def all_probed(self) -> bool:
        """Whether probes are trained on everything that erasers are fitted on."""
        return len(self._probed["train"]) == int(self.fitted.sum())

    def _of(self, split: str, rows: Tensor) -> tuple[Array, Array]:
        at = self._probed[split]
        return rows.numpy()[at], self.classes[at]

    def _pooled(self, states: Tensor, prepended: Tensor) -> Tensor:
        if self._pool == "last":
            return states[:, -1]
        own = torch.arange(states.shape[1]) >= prepended[:, None]
        if self._pool == "all":
            return states[own]
        return (states * own[..., None]).sum(dim=1) / own.sum(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A change to the residual stream after a layer; ``singular_values`` are those of the directions it erases."""

    change: StateChange
    singular_values: tuple[float, ...] = ()

    @property
    def rank(self) -> int:
        """How many directions are erased."""
        return int(self.change.left.shape[1])

    def __call__(self, states: Tensor) -> Tensor:
        """States ``(…, d_model)`` as the edit queue makes them: computed in float32, in their own dtype."""
        change, x = self.change, states.float()
        left, right, center, shift = (part.to(x) for part in (change.left, change.right, change.center, change.shift))
        return (x - ((x - center) @ right) @ left.T + shift).to(states.dtype)


def fit_eraser(
    layer: int,
    states: Tensor,
    classes: Array,
    n_classes: int,
    method: Eraser,
    everywhere: Iterable[Tensor] | None = None,
) -> Fitted:
    """Fit on states ``(rows, d_model)`` and their classes; labels of several classes become one-hot.

    ``everywhere`` are batches ``(rows, d_model)`` of the states that LEACE is to move little, those fitted on if not
    given. The rank is at most the number of classes less one, and 0 where no direction tells the classes apart.
    """
    from concept_erasure import LeaceFitter

    width = states.shape[1]
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(classes), n_classes).double()
    # Without the constraint of the trace: it changes nothing but by rounding, when it divides nothing by nothing.
    settings = {"svd_tol": SMALLEST, "constrain_cov_trace": False, "dtype": torch.float64}
    fitter = LeaceFitter(width, n_classes, method, **settings).update(states.double(), one_hot)
    if everywhere is not None and method == "leace":
        wide = LeaceFitter(width, 1, method, **settings)
        for some in everywhere:
            wide.update(some.double(), torch.zeros(len(some), 1))
        fitter.sigma_xx_ = wide.sigma_xx_ * (fitter.n / wide.n)
    eraser = fitter.eraser
    values = (eraser.proj_right @ fitter.sigma_xz).norm(dim=1)  # u.T W Σ_xz = S V.T
    kept = values > SMALLEST
    change = StateChange(
        layer=layer,
        left=eraser.proj_left[:, kept].float(),
        right=eraser.proj_right[kept].T.float().contiguous(),
        center=eraser.bias.float(),
        shift=torch.zeros(width),
    )
    return Fitted(change, tuple(values[kept].tolist()))


def fit_steering(layer: int, states: Tensor, classes: Array, towards: int, strength: float) -> Fitted:
    """The mean of one class less the mean of all others, times ``strength``, to be added to every state."""
    x, chosen = states.double(), torch.from_numpy(classes == towards)
    difference = x[chosen].mean(dim=0) - x[~chosen].mean(dim=0)
    nothing = torch.zeros(x.shape[1], 0)
    change = StateChange(layer, nothing, nothing, torch.zeros(x.shape[1]), (strength * difference).float())
    return Fitted(change)


def refuse_nothing(fits: Sequence[Fitted], counts: dict[str, int]) -> None:
    """Raise `InputError` where not one eraser erases anything."""
    if any(fitted.rank for fitted in fits):
        return
    rarest = min(counts, key=lambda label: counts[label])
    share = counts[rarest] / sum(counts.values())
    raise InputError(
        "the eraser would erase nothing: no direction of the states tells the classes apart (every singular value "
        f"is below {SMALLEST:g}), with {counts[rarest]} texts of {rarest!r} to fit on ({share:.1%}); give more "
        "texts of that class, or another layer"
    )
