"""One house: an editor or an analysis is its own files and one line of a registry, and is everywhere by itself.

A toy of each, declared here and registered for the test alone, is found on the command line, in the app, in the schema,
on the pages and in sessions. They are run in fresh interpreters, where the tables that are made at import have them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import Field

from tests.forked import run as run_forked
from workbench.case import Case
from workbench.editing.changes import DenseChange
from workbench.editing.edit import EditRequest, EditResult
from workbench.editing.editor import Cases, Details, Editor, Made, Settings
from workbench.editing.editors import EDITORS
from workbench.editing.gates import gate
from workbench.editing.layers import check_layer
from workbench.editing.queue import Edit, EditInfo, edit_id
from workbench.editing.rewriting import one_continuation
from workbench.figures import Bar, Bars, Figure, Scale, said
from workbench.lazy import torch
from workbench.protocol import Check, Method, Progress, Request, Result
from workbench.registry import METHODS
from workbench.session import Session, load_session

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

ROOT = Path(__file__).parent.parent
EDITING = "workbench/editing/editors"
PROMPT = "The capital of Australia is"


class ToySettings(Settings):
    """How much is added to a matrix, and which way."""

    layer: Annotated[int, Field(ge=0, description="Where to add it.")] = 1
    amount: Annotated[float, Field(gt=0, le=1, description="What the toy adds to every entry.")] = 0.01
    way: Annotated[Literal["up", "down"], Field(description="Which way the toy goes.")] = "up"


class ToyDetails(Details):
    """What was added."""

    added: float


def make(model: LoadedModel, cases: Cases, settings: ToySettings, progress: Progress) -> Made:
    """Add the same number to every entry of a down-projection."""
    progress(0, 1, stage="toying")
    added = settings.amount * (1 if settings.way == "up" else -1)
    info = EditInfo(id=edit_id(model, "toy", cases, settings), method="toy", title="toyed", layers=(settings.layer,))
    sizes = DenseChange.sizes(model, settings.layer)
    edit = Edit(info, (DenseChange(settings.layer, torch.full((sizes["d_model"], sizes["d_mlp"]), added)),))
    return Made(
        edit, ToyDetails(added=added, checks=(Check(name="toy", text="held"),)), (gate("size", "small", False),)
    )


TOY = Editor(
    "toy",
    "Toy editor",
    "fact",
    ToySettings,
    ToyDetails,
    one_continuation,
    lambda model, _cases, settings: check_layer(model, settings.layer),
    make,
    lambda details: said(f"the toy added {details.added:g}"),
)


class NormsRequest(Request):
    """Ask for the norm of every down-projection."""

    kind: Literal["norms"] = "norms"
    case: Case
    times: Annotated[float, Field(gt=0, description="What the norms are multiplied by.")] = 1.0


class NormsResult(Result):
    """One norm for each layer."""

    kind: Literal["norms"] = "norms"
    norms: tuple[float, ...]


def run(model: LoadedModel, request: NormsRequest, progress: Progress) -> NormsResult:
    """Measure them."""
    progress(0, 1, stage="norms")
    weights = (model.down_projection(layer).weight for layer in range(model.info.layers))
    norms = tuple(request.times * float(weight.norm()) for weight in weights)  # type: ignore[operator]
    return NormsResult(norms=norms, checks=(Check(name="norms", text="exact", level="ok"),))


def figures(result: NormsResult) -> tuple[Figure, ...]:
    """A bar for each."""
    bars = tuple(Bar(label=f"layer {layer}", value=norm) for layer, norm in enumerate(result.norms))
    return (Bars(title="Norms of a toy", bars=bars, scale=Scale(high=max(result.norms))),)


NORMS = Method("Toy norms", NormsRequest, NormsResult, run, figures, help="Print the norms of a toy.", key="f")

LINES = {"EDITORS": ("toy", f"{__name__}:TOY"), "METHODS": ("norms", f"{__name__}:NORMS")}
"""The one line in each registry."""

REGISTERED = f"""
import asyncio, json, sys
for name in [name for name in sys.modules if name.partition(".")[0] in ("workbench", "screens")]:
    del sys.modules[name]  # what was imported before the toys are registered, where the interpreter is a forked one
from workbench.editing.editors import EDITORS
from workbench.registry import METHODS
EDITORS.update([{LINES["EDITORS"]!r}]); METHODS.update([{LINES["METHODS"]!r}])
"""

COMMANDS = """
import io
from contextlib import redirect_stdout
from workbench.cli.main import main

printed = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["workbench", *arguments]
    with redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit as left:
            assert not left.code, (arguments, left.code)
    printed.append(out.getvalue())
print(json.dumps(printed))
"""

TABLES = """
import runpy
from screens.keys import of_methods
from screens.main import MainScreen
from screens.panes import PANES
from workbench.session import Session
pages = {f"page of {name}": runpy.run_path(f"docs/make_{name}.py")["page"]() for name in ("keys", "settings")}
asked = {binding.key: binding.description for binding in MainScreen.BINDINGS if binding.action.startswith("ask(")}
print(json.dumps({
    "schema": Session.model_json_schema(), "panes": [pane.TITLE for pane in PANES], "keys": of_methods(),
    "asked": asked, "heavy": [name for name in ("torch", "transformers") if name in sys.modules], **pages,
}))
"""

APP = """
from pathlib import Path

from screens.app import WorkbenchApp
from screens.live import LiveScreen
from screens.panes.edits.form import EditForm
from screens.panes.edits.list import EditList
from screens.panes.figure_pane import FigurePane
from screens.widgets.choice_field import ChoiceField
from workbench.case import Case
from workbench.events import LoadRequest
from workbench.session import SessionFile

model, session, prompt = sys.argv[1:]

def text(app, pane):
    top, left = pane.region.y, pane.region.x
    lines = [strip.text[left : left + pane.region.width] for strip in app.screen._compositor.render_strips()]
    return " ".join(" ".join(lines[top : top + pane.region.height]).split())

async def play():
    recording = SessionFile.open(Path(session))
    case = Case(prompt=prompt, target=",")
    app = WorkbenchApp(lambda: LiveScreen(LoadRequest(model=model), case, recording))
    async with app.run_test(size=(160, 50)) as pilot:
        async def until(condition):
            while not condition():
                await pilot.pause(0.05)
        main = app._main
        await until(lambda: main.model is not None)
        await pilot.press("escape", "f")
        pane = next(pane for pane in main.others if pane.TITLE == "Toy norms")
        assert isinstance(pane, FigurePane)
        await until(lambda: "layer 2" in text(app, pane) and "norms exact" in text(app, pane))
        await pilot.press("e")
        form = main.query_one(EditForm)
        await until(lambda: form.is_open)
        form.query_one("#editor", ChoiceField).value = "toy"
        await until(lambda: any(field.display for field in form.query("#way")))
        fields = {field.id: field.placeholder for field in form.query(ChoiceField) if field.display}
        form.query_one("#way", ChoiceField).value = "down"
        form.query_one("#target").focus()
        await until(lambda: app.focused is form.query_one("#target"))
        await pilot.press("enter")
        await until(lambda: any(step.request.kind == "edit" for step in main._recording.session.steps))
        edits = main.query_one(EditList)
        await until(lambda: "Toy editor toyed" in text(app, edits))
        print(json.dumps({"fields": fields, "norms": text(app, pane), "edits": text(app, edits)}))
    app._save_and_stop(60.0)

asyncio.run(asyncio.wait_for(play(), 600))
"""


def words(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of the toys keep what they keep, and a tiny model."""
    from tests.tiny import save_tiny

    folder = tmp_path_factory.mktemp("house")
    save_tiny("llama", folder / "model")
    return folder


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both toys, in this interpreter."""
    monkeypatch.setitem(EDITORS, *LINES["EDITORS"])
    monkeypatch.setitem(METHODS, *LINES["METHODS"])


def played(home: Path, program: str, *arguments: str | Path, forked: bool = True) -> str:
    """What a program prints in a fresh interpreter in which the toys are registered."""
    environment = {**os.environ, "LM_WORKBENCH_HOME": str(home / "home"), "COLUMNS": "200"}
    command = ["-c", REGISTERED + program, *map(str, arguments)]
    if forked:
        done = run_forked(*command, env=environment)
    else:
        nothing = subprocess.DEVNULL
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env=environment, stdin=nothing
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def printed(home: Path) -> dict[str, str]:
    """What commands print, run one after the other in one interpreter, in which torch is imported once."""
    record = {"prompt": PROMPT, "subject": "Australia", "target_new": ",", "ground_truth": ".", "case_id": 1}
    (home / "records.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    model = ("--model", home / "model")
    asked = (PROMPT, "--target", ",", *model, "--session", home / "toys.json")
    patch = home / "toy.safetensors"
    commands = {
        "help": ("--help",),
        "help of edit": ("edit", "--help"),
        "help of norms": ("norms", "--help"),
        "edit": ("edit", *asked, "--editor", "toy", "--amount", "0.5", "--save", patch),
        "norms": ("norms", *asked, "--times", "2"),
        "apply": ("edit", PROMPT, "--apply", patch, *model, "--json"),
        "listed": ("editors", "list"),
        "compared": ("editors", "compare", PROMPT, "--target", ",", "--editors", "toy,ft-m", *model, "--json"),
        "records": ("edit", "--facts", home / "records.jsonl", "--editor", "toy", *model, "--json"),
    }
    given = json.dumps([[str(argument) for argument in arguments] for arguments in commands.values()])
    return dict(zip(commands, json.loads(played(home, COMMANDS, given)), strict=True))


def test_both_have_help_on_the_command_line(printed: dict[str, str]) -> None:
    shown = words(printed["help of edit"])
    assert re.search(r"--editor \[[a-z|-]*\|toy\]", shown)
    assert "--amount NUMBER toy: What the toy adds to every entry. (above 0 and at most 1) [default: 0.01]" in shown
    assert "--way [up|down] toy: Which way the toy goes. [default: up]" in shown
    assert "norms Print the norms of a toy." in words(printed["help"])
    shown = words(printed["help of norms"])
    assert "--times NUMBER What the norms are multiplied by. (above 0) [default: 1]" in shown


def test_both_run_on_the_command_line_and_print_their_figures_and_checks(printed: dict[str, str]) -> None:
    edited, norms = words(printed["edit"]), words(printed["norms"])
    assert "toyed" in edited
    assert "the toy added 0.5" in edited
    assert "size small" in edited
    assert "toy held" in edited
    assert re.search(r"Norms of a toy.*layer 0 [\d.]+ █+.*layer 2 [\d.]+ █+.*norms exact", norms)


def test_what_they_found_is_in_a_session_that_loads_again(
    home: Path, printed: dict[str, str], registered: None
) -> None:
    session = load_session(home / "toys.json")
    edit, norms = (step for step in session.steps if step.request.kind in ("edit", "norms"))
    assert isinstance(edit.request, EditRequest)
    assert isinstance(edit.result, EditResult)
    assert edit.request.settings == ToySettings(amount=0.5)
    assert edit.result.details == ToyDetails(added=0.5)
    assert isinstance(norms.request, NormsRequest)
    assert isinstance(norms.result, NormsResult)
    assert norms.request.times == 2
    assert len(norms.result.norms) == 3
    assert Session.model_validate_json(session.model_dump_json()) == session


def test_its_edit_is_in_a_patch_and_records_are_edited_by_it(
    home: Path, printed: dict[str, str], registered: None
) -> None:
    (made,) = (step.result for step in load_session(home / "toys.json").steps if isinstance(step.result, EditResult))
    assert made.edit is not None
    assert json.loads(printed["apply"])["edits"] == [made.edit.id]
    (outcome,) = json.loads(printed["records"])["result"]["records"]
    assert (outcome["title"], outcome["layers"]) == ("toyed", [1])


def test_the_editor_is_listed_and_compared_with_others(printed: dict[str, str]) -> None:
    assert re.search(r"toy +Toy editor +fact +no", printed["listed"])
    toy, other = json.loads(printed["compared"])["result"]["rivals"]
    assert (toy["editor"], toy["title"], toy["edit"]["title"]) == ("toy", "Toy editor", "toyed")
    assert toy["bytes"] == 4 * 16 * 40
    assert other["editor"] == "ft-m"


def test_both_are_in_the_schema_on_the_pages_and_among_keys_and_panes_and_cost_no_torch(home: Path) -> None:
    found: dict[str, Any] = json.loads(played(home, TABLES, forked=False))
    schema = json.dumps(found["schema"])
    for model in (ToySettings, ToyDetails, NormsRequest, NormsResult):
        assert f'"title": "{model.__name__}"' in schema
        assert all(f'"{name}": {{' in schema for name in model.model_fields)
    assert found["panes"][-1] == "Toy norms"
    assert found["asked"]["f"] == "Toy norms"
    assert "f" in found["keys"]
    assert "| `f` | Toy norms: run it for this prompt |" in found["page of keys"]
    assert (
        "| `amount` | What the toy adds to every entry. | number, above 0 and at most 1 | `0.01` |"
        in found["page of settings"]
    )
    assert "### Toy norms (`norms`)" in found["page of settings"]
    assert found["heavy"] == []


def test_both_are_asked_in_the_app_by_a_key_and_in_the_form_of_the_edits(home: Path, registered: None) -> None:
    session = home / "app.json"
    shown = json.loads(played(home, APP, home / "model", session, PROMPT))
    assert {"subject", "target", "editor", "suite", "others", *ToySettings.model_fields} == set(shown["fields"])
    assert (shown["fields"]["amount"], shown["fields"]["way"], shown["fields"]["layer"]) == ("0.01", "up", "1")
    assert "Norms of a toy" in shown["norms"]
    assert "Toy editor toyed" in shown["edits"]
    (edit,) = (step for step in load_session(session).steps if step.request.kind == "edit")
    assert isinstance(edit.request, EditRequest)
    assert edit.request.settings == ToySettings(way="down")
    assert isinstance(edit.result, EditResult)
    assert edit.result.details == ToyDetails(added=-0.01)


@pytest.mark.parametrize(
    ("own", "names", "registry", "lines"),
    [
        ("workbench/methods/dla/", r"\bdla\b|\bDLA\b|direct logit", "workbench/registry.py", 1),
        (f"{EDITING}/fine_tuning", "fine_tuning|ft-[lm]|FT-[LM]|ft-batch", f"{EDITING}/__init__.py", 3),
    ],
)
def test_a_newcomer_is_named_in_its_own_files_and_a_line_of_the_registry(
    own: str, names: str, registry: str, lines: int
) -> None:
    naming = {}
    for package in ("workbench", "screens"):
        for file in (ROOT / package).rglob("*.py"):
            found = [line for line in file.read_text(encoding="utf-8").splitlines() if re.search(names, line)]
            if found and not (name := file.relative_to(ROOT).as_posix()).startswith(own):
                naming[name] = len(found)
    assert naming == {registry: lines}
