"""What can be set about a request or an editor, read from its fields: a setting is described there and nowhere else.

A field with a ``description`` is a setting. Its name, type, bounds, choices and default stand at the field too, so that
the command line's options, the forms of the app and the page of settings are made of these, and what is typed in any
of them is read and refused in the same words.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BeforeValidator, ValidationError
from pydantic.fields import FieldInfo

from workbench.errors import InputError
from workbench.protocol import Frozen

SettingKind = Literal["flag", "whole number", "number", "text", "prompt", "choice", "list"]

_Model = TypeVar("_Model", bound=Frozen)


@dataclass(frozen=True)
class Setting:
    """One thing that can be set. ``default`` is what one would type for it, "" where there is none.

    What is ``required`` has none and must be typed. A "prompt" is a text like the one on screen, with which a form may
    begin. ``path`` leads to the field through the models that it is in; its last name is the setting's.
    """

    path: tuple[str, ...]
    help: str
    kind: SettingKind
    default: str
    choices: tuple[str, ...] = ()
    bounds: str = ""
    required: bool = False

    @property
    def name(self) -> str:
        """The field's name."""
        return self.path[-1]


def settings_of(model: type[Frozen]) -> tuple[Setting, ...]:
    """The settings of a model in the order of its fields; a model within it adds its own in its place."""
    found = tuple(_settings(model, (), None))
    names = [setting.name for setting in found]
    assert len(set(names)) == len(names), f"two settings of {model.__name__} have one name: {names}"
    return found


def filled(model: type[_Model], typed: Mapping[str, Any], **given: Any) -> _Model:
    """A model with its settings as they were ``typed`` (None or "": the default) and other fields as ``given``.

    Raises `InputError` in one sentence for what cannot be read.
    """
    values: dict[str, Any] = dict(given)
    for setting in settings_of(model):
        value = typed.get(setting.name)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        place, inside = values, model
        for name in setting.path[:-1]:
            field = inside.model_fields[name]
            place = place.setdefault(name, dict(_default(field) or {}))  # what is not typed stays as it is there
            inside = _without_none(field.annotation)
        place[setting.name] = value.strip() if isinstance(value, str) and setting.kind not in _AS_TYPED else value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(_sentences(error))) from None


def listed(text: Any) -> Any:
    """A text with commas as a tuple; anything else as it is. For `pydantic.BeforeValidator`."""
    return tuple(piece.strip() for piece in text.split(",") if piece.strip()) if isinstance(text, str) else text


def layers(text: Any) -> Any:
    """Layers as in "3-8" or "3,5,8" as a tuple; anything else as it is. Raises `InputError`."""
    if not isinstance(text, str):
        return text
    found: list[int] = []
    for piece in text.split(","):
        first, dash, last = piece.strip().partition("-")
        try:
            found += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise InputError(f"{text!r} does not name layers; write 3-8 or 3,5,8") from None
    if not found:
        raise InputError(f"{text!r} names no layer; write the lower one first, as in 3-8")
    return tuple(dict.fromkeys(found))


Listed = BeforeValidator(listed)
"""Marks a tuple typed with commas: ``kinds: Annotated[tuple[TraceKind, ...], Listed, Field(description=…)]``."""

_AS_TYPED = ("text", "prompt")

PROMPT = "prompt"
"""Marks a text that is another prompt: ``source: Annotated[str, PROMPT, Field(description=…)]``."""

TypedLayers = Annotated[tuple[int, ...], BeforeValidator(layers)]
"""Layers, typed as 3-8 or 3,5,8."""


def _settings(model: type[Frozen], path: tuple[str, ...], filled_in: Frozen | None) -> Iterator[Setting]:
    """Those of a model; ``filled_in`` is what stands by default in the field that it is in."""
    for name, field in model.model_fields.items():
        inner = _without_none(field.annotation)
        default = _default(field) if filled_in is None else getattr(filled_in, name)
        if field.description:
            kind, choices = ("prompt", ()) if PROMPT in field.metadata else _kind(inner)
            required = field.is_required() and filled_in is None
            yield Setting(
                (*path, name), field.description, kind, typed_value(default), choices, _bounds(field), required
            )
        elif isinstance(inner, type) and issubclass(inner, Frozen):
            yield from _settings(inner, (*path, name), default)


def _default(field: FieldInfo) -> Any:
    """What stands in a field by default, None where something must be given."""
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _without_none(annotation: Any) -> Any:
    """The type that is left of a union with None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        others = [each for each in get_args(annotation) if each is not type(None)]
        return _without_none(others[0]) if len(others) == 1 else annotation
    return annotation


def _kind(annotation: Any) -> tuple[SettingKind, tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        return "choice", tuple(map(str, get_args(annotation)))
    if get_origin(annotation) is tuple:
        return "list", _kind(_without_none(get_args(annotation)[0]))[1]
    kinds: dict[Any, SettingKind] = {bool: "flag", int: "whole number", float: "number"}
    return kinds.get(annotation, "text"), ()


def typed_value(value: Any) -> str:
    """A value as one would type it: "" for none."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(typed_value, value))
    if isinstance(value, float):
        return short if float(short := f"{value:g}") == value else repr(value)
    return str(value)


def _bounds(field: FieldInfo) -> str:
    """The bounds of a number in words."""
    limits = {
        name: value for piece in field.metadata for name in _LIMITS if (value := getattr(piece, name, None)) is not None
    }
    return " and ".join(_LIMITS[name].format(f"{value:,}".replace(",", " ")) for name, value in limits.items())


_LIMITS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}

_WRONG = {
    "int_parsing": "{input} is not a whole number",
    "int_from_float": "{input} is not a whole number",
    "int_type": "{input} is not a whole number",
    "float_parsing": "{input} is not a number",
    "float_type": "{input} is not a number",
    "finite_number": "{input} is not a finite number",
    "bool_parsing": "{input} is neither yes nor no",
    "literal_error": "{input} is not one of {expected}",
    "greater_than_equal": "it must be at least {ge:g}, not {input}",
    "greater_than": "it must be above {gt:g}, not {input}",
    "less_than_equal": "it must be at most {le:g}, not {input}",
    "less_than": "it must be below {lt:g}, not {input}",
    "missing": "it is missing",
}


def _sentences(error: ValidationError) -> Iterable[str]:
    """What is wrong with each setting, by its name as on the command line."""
    for one in error.errors():
        names = [str(part) for part in one["loc"] if not isinstance(part, int)]
        value = one["input"]
        shown = repr(value) if isinstance(value, str) else str(value)
        template = _WRONG.get(one["type"], one["msg"].replace("{", "{{").replace("}", "}}"))
        said = template.format(**{"input": shown[:80], **one.get("ctx", {})})
        yield f"{(names or ['it'])[-1].replace('_', '-')}: {said}"
