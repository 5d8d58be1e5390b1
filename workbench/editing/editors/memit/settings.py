"""What can be set about editors that spread the change of many facts over several layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from workbench.editing.editor import Settings
from workbench.editing.editors.rome.descent import DescentSettings
from workbench.settings import TypedLayers

KeysOf = Literal["balanced", "mean"]
"""Whose keys receive a fact's change: those of every context, each with its weight; or, as published, their mean."""


class SpreadPlace(Settings):
    """Where and how facts are written."""

    layers: Annotated[TypedLayers, Field(description="Which layers to edit, such as 4-8; else the model's.")] = ()
    keys: Annotated[KeysOf, Field(description="Every context's key receives the change, or their mean alone.")] = (
        "balanced"
    )
    norm_anchor: Annotated[
        bool, Field(description="Values over twice the unedited states' mean length are scaled to it.")
    ] = False


class SpreadSettings(DescentSettings, SpreadPlace):
    """Those of the descent are as published for MEMIT (arXiv 2210.07229), but for when it ends."""

    clamp: Annotated[float, Field(gt=0, description="Longest change, in lengths of what is there.")] = 0.75
