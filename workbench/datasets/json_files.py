"""JSON files that people write, read so that what is wrong with them can be said with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.reading import BadJson, parse, parse_at


def read_values(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Each value of JSON lines or of a JSON array, or the one value there is, with the line that it begins on.

    Raises `InputError` at what is not JSON.
    """
    if text.lstrip().startswith("["):
        yield from elements(text, len(text) - len(text.lstrip()), path)
    elif is_lines(text):
        for number, line in numbered_lines(text):
            yield number, decode(line, path, number)
    elif text.strip():
        yield 1 + text[: len(text) - len(text.lstrip())].count("\n"), decode(text, path)


def is_lines(text: str) -> bool:
    """Whether there are several lines, of which the first is a JSON object by itself or is meant to be."""
    lines = [line.strip() for _, line in numbered_lines(text)]
    return len(lines) > 1 and lines[0].startswith("{") and lines[0].endswith("}")


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, the first of all being 1."""
    # Not splitlines(), which also breaks at characters that may stand inside a JSON text.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def decode(text: str, path: Path, line: int = 1) -> Any:
    """The value of a text that begins on ``line`` of a file. Raises `InputError` where it is no JSON."""
    try:
        return parse(text)
    except BadJson as error:
        raise _broken(path, line + (error.line or 1) - 1, error.why) from None


def elements(text: str, at: int, path: Path) -> Iterator[tuple[int, Any]]:
    """Each element of the JSON array that begins at ``text[at]``, with the line that it begins on."""
    at = _next(text, at + 1)
    while text[at : at + 1] != "]":
        try:
            element, end = parse_at(text, at)
        except BadJson as error:
            raise _broken(path, error.line or _line(text, at), error.why) from None
        yield _line(text, at), element
        at = _next(text, end)
        if text[at : at + 1] == ",":
            at = _next(text, at + 1)
        elif text[at : at + 1] != "]":
            raise _broken(path, _line(text, at), "a comma or a bracket is missing")


def _next(text: str, at: int) -> int:
    """The next place that is no blank."""
    found = re.compile(r"\s*").match(text, at)
    return found.end() if found else at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _broken(path: Path, line: int, why: str) -> InputError:
    return InputError(f"{path} is not complete JSON: it breaks at line {line} ({why}); mend it there")
