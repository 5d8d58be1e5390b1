"""A step as a Python program that asks the same again, by `import workbench`. A test runs them."""

from __future__ import annotations

from pprint import pformat
from typing import Any

from workbench.editing.edit import EditResult
from workbench.protocol import Request
from workbench.reporting.edits import tried_in
from workbench.session import Session, Step
from workbench.visible import one_line


def as_python(session: Session, step: Step) -> str:
    """The program. Edits that were on are made first, in their order, where the session has how they were made."""
    model = session.model
    named = "" if model is None else f"{model.name!r}, dtype={model.dtype!r}"
    made: dict[str, str] = {}
    for each in session.steps:
        if each.id < step.id:
            made.update({tried.info.id: _expression("edit", tried.asked) for tried in tried_in(each)})
            if isinstance(each.result, EditResult) and each.result.edit:
                made[each.result.edit.id] = _request(each.request)
    lines = ["import workbench", "", f"model = workbench.load({named})"]
    for edit in step.edits:
        if edit in made:
            lines.append(f"workbench.ask(model, {made[edit]})  # edit {edit}")
        else:
            lines.append(f"# edit {one_line(edit)} was on, which another session has made")
    lines += [f"result = workbench.ask(model, {_request(step.request)})", "print(workbench.text(result))"]
    return "\n".join(lines) + "\n"


def _request(request: Request) -> str:
    """The request as an expression, without what is so by default."""
    asked = request.model_dump(mode="json", exclude_defaults=True)
    return _expression(request.kind, {name: value for name, value in asked.items() if name != "kind"})


def _expression(kind: str, asked: dict[str, Any]) -> str:
    fields = (f"{name}={pformat(value, width=100, sort_dicts=False)}" for name, value in asked.items())
    return f"workbench.request({', '.join([repr(kind), *fields])})"
