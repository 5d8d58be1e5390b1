"""Options of a command, made from the settings of a request or an editor."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from workbench.errors import InputError
from workbench.protocol import Frozen
from workbench.settings import Setting, settings_of

Typed = Mapping[str, Any]
"""What was typed for each setting; None for one that was left out."""


def parameters(models: Iterable[type[Frozen]]) -> list[inspect.Parameter]:
    """An option for each setting of these models; one that several have is one option."""
    found: dict[str, inspect.Parameter] = {}
    for model in models:
        for setting in settings_of(model):
            found.setdefault(setting.name, _parameter(setting))
    return list(found.values())


def only_of(model: type[Frozen], typed: Typed, whose: str) -> Typed:
    """What was typed, which must be settings of this model. Raises `InputError`, naming ``whose`` they are not."""
    own = {setting.name for setting in settings_of(model)}
    for name, value in typed.items():
        if value is not None and name not in own:
            raise InputError(f"{whose} has no setting --{name.replace('_', '-')}; leave it out")
    return typed


def _parameter(setting: Setting) -> inspect.Parameter:
    option = f"--{setting.name.replace('_', '-')}"
    text = setting.help + (f" ({setting.bounds})" if setting.bounds else "")
    text += f"  [default: {setting.default}]" if setting.default else ""
    kind: Any = str | None
    if setting.kind == "flag":
        kind, option = bool | None, f"{option}/--no-{setting.name.replace('_', '-')}"
        said = typer.Option(option, help=text, show_default=False)
    else:
        said = typer.Option(option, help=text, show_default=False, metavar=_metavar(setting))
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, said]
    )


def _metavar(setting: Setting) -> str:
    if setting.choices:
        return f"[{'|'.join(setting.choices)}]" + (",…" if setting.kind == "list" else "")
    return {"whole number": "INTEGER", "number": "NUMBER", "list": "LIST"}.get(setting.kind, "TEXT")
