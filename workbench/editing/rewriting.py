"""What editors that rewrite facts need of their cases. No model is needed to see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.case import Case
from workbench.editing.editor import Cases
from workbench.errors import InputError
from workbench.reading import shortened


def one_continuation(cases: Cases, settings: Any) -> None:  # noqa: ARG001 - fields check themselves
    """Raise `InputError` where there is not exactly one case, with a prompt and a target."""
    if len(cases) != 1:
        raise InputError("an edit needs one case; give a prompt with its target")
    _check_continuation(cases[0])


def continuations(cases: Cases, settings: Any) -> None:
    """The same for an editor that takes many cases: each with a prompt and a target, and no two that conflict."""
    _each(cases, settings, one_continuation)


def rewrites(cases: Cases, settings: Any) -> None:
    """The same, where every case needs a subject too."""
    _each(cases, settings, one_rewrite)


def _each(cases: Cases, settings: Any, check: Callable[[Cases, Any], None]) -> None:
    """Raise `InputError` where there is no case, one of them does not pass by itself, or two ask the same prompt."""
    if not cases:
        raise InputError("an edit needs a case; give a prompt with its target")
    known: dict[Case, Case] = {}
    for case in cases:
        try:
            check((case,), settings)
        except InputError as error:
            raise (InputError(f"{error} (of the case {shown(case)})") if len(cases) > 1 else error) from None
        asked = case.model_copy(update={"target": None, "foil": None, "subject": None})
        if asked in known:
            targets = " and by ".join(repr((each.target or "").strip()) for each in (known[asked], case))
            raise InputError(
                f"two cases conflict: {shown(case)} is to be continued by {targets}; leave one of them out"
            )
        known[asked] = case


def shown(case: Case) -> str:
    """A case's prompt in a sentence."""
    return repr(shortened(case.prompt, 80))


def one_rewrite(cases: Cases, settings: Any) -> None:
    """The same, where the case needs a subject too: for editors that change what is said about it."""
    one_continuation(cases, settings)
    if not (cases[0].subject or "").strip():
        raise InputError("an edit needs a subject; name the words of the prompt that the fact is about")


def _check_continuation(case: Case) -> None:
    if not case.prompt.strip():
        raise InputError("an edit needs a prompt; type the text that the model continues wrongly")
    if not (case.target or "").strip():
        raise InputError("an edit needs a target; name what the model is to say instead")


def without_foil(case: Case) -> Case:
    """An edit has no use for it: published pairs may begin with the same token."""
    return case if case.foil is None else case.model_copy(update={"foil": None})
