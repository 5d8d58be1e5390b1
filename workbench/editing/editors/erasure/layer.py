"""One layer of an erasure: how well the concept is read there, before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from workbench.datasets.concepts import Example
from workbench.editing.editors.erasure.fit import Fitted, Pooling
from workbench.editing.editors.erasure.probes import Accuracy, largest_coefficient, linear, nonlinear
from workbench.lazy import torch
from workbench.models.beside import beside
from workbench.numbers import rounded
from workbench.protocol import Frozen
from workbench.shapes import Layer, Share

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.editing.editors.erasure.probes import Array

MOST_CHANGED = 5
"""Texts listed for a layer."""


class ChangedText(Frozen):
    """A text and how far its state moved, as a part of the state's length."""

    text: str
    label: str
    moved: float


class ErasedLayer(Frozen):
    """One layer, before (the model without this edit) and after (with it, at this layer and all below).

    ``changed`` where the edit changes this layer; ``rank`` and ``singular_values`` (of the whitened covariance of
    states and classes: what was erased of it) are of its eraser. ``before`` and ``after`` are accuracies of linear
    probes trained on the states the eraser was fitted on, so that "after" is by the theorem what guessing has at
    layers that are changed; ``fresh`` is of a probe trained on texts that the eraser has never seen. The
    ``nonlinear`` ones are trained like ``after``. ``class_means`` is how far the mean of a class is off the mean of
    all, before and after, in units of the states' spread (the root of the trace of their covariance), and
    ``coefficient`` the largest of the linear probe after, as a part of the largest before; both on the data that
    were fitted on, in the model's dtype. For steering the probes are the *old* ones, put to states that are
    steered, and ``towards`` is the share of unseen texts that the linear one takes for the class steered to.
    """

    layer: Layer
    changed: bool
    rank: int
    singular_values: tuple[float, ...]
    before: Accuracy
    after: Accuracy
    fresh: Accuracy | None
    nonlinear_before: Accuracy
    nonlinear_after: Accuracy
    class_means: tuple[float, float]
    coefficient: float | None
    towards: tuple[Share, Share] | None
    most_changed: tuple[ChangedText, ...]


def look_at_layer(
    layer: int,
    pooling: Pooling,
    clean: Tensor,
    changed: Tensor,
    examples: Sequence[Example],
    fitted: Fitted | None,
    towards: int | None,
    seed: int,
    tick: Callable[[], None],
) -> ErasedLayer:
    """Probe the rows of one layer ``(rows, d_model)``, as they are in the model and with the edit.

    ``fitted`` is what changes this layer, if anything does; ``towards`` the class steered to, None for an erasure.
    ``tick`` is called while probes are fitted.
    """
    classes = pooling.classes
    old = beside(lambda: linear(*pooling.training(clean)), tick)
    old_nonlinear = beside(lambda: nonlinear(*pooling.training(clean), seed), tick)
    held, held_changed = pooling.held(clean), pooling.held(changed)
    new, new_nonlinear = old, old_nonlinear
    if towards is None:
        new = beside(lambda: linear(*pooling.training(changed)), tick)
        new_nonlinear = beside(lambda: nonlinear(*pooling.training(changed), seed), tick)
    at = torch.from_numpy(pooling.fitted)
    spread = max(float(clean[at].double().var(dim=0).sum().sqrt()), 1e-30)
    apart = (rounded(between_classes(each[at], classes[pooling.fitted]) / spread) for each in (clean, changed))
    return ErasedLayer(
        layer=layer,
        changed=fitted is not None,
        rank=fitted.rank if fitted else 0,
        singular_values=tuple(map(rounded, fitted.singular_values)) if fitted else (),
        before=held.score(old),
        after=held_changed.score(new),
        fresh=_fresh(pooling, changed, tick) if towards is None else None,
        nonlinear_before=held.score(old_nonlinear),
        nonlinear_after=held_changed.score(new_nonlinear),
        class_means=(next(apart), next(apart)),
        coefficient=None if towards is not None or not pooling.all_probed else _shrunk(old, new),
        towards=None if towards is None else (held.share(old, towards), held_changed.share(old, towards)),
        most_changed=_most_changed(pooling, clean, changed, examples),
    )


def between_classes(states: Tensor, classes: Array) -> float:
    """The largest distance of a class's mean from the mean of all states ``(rows, d_model)``."""
    x = states.double()
    middle = x.mean(dim=0)
    return max(float((x[torch.from_numpy(classes == each)].mean(dim=0) - middle).norm()) for each in set(classes))


def _shrunk(old: Any, new: Any) -> float:
    return rounded(largest_coefficient(new) / max(largest_coefficient(old), 1e-30))


def _fresh(pooling: Pooling, rows: Tensor, tick: Callable[[], None]) -> Accuracy | None:
    """How well a probe does that is trained on texts which the eraser has not seen; None where they are too few."""
    training, held = pooling.fresh(rows)
    n_classes = len(set(pooling.classes))
    if len(set(training[1])) < n_classes or len(set(held.texts[1])) < n_classes:
        return None
    return held.score(beside(lambda: linear(*training), tick))


def _most_changed(
    pooling: Pooling, before: Tensor, after: Tensor, examples: Sequence[Example]
) -> tuple[ChangedText, ...]:
    """The texts whose states moved farthest; where there are several a text, their mean."""
    import numpy as np

    moved = ((after - before).norm(dim=1) / before.norm(dim=1).clamp(min=1e-12)).numpy()
    owners = pooling.owner
    means = np.bincount(owners, moved, len(examples)) / np.maximum(np.bincount(owners, minlength=len(examples)), 1)
    farthest = np.argsort(-means, kind="stable")[:MOST_CHANGED]
    return tuple(
        ChangedText(text=examples[at].text, label=examples[at].label, moved=rounded(float(means[at])))
        for at in farthest
    )
