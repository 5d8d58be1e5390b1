"""The pages say what the program does: schema, keys, commands, links, and the recorded story."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from workbench.cli import app
from workbench.methods.continuation import ContinueResult
from workbench.methods.logit_lens import LensRequest, LensResult
from workbench.session import load_session

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
SAMPLES = sorted((ROOT / "sessions").glob("*.json"))

MOST_BYTES = 300_000
"""A sample is cloned by everybody."""


def shell_lines() -> list[tuple[str, list[str]]]:
    """Every line of the pages' shell blocks with its page, split as a shell would, without comments."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            words = [shlex.split(line, comments=True) for line in block.splitlines()]
            found += [(page.name, line) for line in words if line]
    return found


WORKBENCH = [(page, line[1:]) for page, line in shell_lines() if Path(line[0]).name == "workbench"]
MAKE = [(page, line[1:]) for page, line in shell_lines() if line[0] == "make"]


def command_of(arguments: list[str]) -> list[str]:
    """The words that name the command: none opens the app, and so does a prompt, which has blanks in it."""
    if not arguments or " " in arguments[0]:
        return ["open"]
    return arguments[:2] if arguments[0] == "models" else arguments[:1]


def test_the_published_schema_is_that_of_the_program() -> None:
    schema = runpy.run_path(str(DOCS / "make_schema.py"))["schema"]()
    published = (DOCS / "session.schema.json").read_text(encoding="utf-8")
    assert published == schema, "run: python docs/make_schema.py > docs/session.schema.json"


def test_the_page_of_keys_has_the_bindings_of_the_app() -> None:
    page = runpy.run_path(str(DOCS / "make_keys.py"))["page"]()
    assert (DOCS / "keys.md").read_text(encoding="utf-8") == page, "run: python docs/make_keys.py > docs/keys.md"


@pytest.mark.parametrize("key", ["enter", "ctrl+t", "g", "v", "[", "q", "f1"])
def test_the_keys_of_the_story_are_on_the_page_of_keys(key: str) -> None:
    assert f"`{key}`" in (DOCS / "keys.md").read_text(encoding="utf-8")


def test_the_pages_show_commands() -> None:
    assert {command_of(line)[0] for _, line in WORKBENCH} >= {
        "open",
        "lens",
        "continue",
        "replay",
        "check",
        "models",
    }
    assert {tuple(line) for page, line in MAKE if page == "README.md"} == {("run",), ("test",)}


@pytest.mark.parametrize(("page", "arguments"), WORKBENCH, ids=lambda value: str(value))
def test_a_command_on_a_page_exists_with_its_options(page: str, arguments: list[str]) -> None:
    command = command_of(arguments)
    program = get_command(app)
    assert isinstance(program, TyperGroup)
    assert command[0] in program.commands, f"{page} shows a command that does not exist"
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, f"{page}: {shown.output}"
    missing = [word for word in arguments if word.startswith("--") and word not in shown.output]
    assert not missing, f"{page} shows options that the command does not have"


def test_the_make_targets_on_the_pages_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {line[0] for _, line in MAKE} <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_code_style_exist(page: Path) -> None:
    named = re.findall(r"`([\w/]+(?:/|\.(?:py|md|json|tcss)))`", page.read_text(encoding="utf-8"))
    places = (ROOT, ROOT / "workbench", ROOT / "workbench" / "models", ROOT / "screens")
    unknown = [name for name in named if not any((place / name).exists() for place in places)]
    assert [name for name in unknown if name not in ("tokenizer.json", "config.json")] == []


def test_there_is_a_sample_session() -> None:
    assert ROOT / "sessions" / "australia.json" in SAMPLES


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.name)
def test_a_sample_session_is_small_and_whole(file: Path) -> None:
    session = load_session(file)
    assert session.model is not None
    assert session.model.name == "smollm2-135m"
    assert [step.status for step in session.steps] == ["done"] * len(session.steps) != []
    assert file.stat().st_size < MOST_BYTES


def test_the_readme_tells_what_the_sample_recorded() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    steps = load_session(ROOT / "sessions" / "australia.json").steps
    bare, behind = (step.result for step in steps if isinstance(step.request, LensRequest))
    assert isinstance(bare, LensResult)
    assert isinstance(behind, LensResult)
    for result in (bare, behind):
        column = result.columns[-1]
        assert column is not None
        assert column.target is not None
        assert column.foil is not None
        assert column.logit_difference is not None
        assert f"{column.target.probability[-1]:.2f}" in readme
        assert f"{column.foil.probability[-1]:.2f}" in readme
        leads = [row - 1 for row, difference in enumerate(column.logit_difference) if difference > 0]
        assert leads == ([] if result is bare else [28, 29])
    assert bare.behind_document is not None
    assert bare.behind_document.token == " Canberra"
    said = next(step.result for step in steps if isinstance(step.result, ContinueResult))
    assert isinstance(said, ContinueResult)
    assert said.text.startswith(" Sydney.")
