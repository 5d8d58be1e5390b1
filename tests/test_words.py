"""One name for one thing, and one style of error sentence: read off the source."""

from __future__ import annotations

import ast
import string
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from workbench import errors

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for package in ("workbench", "screens") for path in (ROOT / package).rglob("*.py"))
ERRORS = {
    name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, errors.WorkbenchError)
}


@cache
def tree(path: Path) -> ast.Module:
    """The syntax of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def defined(module: ast.Module) -> Iterator[str]:
    """The classes and the names of types that a module defines for others."""
    for statement in module.body:
        match statement:
            case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                if name[0] in string.ascii_uppercase and not name.isupper():
                    yield name


def sentence(message: ast.expr) -> str | None:
    """A message as it stands in the source, with ``{}`` for what is put in; None where it is made elsewhere."""
    match message:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)  # type: ignore[misc]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return (sentence(left) or "{}") + (sentence(right) or "{}")
    return None


def sentences(module: ast.Module) -> Iterator[tuple[int, str]]:
    """The lines and the messages of all errors of ours that a module makes."""
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[message, *_]) if name in ERRORS:
                if text := sentence(message):
                    yield node.lineno, text


def test_no_name_of_a_class_or_type_stands_for_two_things() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for name in defined(tree(path)):
            places[name].append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_an_error_is_one_sentence_that_begins_small_and_has_no_full_stop() -> None:
    found = [(f"{path}:{line}", text) for path in MODULES for line, text in sentences(tree(path))]
    assert len(found) > 100
    firsts = {place: text.split()[0] for place, text in found}
    assert {place: word for place, word in firsts.items() if word[0].isupper() and word not in NAMES} == {}
    assert [(place, text) for place, text in found if text.rstrip().endswith(".")] == []


NAMES = {"MEND", "Shapley"}
"""Words that are written large wherever they stand."""


def test_the_check_can_see_what_it_looks_for() -> None:
    module = ast.parse('raise InputError(f"The {x} is " + "wrong.")\nclass Of: ...\nKind = int | str\nLONG = 3')
    assert list(sentences(module)) == [(1, "The {} is wrong.")]
    assert list(defined(module)) == ["Of", "Kind"]
