"""The editors there are: for each the object that declares it. Adding an editor is one line here."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Literal

from workbench.editing.editor import Editor
from workbench.errors import InputError

EDITORS: dict[str, str] = {
    "rome": "workbench.editing.editors.rome.rome:ROME",
    "memit": "workbench.editing.editors.memit.memit:MEMIT",
    "alphaedit": "workbench.editing.editors.memit.alphaedit:ALPHAEDIT",
    "ft-l": "workbench.editing.editors.fine_tuning:FT_L",
    "ft-m": "workbench.editing.editors.fine_tuning:FT_M",
    "ft-batch": "workbench.editing.editors.fine_tuning_batch:FT_BATCH",
    "grace": "workbench.editing.editors.grace.grace:GRACE",
    "in-context": "workbench.editing.editors.in_context:IN_CONTEXT",
    "steer-answer": "workbench.editing.editors.steering.answer:STEER_ANSWER",
    "mend": "workbench.editing.editors.mend.mend:MEND",
    "leace": "workbench.editing.editors.erasure.erasure:LEACE",
    "orth": "workbench.editing.editors.erasure.erasure:ORTHOGONAL",
    "steer": "workbench.editing.editors.erasure.erasure:STEERING",
    "contrast": "workbench.editing.editors.steering.steering:CONTRAST",
}
"""By name, in the order in which they are offered."""


def editor(name: str) -> Editor:
    """The editor of a name. Raises `InputError` where there is none."""
    if name not in EDITORS:
        raise InputError(f"there is no editor {name!r}; choose one of {', '.join(EDITORS)}")
    found: Editor = resolve_name(EDITORS[name])
    assert found.name == name, f"{EDITORS[name]} is called {found.name!r}"
    return found


def editors(of: Literal["fact", "concept", "behaviour"]) -> tuple[Editor, ...]:
    """Those that rewrite facts, act on concepts, or steer behaviour. Imports all."""
    return tuple(each for each in map(editor, EDITORS) if each.of == of)
