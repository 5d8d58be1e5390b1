"""Rivals: every editor makes its hypothesis on the same case, is tested by the same suite, and is taken back.

The edits are kept in the cache, so that one of them can be put into the queue without being made again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from workbench.case import Case
from workbench.datasets.suites import Suite, SuiteFact, suite_for
from workbench.editing.edit import Chosen, check
from workbench.editing.editors import editor, editors
from workbench.editing.patches import keep_edit, size_in_bytes
from workbench.editing.queue import EditInfo, QueueState
from workbench.editing.standings import Standing
from workbench.editing.suite.regression import SuiteRequest, baseline, run_suite
from workbench.errors import Cancelled, InputError, WorkbenchError
from workbench.protocol import Check, Progress, Request, Result, part
from workbench.settings import Listed

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


class CompareRequest(Request):
    """Ask ``editors``, each with settings of its own, for an edit of ``case``: all of facts where none is named.

    ``suite`` tests them, or the one that the shipped facts give for the case, or the rewrite alone. An editor may be
    given as its name, which means its defaults.
    """

    kind: Literal["compare"] = "compare"
    case: Case
    editors: Annotated[
        tuple[Chosen, ...], Listed, Field(description="The editors to compare, with commas; else all of facts.")
    ] = ()
    suite: Suite | None = None

    @model_validator(mode="before")
    @classmethod
    def _editors_by_name(cls, data: Any) -> Any:
        if isinstance(data, dict):
            given = data.get("editors") or ()
            given = tuple(name.strip() for name in given.split(",")) if isinstance(given, str) else given
            named = given or tuple(each.name for each in editors("fact"))
            data = {**data, "editors": tuple({"editor": one} if isinstance(one, str) else one for one in named)}
        return data


class Rival(Standing):
    """An editor's hypothesis: ``edit`` is kept and in no queue. ``sound`` where no gate warns; ``warned`` are those.

    ``failing`` facts of the suite, with whatever is prepended, are failures of the edit.
    """

    editor: str
    edit: EditInfo | None = None
    sound: bool = True
    warned: tuple[str, ...] = ()
    failing: int | None = None


class CompareResult(Result):
    """A row for each editor, in the order in which they were asked; ``queue`` is as it was."""

    kind: Literal["compare"] = "compare"
    suite: Suite
    rivals: tuple[Rival, ...] = ()
    queue: QueueState


def run(model: LoadedModel, request: CompareRequest, progress: Progress) -> CompareResult:
    """Let every editor make its edit, test it, and take it back. The queue stays as it is.

    What one editor cannot do is said in its row. Progress counts a hundred for each; a partial result has the rows so
    far. Raises `InputError` for a case that makes no sense for any editor, and for unknown or repeated editors.
    """
    names = [chosen.editor for chosen in request.editors]
    if len(set(names)) < len(names):
        raise InputError("an editor is named twice; name each once")
    for name in names:
        if editor(name).of != "fact":
            raise InputError(f"{editor(name).title} acts on a concept and rewrites no fact; leave {name} out")
    if not (request.case.target or "").strip():
        raise InputError("editors are compared by what they make the model say; give a target")
    suite = request.suite or suite_for(request.case) or rewrite_alone(request.case)
    rivals: list[Rival] = []

    def found() -> CompareResult:
        return CompareResult(suite=suite, rivals=tuple(rivals), queue=model.edits.state, checks=_checks(rivals))

    steps = len(request.editors) + 1
    within = part(progress, 0, 100, 100 * steps, "unedited: {}", lambda _: None)
    baseline(model, SuiteRequest(suite=suite, generate=False), within)
    for number, chosen in enumerate(request.editors, 1):
        so_far = found() if rivals else None
        stage = f"{editor(chosen.editor).title}: {{}}"
        within = part(progress, 100 * number, 100, 100 * steps, stage, lambda _: so_far)  # noqa: B023
        rivals.append(_rival(model, request.case, chosen, suite, within))
        progress(100 * (number + 1), 100 * steps, found(), stage="comparing")
    return found()


def _rival(model: LoadedModel, case: Case, chosen: Chosen, suite: Suite, progress: Progress) -> Rival:
    by, cases = editor(chosen.editor), (case,)
    try:
        check(model, by, cases, chosen.settings)
        began = time.perf_counter()
        made = by.make(model, cases, chosen.settings, part(progress, 0, 80, 100))
        seconds = time.perf_counter() - began
        keep_edit(model.info.fingerprint, made.edit)
        with model.edits.added(made.edit):
            tested = run_suite(model, suite, part(progress, 80, 20, 100, "suite: {}"), generate=False)
    except Cancelled:
        raise
    except WorkbenchError as error:
        return Rival(editor=by.name, title=by.title, why=str(error))
    warned = tuple(f"{gate.name} {gate.text}" for gate in made.gates if gate.level == "warn")
    return Rival(
        editor=by.name,
        title=by.title,
        scores=tested.scores,
        overlapping=tested.overlapping,
        perplexity=tested.perplexity,
        perplexity_before=tested.perplexity_before,
        seconds=round(seconds, 2),
        bytes=size_in_bytes(made.edit),
        edit=made.edit.info,
        sound=not warned,
        warned=warned,
        failing=sum(map(tested.is_failure, tested.outcomes)),
    )


def rewrite_alone(case: Case) -> Suite:
    """Where nothing else is known about the case."""
    target = case.target or ""
    fact = SuiteFact(role="rewrite", prompt=case.prompt, subject=case.subject, target=target, against=case.foil)
    return Suite(name=f"{case.subject or case.prompt} → {target.strip()}", facts=(fact,))


def _checks(rivals: list[Rival]) -> tuple[Check, ...]:
    without = [rival.title for rival in rivals if rival.edit is None]
    suspicious = [rival.title for rival in rivals if not rival.sound]
    found = [Check(name="compared", text=f"{len(rivals) - len(without)} of {len(rivals)} editors made an edit")]
    if without:
        found.append(Check(name="not made", text=", ".join(without), level="warn"))
    if suspicious:
        found.append(Check(name="suspicious", text=", ".join(suspicious), level="warn"))
    return tuple(found)
