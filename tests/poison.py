"""Text that would do something if a terminal or a markup parser read it, and what a terminal was really sent."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import sys
import termios
import threading
import traceback
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

MARK = "]0;pwn"
"""What is seen of poison wherever it is shown."""

# A title, as C0 and as C1; red as C1; deletion; directions, no width, byte order, a line's end; markup of both kinds.
POISON = f"\x1b{MARK}\x07\x9d0;pwn\x9c\x9b31m\x08\x7f\u202e\u2066\u200b\ufeff\u2028[bold][@click=app.quit]:smile:[/x]"
DROP = f"\x1b{MARK}\x07\x9d\u202e"
"""As much of it as a tiny model has room for in a prompt."""

POISON_NAME = POISON.replace("/", "")
"""As part of a file's name."""

# What Rich and Textual send of their own accord: colours, cursor, erasing, modes, the pointer's shape.
_OURS = re.compile(
    r"\x1b\[[0-9;?:<>=$ ]*[A-Za-z]|\x1b[78=>]|\x1b\[\?\d+\$p|\x1bP[0-9;+q]*\x1b\\|\x1b\]22;[a-z-]*(\x07|\x1b\\)"
)


def raw_in(written: str) -> str:
    """What of it acts on a terminal, or hides, though neither Rich nor Textual has sent it. Empty is good."""
    rest = _OURS.sub("", written.replace("\r", "").replace("\n", ""))
    acting = {c for c in set(rest) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") or c == "😄"}
    return ascii("".join(c for c in rest if c in acting))[1:-1] if acting else ""


def run_in_pty(program: Callable[[], Any], arguments: list[str], encoding: str = "utf-8") -> tuple[int, bytes]:
    """Run a console script's function as if it were one, on a real pseudo-terminal: its exit code, and every byte."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    written: list[bytes] = []
    reader = threading.Thread(target=_collect, args=(ours, written))
    reader.start()
    try:
        with (
            open(theirs, "w", encoding=encoding, closefd=False) as out,
            open(theirs, "w", encoding=encoding, closefd=False) as err,
            mock.patch.multiple(sys, argv=["workbench", *arguments], stdout=out, stderr=err),
            mock.patch.dict(os.environ, {"TERM": "xterm-256color", "COLUMNS": "120"}),
        ):
            code = _exit_code(program)
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
    return code, b"".join(written)


def _exit_code(program: Callable[[], Any]) -> int:
    try:
        program()
    except SystemExit as ended:
        return int(ended.code or 0)
    except Exception:  # noqa: BLE001 - what the interpreter does with it
        traceback.print_exc()
        return 1
    return 0


def _collect(terminal: int, written: list[bytes]) -> None:
    while True:
        try:
            written.append(os.read(terminal, 65536))
        except OSError:  # the other end was closed
            return


def poisoned(value: Any, leave: Callable[[str, str], bool] = lambda key, text: False, key: str = "") -> Any:
    """JSON with poison after every string and key that is not to be left as it is."""
    if isinstance(value, dict):
        return {name: poisoned(item, leave, name) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, leave, key) for item in value]
    return f"{value}{DROP}[/x]" if isinstance(value, str) and not leave(key, value) else value


_WORDS = {"kind", "format", "started", "status", "level", "prepend", "method", "unit", "read", "variant", "action"}
_WORDS |= {"what", "role", "reading", "purpose", "layer_from", "by", "kinds", "editor", "how", "id", "edit"}


def poisoned_session(text: str) -> dict[str, Any]:
    """A session whose every free text is poisoned. What is one of a few words stays, so that it still loads."""
    return poisoned(
        json.loads(text), lambda key, value: key in _WORDS or value in ("top", "target") or _is_an_id(value)
    )


def _is_an_id(value: Any) -> bool:
    """Whether a text is the id of an edit, which has no other form."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{8}", value) is not None


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return path
