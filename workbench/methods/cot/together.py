"""Many questions: their reasoning written together, and what each gave kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.methods.cot import truncation as cot
from workbench.methods.cot.reasoning import Reasoned, ids_with_room, reason
from workbench.methods.cot.thinking import tags_of
from workbench.methods.cot.truncation import CotRequest
from workbench.models.forward.prefixes import Prefixes
from workbench.paths import cache_folder

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


def reasoned_together(
    model: LoadedModel,
    asked: Sequence[CotRequest],
    prompts: Sequence[str],
    report: Callable[[], None],
    prefixes: Prefixes | None = None,
) -> list[Reasoned | str]:
    """What is written after each prompt, or why nothing can be. All are sampled as the first request says."""
    written: list[Reasoned | str] = []
    fitting: list[str] = []
    reserve = max((cot.reserve_of(model, one) for one in asked), default=0)
    for prompt in prompts:
        try:
            ids_with_room(model, prompt, reserve)
        except InputError as error:
            written.append(str(error))
        else:
            written.append("")
            fitting.append(prompt)
    if not fitting:
        return written
    found = iter(
        reason(
            model,
            prefixes or Prefixes(model),
            fitting,
            asked[0].sampling,
            lambda _tokens, _first: report(),
            reserve,
            tags_of(asked[0].thinking),
        )
    )
    return [why or next(found) for why in written]


def file_for(model: LoadedModel, key: str) -> Path:
    """Where the cache keeps what one question gave, by the weights and all else that matters."""
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return cache_folder() / "cot" / model.info.fingerprint / f"{name}.json"
