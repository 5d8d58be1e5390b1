"""Ordinary text for statistics of a model: a corpus of the user's, or text sampled from the model once and kept."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.files import write_atomically
from workbench.lazy import torch
from workbench.models.forward.sampling import document_start, sample
from workbench.paths import cache_folder
from workbench.protocol import Progress, silent
from workbench.reading import Unreadable, read_text, tensors_of

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

PER_DIMENSION = 4
"""Tokens of text for each dimension of the MLPs: what statistics that share a sampled text have."""

LENGTH = 128
"""Tokens of a text, after BOS or separator."""

SHIPPED = Path(str(resources.files("workbench"))) / "data" / "sampled_texts"
"""What was sampled from the default model once, as the cache would keep it: its first statistics need not wait."""


def text_length(model: LoadedModel) -> int:
    """Tokens of a text after BOS or separator: `LENGTH`, or what fits into the context."""
    return min(LENGTH, model.info.context - len(document_start(model)))


def sampled_text(model: LoadedModel, tokens: int, name: str, seed: int, progress: Progress = silent) -> Tensor:
    """Texts ``(rows, prepended + length)`` of at least so many tokens, sampled once and kept under a name."""
    kept_as = Path(model.info.fingerprint) / f"{model.info.dtype}-text-{name}.safetensors"
    file = cache_folder() / "statistics" / kept_as
    for known in (file, SHIPPED / kept_as):
        try:
            with tensors_of(known) as kept:
                ids: Tensor = kept.get_tensor("ids")
                return ids
        except Unreadable:
            continue
    length = text_length(model)
    ids = sample(model, -(-tokens // length), length, seed, progress)
    from safetensors.torch import save

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, save({"ids": ids}))
    return ids


def corpus_text(model: LoadedModel, corpus: Path, least: int, most: int, needed_by: str) -> Tensor:
    """A text file as rows of tokens, each after BOS or separator: ``most`` tokens of it, rounded up to whole rows.

    Raises `InputError` for a corpus that cannot be read, or that has fewer than ``least`` tokens in whole rows, which
    is what it is ``needed_by``, a clause with its verb.
    """
    try:
        text = read_text(corpus)
    except Unreadable as error:
        raise InputError(f"the corpus {corpus} cannot be read ({error.why}); name a text file in UTF-8") from error
    start, length = document_start(model), text_length(model)
    tokens = model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    rows = len(tokens) // length
    if rows * length < least:
        raise InputError(
            f"the corpus {corpus} has {len(tokens):,} tokens and {needed_by} at least "
            f"{least:,}, in pieces of {length}; name a longer one"
        )
    pieces = [[*start, *tokens[row * length : (row + 1) * length]] for row in range(min(rows, -(-most // length)))]
    return torch.tensor(pieces)
