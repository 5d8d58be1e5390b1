"""What editors that rewrite facts need of their cases. No model is needed to see it."""

from __future__ import annotations

from typing import Any

from workbench.editing.editor import Cases
from workbench.errors import InputError


def one_continuation(cases: Cases, settings: Any) -> None:  # noqa: ARG001 - fields check themselves
    """Raise `InputError` where there is not exactly one case, with a prompt and a target."""
    if len(cases) != 1:
        raise InputError("an edit needs one case; give a prompt with its target")
    (case,) = cases
    if not case.prompt.strip():
        raise InputError("an edit needs a prompt; type the text that the model continues wrongly")
    if not (case.target or "").strip():
        raise InputError("an edit needs a target; name what the model is to say instead")


def one_rewrite(cases: Cases, settings: Any) -> None:
    """The same, where the case needs a subject too: for editors that change what is said about it."""
    one_continuation(cases, settings)
    if not (cases[0].subject or "").strip():
        raise InputError("an edit needs a subject; name the words of the prompt that the fact is about")
