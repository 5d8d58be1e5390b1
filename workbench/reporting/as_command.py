"""A step as a command line that asks the same again: by the options of a command where there are some for all of it.

What no command has options for is given to ``workbench run`` as JSON. A test parses every command back.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from workbench.case import Case
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editor
from workbench.errors import InputError
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.models.info import ModelInfo
from workbench.protocol import Frozen, Request
from workbench.registry import method
from workbench.session import Session, Step
from workbench.settings import filled, settings_of, typed_value
from workbench.visible import one_line

LONGEST_ARGUMENT = 100_000
"""Characters; Linux takes 131,072 bytes in one argument."""


def as_command(session: Session, step: Step) -> str:
    """One line to be typed, or several where the request is too long for an argument."""
    model = session.model
    options = [] if model is None else _loading(model)
    note = f"  # it was run with edits on: {one_line(', '.join(step.edits))}" if step.edits else ""
    arguments = _arguments(step.request)
    if arguments is not None and all(
        each.isprintable() and len(each) < LONGEST_ARGUMENT // 4 for each in (*arguments, *options)
    ):
        name, *rest = arguments
        return shlex.join(["workbench", name, *options, *rest]) + note
    text = request_json(step.request)
    if len(text) > LONGEST_ARGUMENT:
        return f"{shlex.join(['workbench', 'run', '-', *options])} <<'REQUEST'{note}\n{text}\nREQUEST"
    return shlex.join(["workbench", "run", *options, text]) + note


def _loading(model: ModelInfo) -> list[str]:
    """The options by which a model is loaded again, or asked where it is."""
    if model.is_remote:
        return [f"--model={model.name.partition(' at ')[0]}", "--remote"]
    return [f"--model={model.name}", f"--dtype={model.dtype}"]


def request_json(request: Request) -> str:
    """A request on one line of ASCII characters, without what is so by default."""
    return json.dumps({"kind": request.kind, **asked(request)}).replace("\x7f", "\\u007f")


def asked(request: Request) -> dict[str, Any]:
    """The fields of a request that are not as by default, as JSON; models in them are whole, but for a case."""
    changed = {
        name
        for name, field in type(request).model_fields.items()
        if name != "kind" and getattr(request, name) != field.get_default(call_default_factory=True)
    }
    found = request.model_dump(mode="json", include=changed)
    if "case" in changed and isinstance(case := getattr(request, "case", None), Case):
        found["case"] = case.model_dump(mode="json", exclude_defaults=True)
    return found


def _arguments(request: Request) -> list[str] | None:
    """The command and its arguments; None where options cannot say all of it."""
    try:
        return _by_options(request)
    except InputError:
        return None


def _by_options(request: Request) -> list[str] | None:
    case = getattr(request, "case", None)
    if not isinstance(case, Case) or not case.prompt.strip() or case.subject_at is not None:
        return None
    own: list[str] = []
    settings_model: Frozen = request
    given: dict[str, Any] = {"case": case}
    command, settings = request.kind, dict(_typed(request))
    if isinstance(request, LensRequest):
        return _lens(request, case, settings)
    if isinstance(request, AttributionRequest):
        command = "attribute"
    elif isinstance(request, TraceRequest):
        own = ["--yes"] if request.confirmed else []
        given["confirmed"] = request.confirmed
    elif isinstance(request, EditRequest):
        if editor(request.editor).of != "fact":
            return None
        own = [f"--editor={request.editor}"]
        settings_model = request.settings
        of_editor = dict(_typed(settings_model))
        given |= {"editor": request.editor, "settings": filled(type(request.settings), of_editor)}
        settings |= of_editor
    elif not method(request.kind).help:
        return None
    if filled(type(request), settings, **given) != request:
        return None
    return [
        command,
        *own,
        *_options(settings, type(request), type(settings_model)),
        *_of_case(case),
    ]


def _lens(request: LensRequest, case: Case, settings: dict[str, str]) -> list[str] | None:
    options = _options(settings, LensRequest)
    if request.positions is None:
        first = [] if request.first is None else [f"--position={request.first}"]
        return ["lens", "--all", *first, *options, *_of_case(case)]
    if request.positions != (request.first,):
        return None
    return ["lens", f"--position={request.first}", *options, *_of_case(case)]


def _typed(model: Frozen) -> Iterator[tuple[str, str]]:
    """The settings that are not as by default, as one would type them. Raises `InputError` for one that cannot be."""
    for setting in settings_of(type(model)):
        value: Any = model
        for name in setting.path:
            value = getattr(value, name)
        text = typed_value(value)
        if text != setting.default:
            if not text.strip():
                raise InputError(f"{setting.name} cannot be typed as nothing")
            yield setting.name, text


def _options(settings: dict[str, str], *models: type[Frozen]) -> Iterator[str]:
    flags = {each.name for model in models for each in settings_of(model) if each.kind == "flag"}
    for name, text in settings.items():
        option = name.replace("_", "-")
        if name in flags:
            yield f"--{option}" if text == "yes" else f"--no-{option}"
        else:
            yield f"--{option}={text}"


def _of_case(case: Case) -> Iterator[str]:
    """The options of a case, and its prompt, which may begin with a dash."""
    for name in ("subject", "target", "foil"):
        if (text := getattr(case, name)) is not None:
            yield f"--{name}={text}"
    if case.prepend != "as-is":
        yield f"--prepend={case.prepend}"
    if case.chat:
        yield "--chat"
    if case.prompt.startswith("-"):
        yield "--"
    yield case.prompt
