"""Every step as a command: what is copied asks for the same again, whatever the step was."""

from __future__ import annotations

import ast
import io
import shlex
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.poison import DROP, POISON
from tests.reporting.nasty import NASTY, ROOT
from workbench.case import Case
from workbench.cli import asking, evidence
from workbench.cli import main as cli
from workbench.datasets.suites import Suite, SuiteFact
from workbench.editing.compare import CompareRequest
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editor
from workbench.editing.editors.rome.rome import RomeSettings
from workbench.editing.operations import QueueRequest
from workbench.editing.suite.regression import SuiteRequest
from workbench.methods.attribution.attribution import AttributionRequest
from workbench.methods.cot.truncation import CotRequest
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.methods.tracing.causal_trace import TraceRequest
from workbench.models.info import ModelInfo
from workbench.protocol import Request
from workbench.registry import method
from workbench.reporting.as_command import LONGEST_ARGUMENT, as_command
from workbench.reporting.as_python import as_python
from workbench.session import Session, Step, load_session

CASE = Case(prompt="The capital of Australia is", subject="Australia", target="Canberra", foil="Sydney")
ODD = Case(prompt='--model isn\'t "$HOME" `id`; # no\\', target="-x", foil="$(id)", prepend="separator", chat=True)
MODEL = ModelInfo(
    name="some model", architecture="llama", fingerprint="ab", parameters=1, layers=2, d_model=3, vocabulary=4,
    context=5, dtype="bfloat16", device="cpu", attention_kernel="sdpa", chat_template=False,
)  # fmt: skip
SUITE = Suite(name="mine", facts=(SuiteFact(role="rewrite", prompt="It is", target="it"),))

BY_OPTIONS: tuple[tuple[str, Request], ...] = (
    ("lens --all", LensRequest(case=CASE)),
    ("lens --all", LensRequest(case=ODD, first=2, top_k=3)),
    ("lens", LensRequest(case=CASE, first=3, positions=(3,))),
    ("continue", ContinueRequest(case=ODD, tokens=3)),
    ("dla", method("dla").request.model_validate({"case": CASE, "position": 2})),
    ("attribute", AttributionRequest(case=CASE, method="occlusion", unit="word")),
    ("trace", TraceRequest(case=CASE, kinds=("states", "mlp"), samples=3, confirmed=True)),
    ("edit", EditRequest(case=CASE, settings=RomeSettings())),
    ("edit", EditRequest(case=CASE, editor="rome", settings=RomeSettings(layer=1), sweep=(3, 4), test=False)),
    ("edit", EditRequest(case=CASE, editor="memit", settings=editor("memit").settings())),
)
AS_JSON: tuple[Request, ...] = (
    LensRequest(case=CASE, positions=(1, 2)),
    EditRequest(case=CASE, settings=RomeSettings(), suite=SUITE),
    EditRequest(editor="leace", settings={"concept": "tense"}),  # type: ignore[arg-type]
    SuiteRequest(suite=SUITE),
    CompareRequest(case=CASE),
    QueueRequest(action="save", path="a file.safetensors"),
    CotRequest(question="How many? Isn't it 7?\nThink."),
    ContinueRequest(case=Case(prompt=f"{NASTY}{POISON}\x7f\n'", target=DROP)),
    ContinueRequest(case=Case(prompt="x" * LONGEST_ARGUMENT)),
    ContinueRequest(case=Case(prompt="$HOME 'EOF'\nREQUEST\n" * 9_000)),
)


def step(request: Request, edits: tuple[str, ...] = ()) -> Step:
    return Step(id=1, started=datetime.now(UTC), seconds=0, status="cancelled", request=request, edits=edits)


class Asked:
    """What a command would have run, had it a model."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan: asking.Plan
        self.load: Any
        self._patch = monkeypatch
        for module in (asking, evidence):
            monkeypatch.setattr(module, "carry_out", self._note)

    def _note(self, plan: asking.Plan, load: object, session: object, json: bool) -> None:
        self.plan, self.load = plan, load

    def by(self, command: str) -> Request:
        """The request of a command, read as a shell would."""
        line, _, rest = command.partition(" <<'REQUEST'")
        if rest:
            self._patch.setattr(sys, "stdin", io.StringIO(rest.partition("\n")[2].removesuffix("REQUEST")))
        name, *arguments = shlex.split(line, comments=True)
        assert name == "workbench"
        cli.app(arguments, standalone_mode=False)
        return self.plan.request


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, own_home: object) -> Asked:
    return Asked(monkeypatch)


@pytest.mark.parametrize(("command", "request_"), BY_OPTIONS, ids=[command for command, _ in BY_OPTIONS])
def test_a_command_with_options_asks_for_the_same(asked: Asked, command: str, request_: Request) -> None:
    line = as_command(Session(model=MODEL), step(request_))
    assert "\n" not in line
    words = shlex.split(line, comments=True)
    assert words[1] == command.split()[0]
    assert set(command.split()) <= set(words)
    assert asked.by(line) == request_
    assert (asked.load.model, asked.load.dtype) == (MODEL.name, MODEL.dtype)
    assert not asked.plan.before


@pytest.mark.parametrize("request_", AS_JSON, ids=lambda request: request.kind)
def test_what_has_no_options_is_run_as_json(asked: Asked, request_: Request) -> None:
    line = as_command(Session(model=MODEL), step(request_))
    assert line.startswith("workbench run ")
    assert line.isascii()
    assert all(c.isprintable() for c in line.replace("\n", ""))
    assert max(map(len, shlex.split(line.partition(" <<")[0], comments=True))) <= LONGEST_ARGUMENT
    assert asked.by(line) == request_


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "sessions").glob("*.json")))
def test_every_step_of_the_samples_is_asked_again(asked: Asked, name: str) -> None:
    session = load_session(ROOT / "sessions" / f"{name}.json")
    for each in session.steps:
        assert asked.by(as_command(session, each)) == each.request


def test_edits_that_were_on_are_said_in_a_comment(asked: Asked) -> None:
    line = as_command(Session(), step(LensRequest(case=CASE), ("0123abcd",)))
    assert line.endswith("  # it was run with edits on: 0123abcd")
    assert asked.by(line) == LensRequest(case=CASE)


def test_what_a_stranger_calls_an_edit_or_a_model_stays_a_comment_or_a_name(asked: Asked) -> None:
    named = MODEL.model_copy(update={"name": f"x'; id\n{POISON}"})
    edit = "0\nworkbench doctor"
    line = as_command(Session(model=named), step(LensRequest(case=CASE), (edit,)))
    assert asked.by(line) == LensRequest(case=CASE)
    assert asked.load.model == named.name
    program = as_python(Session(model=named), step(LensRequest(case=CASE), (edit, "1\rimport os", "2\u2028import os")))
    statements = ast.parse(program).body
    assert [type(statement) for statement in statements] == [ast.Import, ast.Assign, ast.Assign, ast.Expr]
