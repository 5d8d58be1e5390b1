"""JSON that people wrote: its values with their lines, and the line where it breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

import workbench
from workbench.datasets.json_files import read_values
from workbench.errors import InputError
from workbench.reading import read_text


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.json"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"a": 1}\n\n{"a": 2}\n', [(1, {"a": 1}), (3, {"a": 2})]),
        ('[\n  {"a": 1},\n\n  {"a":\n 2}, 3]', [(2, {"a": 1}), (4, {"a": 2}), (5, 3)]),
        ("[]", []),
        (' [ {"a": "]"} ] ', [(1, {"a": "]"})]),
        ('\n{\n"a": 1\n}\n', [(2, {"a": 1})]),
        ("\n \n", []),
    ],
)
def test_values_come_with_the_line_they_begin_on(text, values, path):
    assert list(read_values(text, path)) == values


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1}\n{"a": }\n{"a": 3}', 2),
        ('{"a": oh no}\n{"a": 2}', 1),
        ('[\n{"a": 1},\n{"a": }]', 3),
        ('[\n{"a": 1}\n{"a": 2}]', 3),
        ('[\n{"a": 1},\n', 3),
        ("[\n1, 2\n", 3),
        ('{\n"a": 1,\n"b"\n}', 4),
        ("\n\nhello", 3),
    ],
)
def test_what_is_broken_is_named_by_its_line(text, line, path):
    with pytest.raises(InputError, match=f"breaks at line {line} "):
        list(read_values(text, path))


def test_a_file_that_cannot_be_read_is_one_sentence(path):
    with pytest.raises(InputError, match="No such file"):
        read_text(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_text(path)
    path.write_text("\ufeff[1]", encoding="utf-8")
    assert read_text(path) == "[1]"


def test_nobody_else_takes_lines_of_json_apart():
    """Sessions are lines too, but ours: they are mended where they are torn."""
    root = Path(workbench.__file__).parent
    splitting = {str(file.relative_to(root)) for file in root.rglob("*.py") if 'split("\\n")' in file.read_text()}
    assert "datasets/json_files.py" in splitting
    parsing = {str(file.relative_to(root)) for file in root.rglob("*.py") if "BadJson" in file.read_text()}
    assert splitting & parsing == {"datasets/json_files.py"}
