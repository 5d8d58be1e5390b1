"""Every step as a Python program, which is run here on a tiny model, and the API that it uses."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import workbench
from tests.methods.test_edit_facts import records
from tests.poison import POISON
from tests.reporting.nasty import NASTY, ROOT, Page
from tests.reporting.test_as_command import Asked, asked
from tests.tiny import save_tiny
from workbench.editing.edit import EditResult
from workbench.editing.fix import FixResult
from workbench.errors import InputError
from workbench.methods.lens.logit_lens import LensRequest, LensResult
from workbench.protocol import Check, Request, Result
from workbench.registry import method, methods
from workbench.reporting.as_command import as_command
from workbench.reporting.as_python import as_python
from workbench.session import Session, Step, StepError, load_session

__all__ = ["asked"]  # a fixture

CASE = {"prompt": "The capital of Australia is", "subject": "Australia", "target": ",", "foil": "."}
ROME = {"case": CASE, "settings": {"layer": 1, "prefixes": 1}, "test": False}
ASKED: dict[str, dict[str, object]] = {
    "lens": {"case": CASE},
    "continue": {"case": {"prompt": f"It{POISON[:9]}'\"\n\\is"}, "tokens": 2},
    "attribution": {"case": CASE, "method": "occlusion"},
    "trace": {"case": CASE, "samples": 1},
    "edit": ROME,
    "queue": {"action": "show"},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("python") / "a 'model'")


def played(program: str, capsys: pytest.CaptureFixture[str]) -> tuple[Result, str]:
    names: dict[str, object] = {}
    exec(compile(program, "copied", "exec"), names)
    result = names["result"]
    assert isinstance(result, Result)
    return result, capsys.readouterr().out


@pytest.mark.parametrize("kind", ASKED)
def test_what_is_copied_runs_and_finds_the_same(
    model: Path, kind: str, tmp_path: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "s.json"
    recorded = workbench.ask(workbench.load(str(model)), workbench.request(kind, **ASKED[kind]), session=file)
    session = workbench.load_session(file)
    (step,) = session.steps
    program = as_python(session, step)
    assert program.isprintable() or all(line.isprintable() for line in program.splitlines())
    result, printed = played(program, capsys)
    assert result.model_dump(exclude={"checks"}) == recorded.model_dump(exclude={"checks"})
    assert printed == workbench.text(result) + "\n"


def test_edits_that_were_on_are_made_first(
    model: Path, tmp_path: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, loaded = tmp_path / "s.json", workbench.load(str(model))
    edited = workbench.ask(loaded, workbench.request("edit", **ROME), session=file)
    seen = workbench.ask(loaded, workbench.request("lens", case=CASE), session=file)
    assert isinstance(edited, EditResult)
    session = workbench.load_session(file)
    assert session.steps[1].edits == (edited.edit and edited.edit.id,)
    result, _ = played(as_python(session, session.steps[1]), capsys)
    assert isinstance(result, LensResult)
    assert isinstance(seen, LensResult)
    assert result.columns == seen.columns
    alone = as_python(session.model_copy(update={"steps": session.steps[1:]}), session.steps[1])
    assert "was on, which another session has made" in alone


def test_an_edit_that_a_fix_made_is_made_again(
    model: Path, tmp_path: Path, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, loaded = tmp_path / "s.json", workbench.load(str(model))
    alone = {"name": "alone", "facts": [{"role": "rewrite", "prompt": "It is", "target": "it"}]}
    fixes = workbench.ask(
        loaded, workbench.request("fix", case=CASE, failure="recall", tries=["ft-m"], suite=alone), session=file
    )
    assert isinstance(fixes, FixResult)
    assert [step.request.kind for step in workbench.load_session(file).steps] == ["compare", "fix"]
    (tried,) = fixes.candidates
    assert tried.edit
    entries = [{"info": tried.edit.model_dump(mode="json"), "on": True}]
    workbench.ask(loaded, workbench.request("queue", action="restore", entries=entries), session=file)
    seen = workbench.ask(loaded, workbench.request("lens", case=CASE), session=file)
    session = workbench.load_session(file)
    program = as_python(session, session.steps[-1])
    assert f"# edit {tried.edit.id}\n" in program
    result, _ = played(program, capsys)
    assert isinstance(result, LensResult)
    assert isinstance(seen, LensResult)
    assert result.columns == seen.columns


EVERY: dict[str, object] = {
    "case": CASE,
    "facts": [{"prompt": "It is", "subject": "It", "target": "it"}],
    "fact": {"role": "rewrite", "prompt": "It is", "target": "it"},
    "questions": [{"id": "1", "task": "apples", "question": "How many?", "answer": "7"}],
    "question": "How many?",
    "source": "It was",
    "suite": {"name": "alone", "facts": [{"role": "rewrite", "prompt": "It is", "target": "it"}]},
    "settings": {},
    "records": [record.model_dump(mode="json") for record in records(1)],
}
"""For each field that some request needs, a value of it."""


@pytest.mark.parametrize("kind", [each.kind for each in methods()])
def test_every_kind_of_step_is_asked_again_by_what_is_copied(
    kind: str, asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = method(kind).request.model_fields
    request = workbench.request(kind, **{name: EVERY[name] for name in fields if fields[name].is_required()})
    step = Step(id=1, started=datetime.now(UTC), seconds=0, status="cancelled", request=request)
    assert asked.by(as_command(Session(), step)) == request
    seen: list[Request] = []
    monkeypatch.setattr(workbench, "load", lambda *_, **__: None)
    monkeypatch.setattr(workbench, "ask", lambda _, request: seen.append(request))
    monkeypatch.setattr(workbench, "text", str)
    exec(compile(as_python(Session(), step), "copied", "exec"), {})
    capsys.readouterr()
    assert seen == [request]


def test_a_request_is_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match="nothing of the kind 'lense' to ask; there are lens, "):
        workbench.request("lense")
    with pytest.raises(InputError, match="top-k: 'many' is not a whole number"):
        workbench.request("lens", case=CASE, top_k="many")
    with pytest.raises(InputError, match="case: it is missing"):
        workbench.request("lens")
    assert isinstance(workbench.request("lens", case=workbench.Case(prompt="x")), LensRequest)


def test_an_error_leaves_the_queue_as_it_was_and_the_session_free(model: Path, tmp_path: Path, own_home: Path) -> None:
    file, loaded = tmp_path / "s.json", workbench.load(str(model))
    with pytest.raises(InputError):
        workbench.ask(loaded, workbench.request("lens", case=CASE, positions=(99,)), session=file)
    assert loaded.edits.entries == ()
    workbench.ask(loaded, workbench.request("lens", case=CASE), session=file)
    assert len(load_session(file).steps) == 1


def test_a_notebook_shows_pictures_and_warnings_and_no_stranger_s_markup(model: Path, own_home: Path) -> None:
    result = workbench.ask(workbench.load(str(model)), workbench.request("lens", case=CASE))
    warned = result.model_copy(update={"checks": (Check(name="x", text=NASTY, level="warn"),)})
    page = Page(warned._repr_html_())
    assert "svg" in page.tags
    assert "script" not in page.tags
    assert f"! x: {NASTY}" in page.text
    assert page.open == []


def test_the_module_says_what_is_in_it() -> None:
    for name in workbench.__all__:
        assert getattr(workbench, name).__doc__
    assert "lens" in workbench.kinds()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        workbench.nothing  # noqa: B018


def test_a_step_that_failed_can_be_copied_too() -> None:
    request: Request = workbench.request("lens", case=CASE)
    failed = Step(
        id=1, started=datetime.now(UTC), seconds=0, status="failed", request=request,
        error=StepError(kind="InputError", message="x"),
    )  # fmt: skip
    assert re.search(r"workbench\.request\('lens', case=\{'prompt': 'The capital", as_python(Session(), failed))


def test_the_code_of_the_page_runs(
    model: Path, tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 5
    code = "".join(blocks).replace('"smollm2-135m"', repr(str(model))).replace('"layer": 5', '"layer": 1')
    for answer, known in ((" Canberra", ","), (" Sydney", ".")):  # a tiny model has few tokens, and layers
        code = code.replace(f'"{answer}"', f'"{known}"')
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "docs/python.md", "exec"), names)
    before, after = names["result"], names["edited"]
    assert isinstance(before, LensResult)
    assert isinstance(after, LensResult)
    assert before.columns != after.columns
    assert str(names["svg"]).startswith("<svg")
    assert "lens" in capsys.readouterr().out
