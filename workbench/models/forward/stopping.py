"""Where a model ends its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


def stop_ids(model: LoadedModel) -> set[int]:
    """Every token that ends a text: generation settings may name several."""
    stop = model.hf.generation_config.eos_token_id if model.hf.generation_config else None
    stops = set(stop) if isinstance(stop, list) else {stop}
    return {token for token in (*stops, model.tokenizer.eos_token_id) if token is not None}
