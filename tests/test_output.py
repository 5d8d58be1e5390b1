"""What is written is visible, whatever it was; and nothing is written but through the door."""

from __future__ import annotations

import ast
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import TextColumn
from rich.table import Table
from rich.text import Text as RichText

from tests.poison import MARK, POISON, raw_in
from workbench.case import Case
from workbench.cli import output
from workbench.cli.console import Console, Text, bars
from workbench.cli.output import Door, echo, echo_json, remark
from workbench.models.tokentext import display
from workbench.visible import ACTING, one_line, visible

ROOT = Path(__file__).parent.parent
ANY_TEXT = st.text(st.characters())
BAD = ("Cc", "Cf", "Cs", "Zl", "Zp")


def test_every_character_that_acts_or_hides_is_known() -> None:
    bad = {c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in BAD} - {"\n"}
    assert all(map(ACTING.fullmatch, bad))
    others = {c for c in map(chr, range(0xE0000)) if c not in bad and ACTING.fullmatch(c)}
    assert {unicodedata.category(c) for c in others} <= {"Cn", "Mn"}  # gaps in what was spelled out


@given(ANY_TEXT)
def test_nothing_that_acts_is_left_of_any_text(text: str) -> None:
    shown = visible(text)
    assert not [c for c in shown if unicodedata.category(c) in BAD and c != "\n"]
    assert shown.count("\n") == text.count("\n")
    assert visible(shown) == shown
    assert not [c for c in one_line(text) if unicodedata.category(c) in BAD]


@given(ANY_TEXT)
def test_what_is_printable_comes_out_as_it_was(text: str) -> None:
    printable = "".join(c for c in text if c.isprintable() or c == "\n")
    assert visible(printable) == printable


@given(st.text(st.characters(categories=BAD), min_size=1))
def test_of_what_hides_something_is_seen(text: str) -> None:
    assert one_line(text).isprintable()
    assert one_line(text).strip()


def test_tokens_are_drawn_with_the_same_pictures() -> None:
    for character in ["\x1b", "\x9d", "\u202e", "\ufeff", "\x7f", "\udc9d", "\ud83d", "\U000e0041"]:
        assert display(character) == visible(character) != character


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def a_terminal() -> Iterator[Terminal]:
    """Stdout and stderr. Not a fixture, as pytest changes streams between setting up and the test."""
    stream = Terminal()
    with (
        mock.patch.multiple(sys, stdout=stream, stderr=stream),
        mock.patch.dict(os.environ, {"TERM": "xterm-256color", "COLUMNS": "120"}),
    ):
        yield stream


def test_lines_are_visible() -> None:
    with a_terminal() as terminal:
        echo(POISON)
        remark(Path(POISON))
        assert terminal.getvalue().count(MARK) == 2
        assert not raw_in(terminal.getvalue())


def test_json_is_the_same_data_in_characters_that_do_nothing() -> None:
    with a_terminal() as terminal:
        case = Case(prompt=POISON + "ü")
        echo_json(case)
        assert terminal.getvalue().isascii()
        assert not raw_in(terminal.getvalue())
        assert Case.model_validate_json(terminal.getvalue()) == case


@pytest.mark.parametrize("kind", [str, Text, RichText])
def test_whatever_rich_is_given_is_visible_and_no_markup(kind: type) -> None:
    with a_terminal() as terminal:
        console = Console()
        table = Table(title=kind(POISON), caption=kind(POISON))
        table.add_column(kind(POISON))
        table.add_row(kind(POISON))
        console.print(table)
        console.print(kind(POISON))
        console.print(RichText("here", style="link http://elsewhere.example/"))
        written = terminal.getvalue()
        assert "\x1b[" in written
        assert not raw_in(written)
        assert "[bold]" in written
        assert "[@click=app.quit]" in written
        assert "elsewhere" not in written


@pytest.mark.parametrize("kind", [str, Text])
def test_columns_are_as_wide_as_what_is_seen_in_them(kind: type) -> None:
    with a_terminal() as terminal:
        table = Table("one", "two", box=None)
        table.add_row(kind(f"a{POISON[:10]}"), "next")
        table.add_row(kind("a"), "next")
        Console().print(table)
        lines = [line for line in terminal.getvalue().splitlines() if "next" in line]
        assert len(lines) == 2
        assert lines[0].index("next") == lines[1].index("next")


def test_a_bar_shows_its_stage_as_text() -> None:
    with a_terminal() as terminal:
        with bars(TextColumn("{task.description}", markup=False)) as bar:
            bar.add_task(POISON, total=1)
        assert MARK in terminal.getvalue()
        assert not raw_in(terminal.getvalue())


def test_a_door_before_a_door_is_the_same_door() -> None:
    with a_terminal() as terminal:
        output.open_doors()
        output.open_doors()
        assert isinstance(sys.stdout, Door)
        assert sys.stdout.stream is terminal
        print(POISON)  # noqa: T201 - as a library may
        assert MARK in terminal.getvalue()
        assert not raw_in(terminal.getvalue())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_characters_that_an_encoding_lacks_are_replaced_one_for_one(encoding: str) -> None:
    buffer = io.BytesIO()
    door = Door(io.TextIOWrapper(buffer, encoding=encoding))
    drawn = "│▁▂▃▄▅▆▇█│ “−1.5” … → ●○✗ ⟨─⟩"
    door.write(drawn)
    door.flush()
    plain = buffer.getvalue().decode(encoding)
    assert len(plain) == len(drawn)
    assert "?" not in plain
    assert len({*plain[1:9]}) == 8  # the levels of a heatmap are told apart
    assert "-1.5" in plain.replace("−", "-")


def test_what_looks_like_nothing_else_is_as_many_question_marks_as_it_is_wide() -> None:
    buffer = io.BytesIO()
    door = Door(io.TextIOWrapper(buffer, encoding="ascii"))
    door.write("é|日|e\u0301|⠿")
    door.flush()
    assert buffer.getvalue() == b"?|??|e|*"


FORBIDDEN = {
    *("typer.echo", "typer.secho", "click.echo", "rich.print", "rich.console.Console", "rich.text.Text"),
    *("rich.progress.Progress", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"),
}
MAY = {
    "workbench/cli/output.py": FORBIDDEN,  # the door
    "workbench/cli/console.py": FORBIDDEN,
    "workbench/early_terminal.py": {"sys.stdout", "sys.__stdout__"},  # the first line of a terminal, and away with it
    "workbench/leaving.py": {"sys.stdout", "sys.stderr"},  # flushes them
    # Programs of their own, whose output is read by the one that runs them:
    "workbench/models/store/gguf.py": {"print"},
    "workbench/models/template_child.py": {"print"},
    "workbench/sweeping/worker.py": {"sys.stdout", "sys.stderr"},
}
"""What of it some modules may name, and why."""


def printing_in(source: str) -> set[str]:
    """What of `FORBIDDEN` a module names, and ``print`` where it is called."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            found.add("print")
    return found & {*FORBIDDEN, "print"}


def test_nothing_in_the_core_prints_but_through_the_door() -> None:
    modules = {str(path.relative_to(ROOT)): path for path in (ROOT / "workbench").rglob("*.py")}
    assert len(modules) > 100
    found = {
        place: printing_in(path.read_text(encoding="utf-8")) - MAY.get(place, set()) for place, path in modules.items()
    }
    assert {place: names for place, names in found.items() if names} == {}


def test_what_may_print_is_there_and_does() -> None:
    assert [place for place in MAY if not printing_in((ROOT / place).read_text(encoding="utf-8"))] == []


def test_the_check_can_see_what_it_looks_for() -> None:
    assert printing_in("from rich.console import Console, Group\nprint(1)\nsys.stderr.write('')") == {
        *("rich.console.Console", "print", "sys.stderr")
    }
