"""Held-out perplexity: that of plain prose which no edit is about. It grows where an edit does damage."""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.datasets.held_out import held_out_text
from workbench.editing.suite.unedited import Unedited, keep, key_of, known
from workbench.errors import InputError
from workbench.lazy import torch
from workbench.models.forward.unembedding import RowPosition, TextRow, read_predictions
from workbench.models.tokens import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from workbench.loading import LoadedModel


def perplexity(model: LoadedModel, text: str | None = None) -> float:
    """exp of the mean negative log probability, in nats a token, of a text (the held-out one unless given).

    The text is cut into pieces that fill the model's context, and to every piece BOS or separator is prepended, and
    what edits in context say.
    Raises `InputError` for an empty text or a tokenizer without BOS and separator, `NumericalError` for NaN logits.
    """
    rows = _rows(model, held_out_text() if text is None else text)
    log_ps: dict[RowPosition, float] = {}

    def read(places: Sequence[RowPosition], log_p: Tensor) -> None:
        following = torch.tensor([rows[row].ids[position + 1] for row, position in places], device=log_p.device)
        log_ps.update(zip(places, log_p.gather(1, following[:, None])[:, 0].tolist(), strict=True))

    for _ in read_predictions(model, rows, read):
        pass
    return math.exp(-fmean(log_ps.values()))


def held_out_perplexity(model: LoadedModel) -> float:
    """That of the held-out text with the edits that are on, measured once for these; without any once for all."""
    if model.edits.applied:
        return model.edits.measured_once("held-out perplexity", lambda: perplexity(model))
    kept = known(model, held_out_key(), on_disk=True)
    if kept is not None and kept.perplexity is not None:
        return kept.perplexity
    found = perplexity(model)
    keep(model, held_out_key(), Unedited(perplexity=found), on_disk=True)
    return found


def held_out_key() -> str:
    """What the unedited model's perplexity is kept under."""
    return key_of("held-out perplexity", held_out_text())


def _rows(model: LoadedModel, text: str) -> list[TextRow]:
    """The pieces, each after BOS or separator and what edits in context say; its last token predicts nothing."""
    encoded = encode(model.tokenizer, Case(prompt=text, prepend="separator"), prefix=model.edits.prefix)
    front, own = encoded.ids[: encoded.prepended], encoded.ids[encoded.prepended :]
    room = model.info.context - len(front)
    if room < 2:
        raise InputError("edits in context leave no room for a text; switch one of them off")
    pieces = [front + own[begin : begin + room] for begin in range(0, len(own), room)]
    # Where nothing is prepended, it was typed into the text, whose first token then predicts the second.
    return [TextRow(ids=piece, positions=tuple(range(max(0, len(front) - 1), len(piece) - 1))) for piece in pieces]
