"""The one door for files that somebody else may have written: what is read through it is bounded and whole.

A pipe would hang, a device never ends, a folder is no text, and JSON may be nested until Python gives up: each of
them is refused in a sentence. A test holds that no other module opens files of its own.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from workbench.errors import InputError
from workbench.lazy import torch

MB = 10**6
MOST_BYTES = 256 * MB
"""Of a text that is read whole: five times the published CounterFact records."""

DEEPEST = 64
"""Lists and objects within one another; our own files have no more than a dozen."""

MOST_DIGITS = 18
"""Of a whole number: what fits into 64 bits. Python itself gives up at 4,300."""

_NONBLOCKING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_OTHER_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISCHR, "a device"))
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Unreadable(InputError):
    """A file that cannot be read; ``why`` is a clause that readers put into sentences of their own."""

    def __init__(self, path: Path, why: str, missing: bool = False) -> None:
        super().__init__(f"{path} cannot be read: {why}")
        self.why = why
        self.missing = missing


class BadJson(ValueError):
    """Text that is no JSON, or none that is taken from strangers. ``line`` counts from 1, None where not known."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.line = line


@contextmanager
def opened(path: Path, most: int | None = None) -> Iterator[BinaryIO]:
    """A regular file of at most ``most`` bytes, to be read. Raises `Unreadable`, also while it is read."""
    try:
        # Without blocking: to open a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, _NONBLOCKING)
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:  # a NUL in the name, or what is no UTF-8
        raise Unreadable(path, "no file can have that name") from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            kind = next((name for is_kind, name in _OTHER_KINDS if is_kind(about.st_mode)), "something else")
            raise Unreadable(path, f"it is {kind}, not a file")
        if most is not None and about.st_size > most:
            raise Unreadable(path, too_large(about.st_size, most))
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError) -> Unreadable:
    return Unreadable(path, error.strerror or str(error), isinstance(error, FileNotFoundError))


def too_large(size: int, most: int) -> str:
    """Why a file is not read."""
    return f"it has {size / MB:,.0f} MB and at most {most / MB:,.0f} are read"


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """All of a file. Raises `Unreadable`."""
    with opened(path, most) as file:
        content = file.read(most + 1)  # some files have more than they say
    if len(content) > most:
        raise Unreadable(path, too_large(len(content), most))
    return content


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """All of a text file in UTF-8, with or without a byte order mark. Raises `Unreadable`."""
    content = read_bytes(path, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(path, f"it is not UTF-8 text from line {line} on") from None


def read_start(path: Path, most: int = MB) -> str:
    """The beginning of a text file, with a sign for what is no UTF-8. Raises `Unreadable`."""
    with opened(path) as file:
        return file.read(most).decode("utf-8-sig", errors="replace")


@contextmanager
def tensors_of(path: Path, most: int | None = None) -> Iterator[Any]:
    """An open safetensors file, for torch. Raises `Unreadable`, also for a tensor that it lacks or that is damaged."""
    from safetensors import SafetensorError, safe_open

    with opened(path, most):  # a regular file, before another library opens it
        pass
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise Unreadable(path, "it is no safetensors file, or a damaged one") from error


def pickled_tensors(path: Path, most: int) -> Any:
    """What `torch.save` wrote, of plain containers and tensors only, at most ``most`` bytes. Raises `Unreadable`.

    Read with ``weights_only``, which runs no code of the file's, and only from the zip archives that are written since
    2020, whose parts say how large they are.
    """
    import pickle
    import zipfile

    with opened(path, most) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                size = sum(part.file_size for part in archive.infolist())
            if size > most:
                raise Unreadable(path, too_large(size, most))
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
        except (zipfile.BadZipFile, pickle.UnpicklingError) as error:
            raise Unreadable(path, "it holds something else than tensors saved by torch") from error
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, EOFError, AssertionError) as error:
            raise Unreadable(path, "it is damaged") from error


def parse(text: str | bytes, constants: bool = False) -> Any:
    """The one JSON value in a text. Raises `BadJson`.

    With ``constants`` NaN and Infinity are taken, which are no JSON but stand in configurations of models.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadJson("it is not UTF-8 text") from None
    begin = _after_blanks(text, 0)
    value, end = parse_at(text, begin, constants)
    if (rest := _after_blanks(text, end)) != len(text):
        raise BadJson("Extra data", text.count("\n", 0, rest) + 1)
    return value


def parse_at(text: str, at: int, constants: bool = False) -> tuple[Any, int]:
    """The JSON value that begins at ``text[at]``, and where it ends. Raises `BadJson`."""
    try:
        value, end = _DECODERS[constants].raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise BadJson(error.msg, error.lineno) from None
    except RecursionError:
        raise BadJson(f"it is nested more than {DEEPEST} deep") from None
    if _is_deep(value):
        raise BadJson(f"it is nested more than {DEEPEST} deep")
    if _ESCAPED_SURROGATE.search(text, at, end) and not _is_text(value):
        raise BadJson("it holds half of a surrogate pair, which is no character")
    return value, end


def is_file(path: Path) -> bool:
    """Whether there is a file; not, where no file can have that name or nobody may look."""
    try:
        return path.is_file()
    except OSError:
        return False


def first_problem(error: ValidationError) -> str:
    """Where plain data are not what they should be, and why: ``steps.0.id (Input should be a valid integer)``."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = shortened(".".join(str(part) for part in first["loc"]) or "the whole", 120)
    return f"{place} ({shortened(first['msg'], 200)})"


def quoted(value: Any, most: int = 40) -> str:
    """A value of a file as it may be quoted in a sentence: short."""
    return shortened(repr(value), most)


def shortened(text: str, most: int) -> str:
    """At most so many characters of a text, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _after_blanks(text: str, at: int) -> int:
    found = re.compile(r"[ \t\r\n]*").match(text, at)
    return found.end() if found else at


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS + digits.startswith("-"):
        raise BadJson(f"it holds a whole number of {len(digits):,} digits")
    return int(digits)


def _no_constant(name: str) -> float:
    raise BadJson(f"it holds {name}, which is no JSON")


_DECODERS = {
    False: json.JSONDecoder(parse_int=_whole_number, parse_constant=_no_constant),
    True: json.JSONDecoder(parse_int=_whole_number),
}


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return False
        level = [child for each in containers for child in (each.values() if isinstance(each, dict) else each)]
    return True


def _is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
