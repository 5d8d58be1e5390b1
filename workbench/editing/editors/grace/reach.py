"""What the keys of a codebook reach: their own prompts, other facts' keys, and the prompts of a suite."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.datasets.suites import suite_for
from workbench.editing.changes import Codebook
from workbench.editing.editor import Cases
from workbench.editing.gates import gate
from workbench.lazy import torch
from workbench.models.forward.layerwise import states_after
from workbench.protocol import Check

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

ROLES = (("paraphrase", "paraphrases"), ("neighborhood", "neighborhood prompts"))


def codebooks(model: LoadedModel, layer: int) -> list[Codebook]:
    """Those that are on after a layer, in the queue's order."""
    changes = [change for edit in model.edits.applied for change in edit.changes]
    return [change for change in changes if isinstance(change, Codebook) and change.layer == layer]


def without_codebooks(model: LoadedModel, layer: int) -> AbstractContextManager[None]:
    """A context within which states after a layer are those that a codebook there is to look up."""
    found = codebooks(model, layer)
    if not found:
        return nullcontext()
    return model.edits.only(edit for edit in model.edits.applied if not any(one in found for one in edit.changes))


def reach_checks(model: LoadedModel, book: Codebook, facts: Sequence[Codebook], cases: Cases) -> tuple[Check, ...]:
    """What the codebook reaches beside those that are on, which are put together with it as they will be.

    ``facts`` are the codebooks that it was put together of.
    """
    keys, labels = (torch.cat([getattr(fact, name) for fact in facts]) for name in ("keys", "labels"))
    on = codebooks(model, book.layer)
    (whole,) = Codebook.together([*on, book])
    reached, wrong = _reached(whole, keys, labels), ""
    if on:
        (before,) = Codebook.together(on)
        lost = len(before.keys) - _reached(whole, before.keys, before.labels)
        wrong = f", and {lost} of {len(before.keys)} of those on no longer do" if lost else ""
    nearest = whole.nearest(keys)[0]
    least = float(whole.radii[nearest].min())
    other = torch.cdist(keys, whole.keys).masked_fill(whole.labels == labels[:, None], torch.inf).min()
    away = f", the nearest key of another answer {float(other):.3g} away" if bool(other.isfinite()) else ""
    return (
        gate("keys", f"{reached} of {len(keys)} reach their value{wrong}", reached < len(keys) or bool(wrong)),
        Check(name="radius", text=f"{least:.3g} or more, keys of length {float(keys.norm(dim=-1).median()):.3g}{away}"),
        *_suite(model, whole, cases),
    )


def _reached(book: Codebook, keys: Tensor, labels: Tensor) -> int:
    """How many states are put in the place of one that stands for the same answer."""
    nearest, distances = book.nearest(keys)
    return int(((distances <= book.radii[nearest]) & (book.labels[nearest] == labels)).sum())


def _suite(model: LoadedModel, whole: Codebook, cases: Cases) -> Sequence[Check]:
    """Of how many of its suite's prompts some state is put in another's place, where there is a shipped suite."""
    suite = suite_for(cases[0]) if len(cases) == 1 else None
    if suite is None:
        return ()
    found = []
    for role, many in ROLES:
        prompts = [fact.prompt for fact in suite.facts if fact.role == role]
        if prompts:
            hits = _hits(model, whole, prompts)
            found.append(f"{hits} of {len(prompts)} {many}")
    return (Check(name="hits", text=", ".join(found)),) if found else ()


def _hits(model: LoadedModel, book: Codebook, prompts: Sequence[str]) -> int:
    """How many prompts, after BOS or separator, have a state within reach. Padding after a prompt changes nothing."""
    rows = [model.encode(Case(prompt=prompt, prepend="separator")).ids for prompt in prompts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + (0,) * (longest - len(row)) for row in rows])
    with without_codebooks(model, book.layer):
        states = states_after(model, ids, book.layer).float().cpu()
    nearest, distances = book.nearest(states)
    own = torch.arange(longest) < torch.tensor([[len(row)] for row in rows])
    return int(((distances <= book.radii[nearest]) & own).any(dim=-1).sum())
