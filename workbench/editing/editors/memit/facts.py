"""A fact that is to be written, as contexts: those in which its target is wanted, and those whose keys are changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.editing.editor import Cases
from workbench.editing.editors.memit.settings import SpreadSettings
from workbench.editing.editors.rome.contexts import (
    Contexts,
    essence_contexts,
    prefixes_of,
    rewrite_contexts,
    subject_contexts,
)
from workbench.editing.editors.rome.key import FIRST_WEIGHT
from workbench.editing.editors.rome.value import Sought
from workbench.errors import InputError
from workbench.models.forward.decoding import Ids
from workbench.protocol import Progress

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


@dataclass(frozen=True, eq=False)
class FactContexts:
    """A case, the contexts of its target, and in ``texts`` each context up to the subject's last token.

    ``weights`` are those of the texts, 1 in sum. ``prefixes`` are the sampled texts that are prepended in some.
    """

    case: Case
    sought: Sought
    texts: tuple[Ids, ...]
    weights: tuple[float, ...]
    prefixes: tuple[str, ...]


def facts_of(
    model: LoadedModel, cases: Cases, settings: SpreadSettings, progress: Progress
) -> tuple[FactContexts, ...]:
    """Every case as contexts. Raises `InputError` for one whose subject has no key but that of the first position."""
    progress(0, len(cases), stage="prefixes")
    prefixes = prefixes_of(model, settings.prefixes, settings.prefix_tokens, settings.seed)
    found = []
    for number, case in enumerate(cases):
        progress(number, len(cases), stage=f"contexts of fact {number + 1} of {len(cases)}")
        rewrites, used = rewrite_contexts(model, case, prefixes, settings.prefixes)
        if not rewrites:
            raise InputError(
                f"the subject {case.subject} is the first token of every context, where no word has a key of its own; "
                "use prefixes"
            )
        texts = _weighted(rewrites, subject_contexts(model, case))
        total = sum(texts.values())
        weights = tuple(weight / total for weight in texts.values())
        found.append(FactContexts(case, Sought(rewrites, essence_contexts(model, case)), tuple(texts), weights, used))
    return tuple(found)


def _weighted(rewrites: Sequence[Contexts], first: Sequence[Contexts]) -> dict[Ids, float]:
    """Each text up to the subject's last token, and how often it counts."""
    found: dict[Ids, float] = {}
    for contexts, weight in (*((some, 1) for some in rewrites), *((some, FIRST_WEIGHT) for some in first)):
        for row in contexts.ids.tolist():
            text = tuple(row[: contexts.subject_last + 1])
            found[text] = found.get(text, 0) + weight
    return found
