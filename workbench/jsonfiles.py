"""JSON files that people write, read so that what is wrong with them can be said with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.errors import InputError


def read_text(path: Path) -> str:
    """The file's text. Raises `InputError` where there is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read ({why}); name a JSON file") from error


def read_values(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Each value of JSON lines or of a JSON array, or the one value there is, with the line that it begins on.

    Raises `InputError` at what is not JSON.
    """
    if text.lstrip().startswith("["):
        yield from elements(text, len(text) - len(text.lstrip()), path)
    elif is_lines(text):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield number, decode(line, path, number)
    elif text.strip():
        yield 1 + text[: len(text) - len(text.lstrip())].count("\n"), decode(text, path)


def is_lines(text: str) -> bool:
    """Whether there are several lines, of which the first is a JSON object by itself or is meant to be."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return len(lines) > 1 and lines[0].startswith("{") and lines[0].endswith("}")


def decode(text: str, path: Path, line: int = 1) -> Any:
    """The value of a text that begins on ``line`` of a file. Raises `InputError` where it is no JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(path, line + error.lineno - 1, error.msg) from None


def elements(text: str, at: int, path: Path) -> Iterator[tuple[int, Any]]:
    """Each element of the JSON array that begins at ``text[at]``, with the line that it begins on."""
    decoder = json.JSONDecoder()
    at = _next(text, at + 1)
    while text[at : at + 1] != "]":
        try:
            element, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise _broken(path, error.lineno, error.msg) from None
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
