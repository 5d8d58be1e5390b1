"""What the unedited model gave, kept in the cache: it is the same for every edit, and in the next session too.

It was measured with the same weights, read by the same tokenizer, in the same precision, on the same kind of device.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.editing.suite.answers import FactKey, FactReading
from workbench.editing.suite.free import Continuation
from workbench.paths import cache_folder
from workbench.protocol import Frozen
from workbench.remembering import remember, remembered

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

MEASURED = 1
"""Raised when something is measured in another way, so that what was kept before is not taken for it."""


class Unedited(Frozen):
    """One part of what was measured without edits; the other fields are None."""

    readings: tuple[tuple[FactKey, FactReading], ...] | None = None
    free: tuple[tuple[FactKey, Continuation], ...] | None = None
    entropy: float | None = None
    perplexity: float | None = None


def known(model: LoadedModel, key: str, *, on_disk: bool) -> Unedited | None:
    """What was kept under a key, in this process or, ``on_disk``, in an earlier one."""
    memory: dict[str, Unedited] = model.edits.baselines
    if on_disk and key not in memory and (found := remembered(_file(model, key), Unedited)) is not None:
        memory[key] = found
    return memory.get(key)


def keep(model: LoadedModel, key: str, found: Unedited, *, on_disk: bool) -> None:
    """Keep a part for the next edit of this process, and ``on_disk`` for the next session's."""
    model.edits.baselines[key] = found
    if on_disk:
        remember(_file(model, key), found)


def key_of(name: str, *parts: object) -> str:
    """What a part is kept under: its name, and what it depends on."""
    return f"{name} {hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}"


def _file(model: LoadedModel, key: str) -> Path:
    info, reads = model.info, model.tokenizer.backend_tokenizer.to_str()
    depends = (MEASURED, info.adapter, info.quantised, info.dtype, info.device, info.attention_kernel, reads, key)
    name = hashlib.sha256(repr(depends).encode()).hexdigest()[:32]
    return cache_folder() / "unedited" / info.fingerprint / f"{name}.json"
