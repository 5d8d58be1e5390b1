"""Reading vectors: the direction from the negative to the positive texts of contrast pairs, at any layer.

By the mean of the differences ("contrastive activation addition", Rimsky et al. 2023, arXiv 2312.06681), or by their
first principal component ("representation engineering", Zou et al. 2023, arXiv 2310.01405, section 3.1), where every
difference is taken both ways round, so that what all of them have in common is kept by the centering.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from workbench.case import Case
from workbench.datasets.contrasts import ContrastPair, ContrastSet
from workbench.editing.suite.behaviour import uses_chat
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.layerwise import Layerwise
from workbench.models.tokens import continuation_ids
from workbench.numbers import rounded
from workbench.protocol import Progress, part, silent

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from workbench.loading import LoadedModel

    Array = npt.NDArray[np.float64]

By = Literal["mean", "pca"]

AT_ONCE = 64
"""Pairs whose states are held at once."""


@dataclass(frozen=True, eq=False)
class Direction:
    """What is added after a layer at strength 1: ``vector`` ``(d_model,)`` in float32.

    ``told_apart`` is the share of pairs whose difference points along the direction that is read from the other pairs;
    ``length`` is the vector's in units of the mean length of the states that were read.
    """

    layer: int
    vector: Tensor
    told_apart: float
    length: float


@dataclass(frozen=True)
class PairText:
    """A text of a pair as token ids; its last ``read`` ones are those whose states count."""

    ids: tuple[int, ...]
    read: int


def encoded_pairs(model: LoadedModel, contrast: ContrastSet) -> list[tuple[PairText, PairText]]:
    """Both texts of each pair. Read is the reply, or where there is none the last token before it would begin.

    Raises `InputError` for a pair that does not fit into the context, or whose texts are the same tokens.
    """
    chat, found = uses_chat(model), []
    for number, pair in enumerate(contrast.pairs, 1):
        try:
            positive, negative = (_text(model, pair, text, chat) for text in (pair.positive, pair.negative))
        except InputError as error:
            raise InputError(f"pair {number}: {error}") from None
        if positive == negative:
            raise InputError(f"pair {number} is twice the same text to this model; write two that differ")
        found.append((positive, negative))
    return found


def _text(model: LoadedModel, pair: ContrastPair, text: str, chat: bool) -> PairText:
    if pair.prompt is None:
        return PairText(model.encode(Case(prompt=text, chat=chat)).ids, 1)
    case = Case(prompt=pair.prompt, target=text, chat=chat)
    prompt, reply = model.encode(case).ids, continuation_ids(model.tokenizer, case)
    if len(prompt) + len(reply) > model.info.context:
        raise InputError(
            f"it has {len(prompt) + len(reply)} tokens and the model reads {model.info.context}; shorten it"
        )
    return PairText(prompt + reply, len(reply))


def read_directions(
    model: LoadedModel, contrast: ContrastSet, layers: Sequence[int], by: By, progress: Progress = silent
) -> tuple[Direction, ...]:
    """The direction after each of ``layers``, all from one forward of the texts with the edits that are on.

    Raises `InputError` for pairs that cannot be used and where there is no direction, `NumericalError` for states that
    are not finite, `workbench.errors.ModelError` where blocks cannot be called by themselves, `OutOfMemory`.
    """
    return read_from_pairs(model, encoded_pairs(model, contrast), layers, by, progress)


def read_from_pairs(
    model: LoadedModel,
    pairs: Sequence[tuple[PairText, PairText]],
    layers: Sequence[int],
    by: By,
    progress: Progress = silent,
) -> tuple[Direction, ...]:
    """The same of encoded pairs, positive and negative; two or more. Raises what `read_directions` raises."""
    wanted = sorted(set(layers))
    states: dict[int, list[Array]] = {layer: [] for layer in wanted}
    for begin in range(0, len(pairs), AT_ONCE):
        some = pairs[begin : begin + AT_ONCE]
        within = part(progress, begin, len(some), len(pairs))
        for layer, rows in _pooled(model, [text for pair in some for text in pair], wanted, within):
            states[layer].append(rows)
    return tuple(_direction(layer, states[layer], by) for layer in wanted)


def _pooled(
    model: LoadedModel, texts: Sequence[PairText], layers: Sequence[int], progress: Progress
) -> list[tuple[int, Array]]:
    """For each layer the mean state of what is read of each text, ``(texts, d_model)`` in float64."""
    import numpy as np

    stream = Layerwise(model, [text.ids for text in texts], progress)
    total, found = stream.tokens * (layers[-1] + 1), []
    for layer in range(layers[-1] + 1):
        for done in stream.advance():
            progress(layer * stream.tokens + done, total, stage=f"states after layer {layer}")
        if layer in layers:
            rows = np.zeros((len(texts), model.info.d_model))
            for batch, states in zip(stream.batches, stream.states, strict=True):
                for at, place in enumerate(batch.places):
                    rows[place] = states[at, -texts[place].read :].double().mean(dim=0).numpy()
            if not bool(np.isfinite(rows).all()):
                raise model.not_finite(f"the states after layer {layer} are")
            found.append((layer, rows))
    return found


def _direction(layer: int, states: Sequence[Array], by: By) -> Direction:
    import numpy as np

    rows = np.concatenate(states)
    differences = rows[::2] - rows[1::2]
    vector = READ[by](differences)
    others = [np.delete(differences, at, axis=0) for at in range(len(differences))]
    apart = [float(own @ READ[by](rest)) > 0 for own, rest in zip(differences, others, strict=True)]
    length = float(np.linalg.norm(vector)) / float(np.linalg.norm(rows, axis=1).mean())
    if not length > 0:
        raise InputError(
            f"the pairs have no direction in common after layer {layer}; write pairs that differ in one way"
        )
    return Direction(layer, torch.from_numpy(vector).float(), rounded(sum(apart) / len(apart)), rounded(length))


def by_mean(differences: Array) -> Array:
    """The mean of differences ``(pairs, d_model)``."""
    mean: Array = differences.mean(axis=0)
    return mean


def by_pca(differences: Array) -> Array:
    """The mean of differences along their first principal component: its sign and length are those of the mean."""
    import numpy as np
    from sklearn.decomposition import PCA  # 0.9 s, where it is asked for only

    both = np.concatenate([differences, -differences])
    component = PCA(n_components=1, svd_solver="full").fit(both).components_[0]
    along: Array = (differences.mean(axis=0) @ component) * component
    return along


READ: dict[By, Callable[[Any], Any]] = {"mean": by_mean, "pca": by_pca}
