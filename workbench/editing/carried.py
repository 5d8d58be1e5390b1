"""Defaults that were measured on the default model, said where an edit of another model was left with them."""

from __future__ import annotations

from workbench.editing.editor import Editor, Settings
from workbench.editing.layers import is_default_model
from workbench.models.info import ModelInfo
from workbench.protocol import Check
from workbench.settings import typed_value


def carried_over(by: Editor, settings: Settings, info: ModelInfo) -> tuple[Check, ...]:
    """A check that names the settings left at such a default; none on the default model, or where all were chosen."""
    fields = by.settings.model_fields
    left = [name for name in by.measured if getattr(settings, name) == fields[name].default]
    if not left or is_default_model(info):
        return ()
    named = " and ".join(f"{name} {typed_value(fields[name].default)}".strip() for name in left)
    return (Check(name="defaults", text=f"{named} as measured on the default model, not on this one"),)
