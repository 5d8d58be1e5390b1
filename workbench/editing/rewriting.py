"""What editors that rewrite facts need of their cases. No model is needed to see it."""

from __future__ import annotations

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


def continuations(cases: Cases, settings: Any) -> None:  # noqa: ARG001
    """The same for an editor that takes many cases: each with a prompt and a target, and no two that conflict."""
    if not cases:
        raise InputError("an edit needs a case; give a prompt with its target")
    targets: dict[Case, str | None] = {}
    for case in cases:
        _check_continuation(case)
        asked = case.model_copy(update={"target": None, "foil": None, "subject": None})
        if targets.setdefault(asked, case.target) != case.target:
            raise InputError(
                f"two edits conflict: {shortened(case.prompt, 80)!r} is to be continued by {targets[asked]!r} and by "
                f"{case.target!r}; leave one of them out"
            )


def rewrites(cases: Cases, settings: Any) -> None:
    """Raise `InputError` where there is no case, one of them is no rewrite, or two of them contradict each other."""
    if not cases:
        raise InputError("an edit needs a case; give a prompt with its subject and target")
    known: dict[tuple[str, str, str, bool], Case] = {}
    for case in cases:
        try:
            one_rewrite((case,), settings)
        except InputError as error:
            raise (InputError(f"{error} (of the case {case.prompt!r})") if len(cases) > 1 else error) from None
        key = (case.prompt, case.subject or "", case.prepend, case.chat)
        if (other := known.get(key)) is not None:
            targets = " and ".join(repr((each.target or "").strip()) for each in (other, case))
            raise InputError(
                f"two cases conflict: {case.prompt!r} with the subject {case.subject!r} is to be continued by "
                f"{targets}; leave one of them out"
            )
        known[key] = case


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
