"""The key of a ROME edit: the direction u in W ← W + δ uᵀ, so that k·u is the share of δ that a key k receives.

Published (Meng et al. 2022, arXiv 2202.05262): u is C⁻¹ of the mean of the keys in several contexts, divided so that
the bare prompt's key receives all of δ. Now and then that divides by next to nothing and disables the model; divided by
the mean key instead it cannot (arXiv 2403.07175). But then single contexts still receive much less than the mean does,
and half of it where a text begins with the subject, as phrasings often do. Balanced, all receive nearly the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from workbench.editing.editors.key_statistics import KeyStatistics, keys_of
from workbench.editing.editors.rome.contexts import Contexts
from workbench.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

KeyVariant = Literal["balanced", "corrected", "original"]
"""Whose key receives the change: every context's, nearly; their mean's; or, as published, the bare prompt's."""

BALANCE = 0.1
"""What is added to the keys' Gram matrix, as a share of its mean diagonal: with less of it the shares are more even and
the change is larger. By our measurement (docs/edits.md)."""

FIRST_WEIGHT = 2
"""How often the subject's key at a text's beginning counts, beside those in the prompt and after prefixes."""


def subject_keys(model: LoadedModel, layer: int, contexts: Sequence[Contexts]) -> Tensor:
    """The keys of the subject's last token ``(rows, d_mlp)`` in float64."""
    found = [keys_of(model, layer, some.ids)[:, some.subject_last] for some in contexts]
    return (
        torch.cat(found).double().cpu()
        if found
        else torch.empty(0, model.anatomy.mlp_widths[layer], dtype=torch.float64)
    )


def direction(statistics: KeyStatistics, keys: Tensor, first: Tensor, variant: KeyVariant) -> Tensor:
    """u ``(d_mlp,)`` for the keys of the contexts, that of the bare prompt at the top, and those at a text's beginning.

    Balanced, u = C⁻¹Kᵀ(KC⁻¹Kᵀ + λ)⁻¹1: of all u that make Ku as near to 1 as λ lets them be, the one with the least
    uᵀCu, and so with the least effect on other text. Shares are 1 in the mean over ``keys``.
    """
    if variant == "balanced":
        wanted = torch.cat([keys, *[first] * FIRST_WEIGHT])
        solved = statistics.solve(wanted.T)
        gram = wanted @ solved
        ridge = BALANCE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        balanced: Tensor = solved @ torch.linalg.solve(gram + ridge, torch.ones(len(gram), dtype=gram.dtype))
        return balanced / (keys @ balanced).mean()
    mean = keys.mean(dim=0)
    u = statistics.solve(mean[:, None])[:, 0]
    return u / ((keys[0] if variant == "original" else mean) @ u)
