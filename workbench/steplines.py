"""The bytes of a session file: a line with the header, one line a step, and an end that every new step moves on.

A step is written over the end of the file together with a new end, in one go. Killed in the middle of that, the
file lacks no step that was written before, and `mended` finds them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from workbench.reading import BadJson, parse

BEGIN = b'"steps": ['
"""What the header's line ends with."""

END = b"\n]}\n"
"""What is after the last step."""

_sync = getattr(os, "fdatasync", os.fsync)  # the file's times need not be safe on the disk, its length is


class Changed(Exception):
    """The file does not end as its writer left it."""


def header_line(header: str) -> str:
    """The first line of a file, from the header as a JSON object without steps."""
    return f"{header[:-1]}, {BEGIN.decode()}"


def compose(first: str, steps: Iterable[str]) -> bytes:
    """A whole file."""
    return f"{first}\n".encode() + ",\n".join(steps).encode() + END


def layout(raw: bytes) -> tuple[str, int] | None:
    """The first line of a file that is whole, and where its end begins; None where it is laid out otherwise."""
    first, _, rest = raw.partition(b"\n")
    if not first.endswith(BEGIN) or not rest.endswith(END) or not rest[: -len(END)].strip():
        return None
    return first.decode(), len(raw) - len(END)


def append(path: Path, end: int, steps: Iterable[str]) -> int:
    """Write steps after those there are, whose end begins at ``end``; returns where it begins now.

    The cost is that of the steps, whatever stands before them. Raises `Changed` where somebody else has written,
    and `OSError`, with the file as it was wherever the system lets us.
    """
    added = "".join(f",\n{step}" for step in steps).encode()
    with path.open("r+b", buffering=0) as file:
        file.seek(end)
        if file.read(len(END) + 1) != END:
            raise Changed
        try:
            _write(file.fileno(), added + END, end)
            _sync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                close_at(path, end)
            raise
    return end + len(added)


def close_at(path: Path, end: int) -> None:
    """Drop what stands after ``end`` and end the file there. Killed in between, it can still be mended."""
    with path.open("r+b", buffering=0) as file:
        os.truncate(file.fileno(), end)
        _write(file.fileno(), END, end)
        _sync(file.fileno())


def mended(raw: bytes) -> int | None:
    """Where the last complete step ends in a file whose writer was stopped in the middle of the next one.

    None where something else is wrong with it: nothing but a part of one step may stand after the last complete one.
    """
    first, _, _ = raw.partition(b"\n")
    if not first.endswith(BEGIN):
        return None
    good, at = None, len(first) + 1
    while at < len(raw):
        stop = raw.find(b"\n", at)
        stop = len(raw) if stop < 0 else stop
        line = raw[at:stop].removesuffix(b",]}").removesuffix(b",")  # the former where one byte of a step was written
        if not _is_step(line):
            break
        good, at = at + len(line), stop + 1
    if good is None:
        return None
    torn = raw[good:].rstrip(b"\0").strip(b",\n")  # a power cut may leave zeros where the disk had not got
    return good if b"\n" not in torn else None


def _is_step(line: bytes) -> bool:
    try:
        return isinstance(parse(line), dict)
    except BadJson:
        return False


def _write(handle: int, data: bytes, at: int) -> None:
    os.lseek(handle, at, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
