"""The door for strangers' files: what is no file, no text, no JSON, or too much of it is one sentence."""

from __future__ import annotations

import ast
import os
import socket
from pathlib import Path

import pytest

from workbench.reading import MB, BadJson, Unreadable, parse, read_bytes, read_start, read_text

ROOT = Path(__file__).parent.parent

READS_ITSELF = {
    "workbench/reading.py",
    "workbench/files.py",  # writes
    "workbench/cli/output.py",  # writes, to nowhere
    "workbench/steplines.py",  # writes, at the end of a session that was read through the door
    "workbench/models/template_child.py",  # a line of our own process
    "workbench/models/chat_template.py",  # and the answer
    "workbench/models/store/fetch.py",  # a wheel whose SHA-256 was checked, and the check
    "workbench/models/store/gguf.py",  # converts in a process of its own
    "workbench/models/weights.py",  # adapters' weights, whose headers were read through the door
    "workbench/sweeping/pools.py",  # a line of our own process
    "workbench/sweeping/worker.py",  # and the answer
    "workbench/models/store/checkpoint.py",  # hashes weights whose headers were read through the door
    # What ships with the program, as package data:
    "workbench/datasets/held_out.py",
    "workbench/datasets/questions.py",
    "workbench/datasets/facts.py",
    "workbench/datasets/transcripts.py",
    "workbench/datasets/concepts.py",
    "workbench/datasets/contrasts.py",
}


def test_a_pipe_a_device_a_folder_and_a_socket_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for path, what in (
            (tmp_path / "pipe", "it is a pipe"),
            (Path("/dev/zero"), "it is a device"),
            (tmp_path / "link", "it is a device"),
            (tmp_path, "it is a folder"),
            (tmp_path / "s", "No such device or address"),
            (tmp_path / "none", "No such file"),
            (tmp_path / "none" / "\0", "no file can have that name"),
        ):
            with pytest.raises(Unreadable, match=what) as caught:
                read_bytes(path)
            assert "\n" not in str(caught.value)


def test_a_dangling_link_is_missing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Unreadable) as caught:
        read_bytes(tmp_path / "link")
    assert caught.value.missing


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(3 * MB)
    with pytest.raises(Unreadable, match="it has 3 MB and at most 2 are read"):
        read_bytes(tmp_path / "large", 2 * MB)
    assert len(read_start(tmp_path / "large", 10)) == 10


def test_text_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes("\ufeffé\n".encode())
    assert read_text(path) == "é\n"
    path.write_bytes(b"one\ntwo\n\xff")
    with pytest.raises(Unreadable, match="not UTF-8 text from line 3 on"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 100_000, "nested more than 64 deep"),
        ("[" * 70 + "]" * 70, "nested more than 64 deep"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested more than 64 deep"),
        ("9" * 5_000, "a whole number of 5,000 digits"),
        ("[-1234567890123456789]", "digits"),
        ('{"a": NaN}', "NaN, which is no JSON"),
        ("[-Infinity]", "-Infinity, which is no JSON"),
        ('["\\ud800"]', "half of a surrogate pair"),
        ('{"\\uDFff": 1}', "half of a surrogate pair"),
        ("[1] 2", "Extra data"),
        ("", "Expecting value"),
    ],
)
def test_json_that_would_do_harm_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadJson, match=why):
        parse(text)


def test_json_that_is_only_unusual_is_taken() -> None:
    assert parse('\n["\\ud83d\\ude00", -123456789012345678, 1e400]\n') == ["😀", -123456789012345678, float("inf")]
    assert parse("[" * 64 + "]" * 64)
    assert parse("[0.0, Infinity]", constants=True) == [0.0, float("inf")]


def test_nobody_reads_files_but_through_the_door() -> None:
    found = {}
    for package in ("workbench", "screens"):
        for path in (ROOT / package).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            used = sorted({how for call in ast.walk(ast.parse(path.read_text())) if (how := _reads(call))})
            if used and name not in READS_ITSELF:
                found[name] = used
    assert not found
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "workbench").rglob("*.py")} >= READS_ITSELF


def _reads(call: ast.AST) -> str | None:
    """How a call reads a file, if it does: ``path.read_text()``, ``path.open("rb")``, ``open(…)``, ``json.loads``."""
    if not isinstance(call, ast.Call):
        return None
    function = call.func
    if isinstance(function, ast.Name):
        return function.id if function.id in ("open", "safe_open", "load_file") else None
    if not isinstance(function, ast.Attribute):
        return None
    mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    of_json = isinstance(function.value, ast.Name) and function.value.id == "json"
    reads = function.attr in ("read_text", "read_bytes", "fdopen") or (of_json and function.attr in ("load", "loads"))
    return function.attr if reads or (function.attr == "open" and isinstance(mode, str)) else None
