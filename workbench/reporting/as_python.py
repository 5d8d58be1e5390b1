"""A step as a Python program that asks the same again, by `import workbench`. A test runs them."""

from __future__ import annotations

from pprint import pformat

from workbench.editing.edit import EditResult
from workbench.protocol import Request
from workbench.session import Session, Step
from workbench.visible import one_line


def as_python(session: Session, step: Step) -> str:
    """The program. Edits that were on are made first, in their order, where the session has how they were made."""
    model = session.model
    named = "" if model is None else f"{model.name!r}, dtype={model.dtype!r}"
    made = {
        each.result.edit.id: each
        for each in session.steps
        if isinstance(each.result, EditResult) and each.result.edit and each.id < step.id
    }
    lines = ["import workbench", "", f"model = workbench.load({named})"]
    for edit in step.edits:
        if edit in made:
            lines.append(f"workbench.ask(model, {_request(made[edit].request)})  # edit {edit}")
        else:
            lines.append(f"# edit {one_line(edit)} was on, which another session has made")
    lines += [f"result = workbench.ask(model, {_request(step.request)})", "print(workbench.text(result))"]
    return "\n".join(lines) + "\n"


def _request(request: Request) -> str:
    """The request as an expression, without what is so by default."""
    asked = request.model_dump(mode="json", exclude_defaults=True)
    fields = (
        f"{name}={pformat(value, width=100, sort_dicts=False)}" for name, value in asked.items() if name != "kind"
    )
    return f"workbench.request({', '.join([repr(request.kind), *fields])})"
