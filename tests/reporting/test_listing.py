"""Sessions found again: at a glance, by words, with the title and the note that somebody gave them."""

from __future__ import annotations

import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from tests.poison import MARK, POISON_NAME, raw_in
from tests.reporting.nasty import ROOT
from tests.test_cli import Run, workbench
from workbench import paths
from workbench.errors import InputError, SessionError
from workbench.reporting import listing
from workbench.reporting.listing import sessions_in
from workbench.session import SessionFile, load_session

__all__ = ["workbench"]  # a fixture


@pytest.fixture
def folder(own_home: Path, tmp_path: Path) -> Path:
    """The samples, australia the latest."""
    place = paths.sessions_folder()
    place.mkdir(parents=True)
    for age, name in enumerate(("australia", "canberra", "eiffel", "tom")):
        shutil.copy(ROOT / "sessions" / f"{name}.json", place)
        os.utime(place / f"{name}.json", (1e9 - age, 1e9 - age))
    return place


def names(folder: Path, search: str = "") -> list[str]:
    return [each.path.stem for each in sessions_in([folder]) if each.has(search)]


def test_the_latest_is_first_and_each_says_what_came_of_it(folder: Path) -> None:
    found = {each.path.stem: each for each in sessions_in([folder])}
    assert list(found) == ["australia", "canberra", "eiffel", "tom"]
    assert found["canberra"].verdict == "says “Canberra” 0.99, as wanted, 1 edit on"
    assert found["eiffel"].summary == (
        "The Eiffel Tower is located in the city of · 3 steps · smollm2-135m · says “Paris” 0.70, as wanted"
    )
    assert found["tom"].steps == 3


def test_a_name_that_is_no_text_is_listed_as_any_other(folder: Path, workbench: Run) -> None:
    odd = folder / f"odd\udc9d{POISON_NAME}.json"
    shutil.copy(folder / "tom.json", odd)
    (folder / "bad\udc9d.json").write_text("{")
    for _ in range(2):  # read, and kept
        assert next(each for each in sessions_in([folder]) if each.has("odd")).path == odd
    listed = json.loads(workbench("sessions", "odd", "--json").out)
    assert [each["steps"] for each in listed] == [3]
    shown = workbench("sessions").out
    assert MARK in shown
    assert "bad⟨9D⟩.json" in shown
    damaged = next(each for each in sessions_in([folder]) if each.has("bad"))
    assert damaged.summary.startswith("bad⟨9D⟩.json is "), "why, first of all: a row has no room for the path"
    assert not raw_in(shown)


@pytest.mark.parametrize(
    ("search", "wanted"),
    [
        ("canberra", ["australia", "canberra"]),
        ("EIFFEL rome", ["eiffel"]),
        ("edit on", ["canberra"]),
        ("smollm2 trace", ["australia", "eiffel"]),
        ("2001-09-09 cot", ["tom"]),
        ("nothing", []),
    ],
)
def test_a_session_is_found_by_any_words_of_it(folder: Path, search: str, wanted: list[str]) -> None:
    assert names(folder, search) == wanted


def test_what_was_read_is_kept_until_the_file_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(sessions_in([folder]))
    read = []
    monkeypatch.setattr(listing, "load_session", lambda path, most: read.append(path.stem) or load_session(path, most))
    assert list(sessions_in([folder])) == before
    assert read == []
    file = SessionFile.open(folder / "tom.json")
    file.annotate(title="Apples")
    file.close()
    assert next(iter(sessions_in([folder]))).title == "Apples"
    assert read == ["tom"]
    (folder.parent / "sessions-index.json").write_text("{")
    assert len(names(folder)) == 4
    assert len(read) == 5


def test_a_title_and_a_note_change_nothing_else(folder: Path, workbench: Run) -> None:
    path = folder / "canberra.json"
    before = load_session(path)
    assert workbench("note", str(path), "for the review", "--title", "Hero").code == 0
    assert workbench("note", str(path), "look here", "--step", "2").code == 0
    after = load_session(path)
    assert (after.title, after.note, after.steps[1].note) == ("Hero", "for the review", "look here")
    steps = tuple(step.model_copy(update={"note": ""}) for step in after.steps)
    assert after.model_copy(update={"title": "", "note": "", "steps": steps}) == before
    assert names(folder, "review") == names(folder, "look here") == names(folder, "hero") == ["canberra"]
    file = SessionFile.open(path)  # and steps are appended after it
    file.append(before.steps[0])
    file.close()
    assert len(load_session(path).steps) == len(before.steps) + 1
    assert load_session(path).title == "Hero"


def test_what_cannot_be_noted_is_said(folder: Path, workbench: Run) -> None:
    path = folder / "canberra.json"
    before = path.read_bytes()
    workbench("note", str(path)).is_refused("neither a note nor a --title")
    workbench("note", str(path), "x", "--step", "99").is_refused("no step 99")
    workbench("note", str(folder / "none.json"), "x").is_refused("no session file")
    held = SessionFile.open(path, "the app")
    try:
        workbench("note", str(path), "x").is_refused("the app")
    finally:
        held.close()
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="no step 99"):
        SessionFile.open(path).annotate(99, note="x")


def test_a_note_that_cannot_be_written_is_kept_and_written_in_the_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SessionFile.open(folder / "tom.json")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("workbench.session.write_atomically", full)
        with pytest.raises(SessionError, match="No space left"):
            file.annotate(1, note="kept")
    assert load_session(folder / "tom.json").steps[0].note == ""
    file.close()
    assert load_session(folder / "tom.json").steps[0].note == "kept"


def test_the_command_lists_finds_and_prints_json(folder: Path, workbench: Run) -> None:
    shown = workbench("sessions").out
    assert all(f"{name}.json" in shown for name in ("australia", "canberra", "eiffel", "tom"))
    assert "canberra.json" not in workbench("sessions", "paris").out
    assert "no session has 'nowhere at all'" in workbench("sessions", "nowhere", "at", "all").out
    (found,) = json.loads(workbench("sessions", "--limit", "1", "--json").out)
    assert found["path"] == str(folder / "australia.json")
    assert found["verdict"].startswith("says “Canberra”")


def test_at_80_columns_what_it_was_about_takes_few_lines(
    folder: Path, workbench: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.move(folder / "tom.json", folder / "2026-11-27-054129.json")
    (folder / "2026-11-27-054151.json").write_text("{")
    monkeypatch.setenv("COLUMNS", "80")
    shown = workbench("sessions").out.partition("in \n")[0]
    table = shown.splitlines()[1:]
    assert max(map(len, table)) <= 80
    starts = [number for number, line in enumerate(table) if line.rstrip().endswith(".json")]
    assert len(starts) == 5
    assert max(end - start for start, end in pairwise([*starts, len(table)])) <= 4, shown
    assert str(folder) not in shown
