"""The prompts over which a ROME edit's key and value are averaged: the prompt itself, and after sampled prefixes.

A key is never taken in the model's first position: that is an attention sink, where the keys of all words are
nearly the same, so that no word can be edited apart from the others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.lazy import torch
from workbench.models.forward.sampling import document_start, sample
from workbench.models.tokens import continuation_ids

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

SPARE = 3
"""Prefixes sampled for each that is wanted: those that make prompts of the commonest length are used."""


@dataclass(frozen=True, eq=False)
class Contexts:
    """Prompts of one length and shape: ``ids`` ``(rows, tokens)``, the subject's last token at ``subject_last``.

    ``reads`` are the positions whose predictions count, and ``answers`` the tokens wanted there; for prompts that
    are to stay as they are there are no answers.
    """

    ids: torch.Tensor
    subject_last: int
    reads: tuple[int, ...]
    answers: tuple[int, ...] = ()

    @property
    def tail(self) -> tuple[int, ...]:
        """The subject's last token and what is read, counted from the end."""
        tokens = self.ids.shape[1]
        return (tokens - self.subject_last, *(tokens - read for read in self.reads))


def sampled_prefixes(model: LoadedModel, number: int, tokens: int, seed: int) -> tuple[str, ...]:
    """Beginnings of sampled texts, each one line that ends in a full stop."""
    ids = sample(model, number, tokens, seed)[:, len(document_start(model)) :]
    texts = model.tokenizer.batch_decode(ids, skip_special_tokens=True)
    return tuple(f"{' '.join(text.split())}." for text in texts if text.strip())


def prefixes_of(model: LoadedModel, wanted: int, tokens: int, seed: int) -> tuple[str, ...]:
    """More than are ``wanted``, sampled from the unedited model once for all edits that ask for the same ones."""
    if not wanted:
        return ()
    asked = (SPARE * wanted, tokens, seed)
    known = model.edits.baselines
    if (key := f"prefixes {asked}") not in known:
        with model.edits.all_off():
            known[key] = sampled_prefixes(model, *asked)
    found: tuple[str, ...] = known[key]
    return found


def rewrite_contexts(
    model: LoadedModel, case: Case, prefixes: tuple[str, ...], wanted: int
) -> tuple[list[Contexts], tuple[str, ...]]:
    """The prompt as it stands, after BOS or separator, and after ``wanted`` of the prefixes; and which those are.

    Of the prefixes those are used that make prompts of the commonest length, so that they run as one batch.
    """
    answers = continuation_ids(model.tokenizer, case)
    bare = [case]
    if not case.chat and case.prepend != "separator":
        bare.append(case.model_copy(update={"prepend": "separator"}))
    found = [context for one in bare if (context := _context(model, one, answers)).subject_last > 0]
    unique = {tuple(context.ids[0].tolist()): context for context in found}

    prepend = case.prepend if case.chat else "separator"
    placed = [
        (
            prefix,
            _context(model, case.after(f"{prefix} ").model_copy(update={"prepend": prepend}), answers),
        )
        for prefix in prefixes
    ]
    shapes = Counter(_shape(context) for _, context in placed)
    commonest = shapes.most_common(1)[0][0] if shapes else None
    used = [(prefix, context) for prefix, context in placed if _shape(context) == commonest][:wanted]
    groups = list(unique.values())
    if used:
        first = used[0][1]
        ids = torch.cat([context.ids for _, context in used])
        groups.append(Contexts(ids, first.subject_last, first.reads, first.answers))
    return groups, tuple(prefix for prefix, _ in used)


def _shape(contexts: Contexts) -> tuple[int, int]:
    return contexts.ids.shape[1], contexts.subject_last


def subject_contexts(model: LoadedModel, case: Case) -> list[Contexts]:
    """The subject at the beginning of a text, as it is and after BOS or separator; not in the first position.

    Its keys there are those of all phrasings that begin with it.
    """
    found = {}
    for prepend in ("as-is", "separator"):
        encoded = model.encode(Case(prompt=case.subject or "", subject=case.subject, prepend=prepend))
        if encoded.subject is not None and encoded.subject[1] > 1:
            found[encoded.ids] = Contexts(torch.tensor([encoded.ids]), encoded.subject[1] - 1, reads=())
    return list(found.values())


def essence_contexts(model: LoadedModel, case: Case) -> Contexts:
    """“{subject} is a” after BOS or separator: what the model says there is to stay as it is."""
    prompt = f"{(case.subject or '').strip()} is a"
    encoded = model.encode(Case(prompt=prompt, subject=case.subject, prepend="separator"))
    assert encoded.subject is not None
    ids = torch.tensor([encoded.ids])
    return Contexts(ids, encoded.subject[1] - 1, reads=(len(encoded.ids) - 1,))


def _context(model: LoadedModel, case: Case, answers: tuple[int, ...]) -> Contexts:
    """One prompt with all of the answer but its last token after it."""
    encoded = model.encode(case, len(answers))
    assert encoded.subject is not None
    ids = torch.tensor([[*encoded.ids, *answers[:-1]]])
    last = len(encoded.ids) - 1
    return Contexts(ids, encoded.subject[1] - 1, tuple(range(last, last + len(answers))), answers)
