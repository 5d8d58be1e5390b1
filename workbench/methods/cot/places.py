"""Which tokens of a text are which sentence's."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.methods.cot.answers import ids_of
from workbench.methods.cot.result import CotResult, context
from workbench.models.forward.decoding import Ids

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


def whole_text(base: CotResult) -> str:
    """The text after which the answer with all of the reasoning is read."""
    return context(base.prompt + base.opened, base.reasoning, base.lead_in, base.closed)


def sentence_spans(model: LoadedModel, base: CotResult) -> tuple[Ids, tuple[tuple[int, int], ...]]:
    """The tokens of `whole_text`, and those of each sentence, start and stop.

    A token is its last character's; one that reaches into two sentences belongs to the later. Raises `InputError`
    where a sentence has no token of its own.
    """
    text = whole_text(base)
    ids = ids_of(model, text)
    offsets = model.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    offsets = offsets[: len(ids) - len(model.edits.prefix)]  # but for an end token
    first = len(base.prompt + base.opened)
    edges = list(accumulate(map(len, base.sentences), initial=first))
    edges[-1] = first + len(base.reasoning.rstrip())  # what follows has blanks of its own
    places = [bisect_right(edges, stop - 1) - 1 if stop > begin else -1 for begin, stop in offsets]
    spans = []
    for sentence in range(len(base.sentences)):
        own = [token + len(model.edits.prefix) for token, place in enumerate(places) if place == sentence]
        if not own:
            raise InputError(f"sentence {sentence + 1} has no token of its own; let the model reason in another way")
        spans.append((own[0], own[-1] + 1))
    return ids, tuple(spans)
