"""The methods there are: for each the object that declares it. Adding a method is one line here.

A module is imported when its method is first asked for or read from a file, so that none costs the others anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from workbench.errors import InputError
from workbench.protocol import Frozen, Method, Request, Result

METHODS: dict[str, str] = {
    "lens": "workbench.methods.lens:LENS",
    "lens-fit": "workbench.methods.lens:LENS_FIT",
    "patchscope": "workbench.methods.lens:PATCHSCOPE",
    "continue": "workbench.methods.generation:CONTINUE",
    "watch": "workbench.methods.watch:WATCH",
    "attribution": "workbench.methods.attribution:ATTRIBUTION",
    "dla": "workbench.methods.dla:DLA",
    "heads": "workbench.methods.heads:HEADS",
    "attention": "workbench.methods.heads:ATTENTION",
    "knockout": "workbench.methods.heads:KNOCKOUT",
    "trace": "workbench.methods.tracing:TRACE",
    "trace-facts": "workbench.methods.tracing:TRACE_FACTS",
    "patch": "workbench.methods.patching:PATCH",
    "paste": "workbench.methods.patching:PASTE",
    "cot": "workbench.methods.cot:COT",
    "cot-questions": "workbench.methods.cot:COT_QUESTIONS",
    "cot-hints": "workbench.methods.cot:COT_HINTS",
    "resample": "workbench.methods.cot:RESAMPLE",
    "cot-states": "workbench.methods.cot:COT_STATES",
    "suppress": "workbench.methods.cot:SUPPRESS",
    "receivers": "workbench.methods.cot:RECEIVERS",
    "stability": "workbench.methods.diagnose:STABILITY",
    "counterfactual": "workbench.methods.diagnose:COUNTERFACTUAL",
    "diagnose": "workbench.methods.diagnose:DIAGNOSE",
    "edit": "workbench.editing.methods:EDIT",
    "queue": "workbench.editing.methods:QUEUE",
    "suite": "workbench.editing.methods:SUITE",
    "edit-facts": "workbench.editing.methods:RECORDS",
    "bisect": "workbench.editing.methods:BISECTION",
    "train-editor": "workbench.editing.editors.mend.training:TRAINING",
    "measure": "workbench.editing.methods:MEASURE",
    "steer-sweep": "workbench.editing.methods:STEER_SWEEP",
    "compare": "workbench.editing.methods:COMPARISON",
    "fix": "workbench.editing.methods:FIX",
    "fix-cases": "workbench.editing.methods:FIX_CASES",
}
"""By the kind that tells requests and results apart in files."""


def method(kind: str) -> Method:
    """The method whose requests are of this kind. Raises `ValueError` where there is none."""
    if kind not in METHODS:
        raise ValueError(f"there is no method {kind!r}")
    found: Method = resolve_name(METHODS[kind])
    assert found.kind == kind, f"{METHODS[kind]} is of kind {found.kind!r}"
    return found


def methods() -> Iterator[Method]:
    """Every method, in the order of the registry. Imports all of them."""
    return map(method, METHODS)


def check_remote(answers: Method) -> None:
    """Raise `InputError` for a method that cannot be asked of a model which is elsewhere, naming those that can."""
    if answers.remote is None:
        able = ", ".join(each.kind for each in methods() if each.remote)
        raise InputError(f"“{answers.title}” needs the weights here; --remote serves {able}")


def check_divided(answers: Method) -> None:
    """Raise `InputError` for a method that needs whole matrices, naming those that do not."""
    if not answers.divided:
        able = ", ".join(each.kind for each in methods() if each.divided)
        raise InputError(f"“{answers.title}” needs whole matrices; --device-map tp serves {able}: use auto for others")


class _OfItsMethod:
    """Lets pydantic read a request or a result by its kind, when it is met and not before."""

    def __init__(self, part: Literal["request", "result"]) -> None:
        self._part = part

    def _read(self, value: Any) -> Frozen:
        if isinstance(value, Request | Result):
            return value
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise ValueError("it has no kind")
        model: type[Frozen] = getattr(method(value["kind"]), self._part)
        try:
            return model.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(".".join(map(str, first["loc"])) + f": {first['msg']}") from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        models: list[type[Frozen]] = [getattr(each, self._part) for each in methods()]
        for model in models:
            model.model_rebuild()
        return {"oneOf": [handler(model.__pydantic_core_schema__) for model in models]}


if TYPE_CHECKING:
    AnyRequest = Request
    AnyResult = Result
else:
    AnyRequest = Annotated[Request, _OfItsMethod("request")]
    AnyResult = Annotated[Result, _OfItsMethod("result")]
