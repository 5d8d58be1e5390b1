"""A LoRA adapter as an edit: its low-rank changes of the weights, on and off as any other's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.editing.changes import AdapterChange
from workbench.editing.queue import Edit, EditInfo
from workbench.errors import InputError
from workbench.models import adapters

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


def adapter_edit(folder: Path, model: LoadedModel) -> Edit:
    """The edit that adds what an adapter's folder says to each matrix that it names (Hu et al. 2021, arXiv 2106.09685).

    Raises `ModelError` as `workbench.models.adapters.low_rank` does, `InputError` where it changes what is no matrix of
    a block.
    """
    blocks = f"{model.anatomy.blocks}."
    changes = []
    for path, left, right in adapters.low_rank(model.hf, folder):
        layer, _, module = path.removeprefix(blocks).partition(".")
        if not path.startswith(blocks) or not layer.isdecimal():
            raise InputError(
                f"the adapter in {folder} changes {path}, which is in no layer of the model and cannot be switched on "
                f"and off; load it merged: --model BASE+{folder}"
            )
        changes.append(AdapterChange(int(layer), left, right, module))
    made_of = f"{model.info.fingerprint}\n{adapters.fingerprint(model.info.fingerprint, folder)}"
    info = EditInfo(
        id=hashlib.sha256(made_of.encode()).hexdigest()[:8],
        method="adapter",
        title=f"the adapter {folder.name}, {len(changes)} matrices of rank {max(c.left.shape[1] for c in changes)}",
        layers=tuple(sorted({change.layer for change in changes})),
    )
    return Edit(info, tuple(changes))
