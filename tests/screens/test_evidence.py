"""Out of the terminal by a key: files in the working folder, the clipboard, and the report, live and in a replay."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList

from screens.evidence import ExportScreen, Wanted, export, name_of
from screens.sessions import SessionList
from tests.reporting.nasty import Page
from tests.screens.test_app import HERO, ask_hero, running
from tests.screens.test_replay import STORY, record, replaying
from workbench import paths
from workbench.cli.output import MOST_COPIED
from workbench.figures import Lines, Table, line
from workbench.methods.lens.logit_lens import LensRequest
from workbench.session import SessionFile, load_session


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program was started."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_picture_becomes_a_file_and_is_copied(folder: Path) -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("X", "c")
        await run.settle()
        assert names(folder) == ["lens-1-1.csv"]
        text = (folder / "lens-1-1.csv").read_text(encoding="utf-8")
        assert run.app.clipboard == text
        assert f"Written to {folder / 'lens-1-1.csv'}, and copied." in run.notified
        first, *_ = csv.DictReader(text.splitlines())
        assert first["token"] == "The"
        await run.pilot.press("X", "s", "X", "c")
        await run.settle()
        assert names(folder) == ["lens-1-1-2.csv", "lens-1-1.csv", "lens-1-1.svg"]


async def test_a_step_is_copied_as_a_command_and_as_python(folder: Path) -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("X", "end", "up", "enter")
        await run.settle()
        assert shlex.split(run.app.clipboard)[:3] == ["workbench", "lens", "--model=tiny"]
        await run.pilot.press("X", "end", "enter")
        await run.settle()
        assert run.app.clipboard.startswith("import workbench\n")
        assert names(folder) == ["lens-1.py", "lens-1.sh"]


async def test_all_figures_of_a_step_go_into_one_file_but_not_as_a_picture(folder: Path) -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("X", "end", "up", "up", "m")
        await run.settle()
        assert names(folder) == ["lens-1.md"]
        await run.pilot.press("X", "end", "up", "up", "s")
        await run.settle()
        assert "an SVG file holds one picture" in run.notified
        assert names(folder) == ["lens-1.md"]


async def test_escape_writes_nothing_and_the_dialog_names_what_there_is(folder: Path) -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("X")
        await run.settle()
        assert isinstance(run.app.screen, ExportScreen)
        options = [str(option.prompt) for option in run.app.screen.query_one(OptionList).options]
        assert options[0].startswith("Logit lens")
        assert options[-3:] == ["All of these", "Copy as command", "Copy as Python"]
        await run.pilot.press("escape")
        await run.settle()
        assert run.app.screen is run.main
        assert names(folder) == []


def test_a_picture_without_a_title_is_named_by_what_it_says_first() -> None:
    assert name_of(Lines(lines=(line("a patch was saved", "plain"), line("and more", "note")))) == "a patch was saved"
    assert name_of(Lines(title="Edits", lines=(line("none", "note"),))) == "Edits"
    assert name_of(Table(columns=("a",), rows=())) == "table"


async def test_a_pane_without_a_result_has_nothing_to_export(folder: Path) -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("3", "X")
        await run.settle()
        assert "nothing to export yet" in run.notified
        assert run.app.screen is run.main


async def test_the_report_of_the_session_is_written_with_its_hash(folder: Path) -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("R")
        await run.until(lambda: "The report was written to" in run.notified)
        text = Page((folder / "report.html").read_text(encoding="utf-8")).text
        assert HERO.prompt in text
        assert "sha256sum" in text
        assert run.main._recording.path.name in text


async def test_a_folder_that_cannot_be_written_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("screens.evidence.write_atomically", full)
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("X", "c")
        await run.settle()
        assert "cannot be written: No space left on device" in run.notified
        await run.pilot.press("R")
        await run.until(lambda: run.notified.count("No space left") == 2)


async def test_a_replay_exports_the_step_that_is_looked_at(tmp_path: Path, folder: Path) -> None:
    async with replaying(record(tmp_path / "story.json", *STORY)) as run:
        await run.press("left_square_bracket", "X", "j")
        assert names(folder) == ["lens-5-1.json"]
        await run.press("left_curly_bracket", "X", "t", "R")
        await run.app.workers.wait_for_complete()
        assert names(folder) == ["lens-1-1.txt", "lens-5-1.json", "report.html"]


def test_what_is_too_large_for_a_clipboard_is_only_a_file(tmp_path: Path, folder: Path) -> None:
    session = load_session(record(tmp_path / "story.json", *STORY))
    step = session.steps[0]
    assert isinstance(step.request, LensRequest)
    case = step.request.case.model_copy(update={"prompt": "x" * MOST_COPIED})
    long = step.model_copy(update={"request": LensRequest(case=case)})
    content, said = export(session, long, Wanted("python"))
    assert content == ""
    assert said == f"Written to {folder / 'lens-1.py'}; it is too large for the clipboard."
    assert (folder / "lens-1.py").stat().st_size > MOST_COPIED


async def test_titles_and_notes_are_kept_in_the_session(folder: Path) -> None:
    async with running() as run:
        await ask_hero(run)
        await run.pilot.press("N", *"odd", "shift+tab", *"Lens", "shift+tab", *"all", "shift+tab", *"Hero", "enter")
        await run.settle()
        await run.until(lambda: run.main._recording.session.title == "Hero")
        session = load_session(run.main._recording.path)
        assert (session.title, session.note) == ("Hero", "all")
        assert [(step.title, step.note) for step in session.steps] == [("Lens", "odd")]
        await run.pilot.press("N", *"!", "escape")
        await run.settle()
        await run.pilot.press("N", "enter")
        await run.settle()
        assert load_session(run.main._recording.path) == session


async def test_a_replay_takes_no_notes(tmp_path: Path) -> None:
    async with replaying(record(tmp_path / "story.json", *STORY)) as run:
        await run.press("N")
        assert run.app.screen is run.main


async def test_a_session_is_found_by_words_in_the_dialog(tmp_path: Path) -> None:
    folder = paths.sessions_folder()
    record(folder / "other.json", STORY[0])
    file = record(folder / "wanted.json", *STORY)
    annotated = SessionFile.open(file)
    annotated.annotate(title="The wanted one")
    annotated.close()
    async with running() as run:
        await run.pilot.press("escape", "ctrl+o")
        await run.until(lambda: len(run.app.screen.query_one(SessionList)._paths) == 2)
        run.app.screen.query_one(Input).focus()
        await run.pilot.press(*"wanted one")
        await run.until(lambda: run.app.screen.query_one(SessionList)._paths == [file])
        assert "The wanted one" in run.text
        await run.pilot.press("enter")
        await run.until(lambda: run.main._recording.path == file)
