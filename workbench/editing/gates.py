"""Is an edit sound? What it does where it should do nothing, measured before anybody trusts it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.datasets.facts import shipped_facts
from workbench.editing.changes import WeightUpdate
from workbench.editing.queue import Edit
from workbench.editing.suite.held_out import held_out_perplexity
from workbench.lazy import torch
from workbench.models.forward.unembedding import TextRow, read_predictions
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

LARGE = 0.3
"""A change whose norm is more than this part of its matrix's is suspicious. Of 100 edits of the default model one was
larger; half of them lie below 0.13."""

DRIFT = 0.05
"""Nats on unrelated prompts above which an edit is suspicious; sound ones of the default model stay under 0.01."""

PERPLEXITY_GROWTH = 0.01
"""A perplexity of plain prose that grew by more than this part."""

Subjects = str | frozenset[str] | None
"""What an edit is about, and what drift is not measured on."""


@dataclass(frozen=True)
class Soundness:
    """What was measured: ``drift`` in nats, and the held-out perplexity without the edit and with it."""

    drift: float
    perplexity_before: float
    perplexity: float


def soundness(model: LoadedModel, edit: Edit, subjects: Subjects, progress: Progress) -> Soundness:
    """Compare the model with the edit and without it, on prompts that are not about ``subjects``, and on prose."""
    about = frozenset({subjects}) if isinstance(subjects, str) else subjects or frozenset()

    def measured(done: int, state: str) -> tuple[Tensor, float]:
        progress(done, 4, stage=f"other facts {state} the edit")
        # Encoded anew, as an edit in context changes what is read.
        name = f"other facts than of {sorted(about)}"
        answers = model.edits.measured_once(name, lambda: _first_choices(model, _unrelated(model, about)))
        progress(done + 1, 4, stage=f"plain prose {state} the edit")
        return answers, held_out_perplexity(model)

    before, perplexity_before = measured(0, "without")
    with model.edits.added(edit):
        after, perplexity_now = measured(2, "with")
    drift = torch.nn.functional.kl_div(after, before, log_target=True, reduction="batchmean")
    return Soundness(float(drift), perplexity_before, perplexity_now)


def gates(model: LoadedModel, edit: Edit, subjects: Subjects, progress: Progress, *more: Check) -> tuple[Check, ...]:
    """Size, the editor's own ``more``, drift and held-out perplexity of an edit that changes weights."""
    found, size = soundness(model, edit, subjects, progress), model.edits.size(edit)
    growth = found.perplexity / found.perplexity_before - 1
    return (
        gate("size", f"{size:.1%} of the matrix", size > LARGE),
        *more,
        *_shared_experts(model, edit),
        gate("drift", f"{found.drift:.1e} nats on unrelated prompts", found.drift > DRIFT),
        gate(
            "held-out perplexity", f"{found.perplexity_before:.2f} → {found.perplexity:.2f}", growth > PERPLEXITY_GROWTH
        ),
    )


def _shared_experts(model: LoadedModel, edit: Edit) -> tuple[Check, ...]:
    """Of a mixture of experts, which of them an edit changes."""
    changed = {change.layer for change in edit.changes if isinstance(change, WeightUpdate)}
    if not changed & set(model.anatomy.shared_experts):
        return ()
    text = "it is what is changed; what the routed experts add stays as it is"
    return (Check(name="shared expert", text=text, level="info"),)


def gate(name: str, text: str, failed: bool) -> Check:
    """A check that warns where it failed."""
    return Check(name=name, text=text, level="warn" if failed else "ok")


def _first_choices(model: LoadedModel, rows: tuple[TextRow, ...]) -> Tensor:
    """Log-probabilities after each row ``(rows, vocabulary)``, on the CPU."""
    found: dict[int, Tensor] = {}

    def read(places: object, log_p: Tensor) -> None:
        for (row, _), values in zip(places, log_p.cpu(), strict=True):  # type: ignore[call-overload]
            found[row] = values

    for _ in read_predictions(model, rows, read):
        pass
    return torch.stack([found[row] for row in range(len(rows))])


def _unrelated(model: LoadedModel, subjects: frozenset[str]) -> tuple[TextRow, ...]:
    """One prompt of every shipped relation, about another subject, after BOS or separator."""
    rows = []
    for prompt in _prompts(subjects):
        ids = model.encode(Case(prompt=prompt, prepend="separator")).ids
        rows.append(TextRow(ids=ids, positions=(len(ids) - 1,)))
    return tuple(rows)


@cache
def _prompts(subjects: frozenset[str]) -> tuple[str, ...]:
    others = (
        (relation, [f.subject for f in relation.facts if f.subject not in subjects]) for relation in shipped_facts()
    )
    return tuple(relation.prompts(names[0])[0] for relation, names in others if names)
