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


def parameters(
    models: Iterable[type[Frozen]], chosen: Mapping[str, type[Frozen]] | None = None
) -> list[inspect.Parameter]:
    """An option for each setting of these models, and of those of which one is ``chosen`` by its name.

    A setting that several have is one option, whose help says what it is and its default for each.
    """
    found: dict[str, dict[str, Setting]] = {}
    for name, model in (chosen or {}).items():
        for setting in settings_of(model):
            found.setdefault(setting.name, {})[name] = setting
    single = [setting for model in models for setting in settings_of(model)]
    several = [_parameter(next(iter(each.values())), _of_each(each, len(chosen or {}))) for each in found.values()]
    return several + [_parameter(setting, _said(setting)) for setting in single if setting.name not in found]


def only_of(model: type[Frozen], typed: Typed, whose: str) -> Typed:
    """What was typed, which must be settings of this model. Raises `InputError`, naming ``whose`` they are not."""
    own = {setting.name for setting in settings_of(model)}
    for name, value in typed.items():
        if value is not None and name not in own:
            raise InputError(f"{whose} has no setting --{name.replace('_', '-')}; leave it out")
    return typed


def _of_each(settings: Mapping[str, Setting], of: int) -> str:
    """What a setting is for each that has it, once where that is the same for all there are."""
    assert len({setting.kind for setting in settings.values()}) == 1, f"one name, several types: {settings}"
    whose: dict[str, list[str]] = {}
    for name, setting in settings.items():
        whose.setdefault(_said(setting), []).append(name)
    if len(whose) == 1 and len(settings) == of:
        return next(iter(whose))
    return "; ".join(f"{', '.join(names)}: {said}" for said, names in whose.items())


def _said(setting: Setting) -> str:
    text = setting.help + (f" ({setting.bounds})" if setting.bounds else "")
    return text + (f"  [default: {setting.default}]" if setting.default else "")


def _parameter(setting: Setting, text: str) -> inspect.Parameter:
    option = f"--{setting.name.replace('_', '-')}"
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
