"""Sweeps as they are asked for in the app: by the name of a file, how many of its records, and who is to answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from workbench.editing.edit import WithSettings
from workbench.editing.editors import editor, editors
from workbench.errors import InputError
from workbench.protocol import Frozen, Method
from workbench.registry import methods
from workbench.settings import filled, listed
from workbench.shards import RecordsSweep


class SweepAsked(Frozen):
    """What is said of a sweep beside the settings of its method. ``workers`` 0: the engine that has the model."""

    file: Annotated[
        str,
        Field(description="A file of records, facts or questions, one JSON object a line; or a shipped set's name."),
    ]
    limit: Annotated[
        int | None, Field(ge=1, description="Take only so many of the records; of questions, so many of each task.")
    ] = None
    workers: Annotated[
        int,
        Field(
            ge=0,
            le=64,
            description="Processes that answer, each with a copy of the model, while it is free here; 0: all wait.",
        ),
    ] = 1


def sweeps() -> dict[str, Method]:
    """The methods whose sweeps can be asked for by the name of a file, by their kinds."""
    return {method.kind: method for method in methods() if method.records is not None}


def settings_models(kind: str, by: str) -> tuple[type[Frozen], ...]:
    """What has the settings of a sweep: how it is asked, its request, and the editors that are named, if it has any.

    Raises `InputError` for a kind or an editor that there is not.
    """
    request = _sweep(kind).request
    if not issubclass(request, WithSettings):
        return SweepAsked, request
    return SweepAsked, request, *(editor(name).settings for name in _named(by))


def asked(kind: str, by: str, typed: Mapping[str, str]) -> tuple[tuple[RecordsSweep, ...], int]:
    """The sweeps, one for each editor ``by`` which records are edited, and by how many workers.

    A setting is for those editors that have it. Raises `InputError` for what cannot be read, what makes no sense, and
    records that cannot be shared out.
    """
    sweep = _sweep(kind)
    said = filled(SweepAsked, typed, **({} if typed.get("file", "").strip() else {"file": ""}))
    if not said.file.strip():
        raise InputError("name a file of records; the line of each is one JSON object")
    assert sweep.records is not None
    assert issubclass(sweep.request, RecordsSweep)
    given: dict[str, Any] = {sweep.request.OVER: sweep.records(said.file, said.limit)}
    if said.workers and "confirmed" in sweep.request.model_fields:
        given["confirmed"] = True  # how long it takes is seen, and nobody waits for it
    if issubclass(sweep.request, WithSettings):
        chosen = [{**given, "editor": name, "settings": filled(editor(name).settings, typed)} for name in _named(by)]
    else:
        chosen = [given]
    found = tuple(filled(sweep.request, typed, **each) for each in chosen)
    if said.workers and (why := found[0].cannot_be_shared()):
        raise InputError(f"{why}, so they cannot be shared out; set workers to 0, and other questions wait")
    return found, said.workers


def _sweep(kind: str) -> Method:
    known = sweeps()
    if kind not in known:
        raise InputError(f"there is no sweep {kind!r}; choose one of {', '.join(known)}")
    return known[kind]


def _named(by: str) -> tuple[str, ...]:
    """The names of editors between commas, each once; ``all`` of them. Raises `InputError`."""
    known = tuple(each.name for each in editors("fact"))
    names = known if by.strip() == "all" else tuple(dict.fromkeys(listed(by)))
    for name in names:
        if name not in known:
            raise InputError(f"there is no editor {name!r}; choose among {', '.join(known)}, or all")
    if not names:
        raise InputError(f"no editor is named; choose among {', '.join(known)}, or all")
    return names
