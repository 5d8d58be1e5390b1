"""The door: all that the command line writes goes through it, results, sentences, help, warnings and tracebacks.

`open_doors` wraps stdout and stderr in a `Door` for as long as the program runs. Text passes it in a form
that does nothing to a terminal, and in characters that the terminal's encoding has. `echo` writes a line through it,
`echo_json` a result, `workbench.cli.console.Console` what is drawn. Nothing else in the core writes
(tests/test_output.py).
"""

from __future__ import annotations

import base64
import codecs
import io
import logging
import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from workbench import early_terminal
from workbench.visible import visible

if TYPE_CHECKING:  # the app is opened before this is imported
    from pydantic import BaseModel

SUBSTITUTES = "workbench-substitutes"
"""Name of the error handler that gives a character which an encoding lacks another one that looks like it."""

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

MOST_COPIED = 74_000
"""Bytes: terminals that take text for the clipboard (OSC 52) take at least so many, and may drop more."""

# One for one, so that columns stay columns; ramps keep their order.
_ALIKE = {
    character: drawn
    for drawn, characters in {
        "-": "‐‑–—−·•⋯─━═╌▃",
        "|": "│┃║ǀ‖▏▎▍▌▐",
        "'": "‘’‚▔",
        '"': "“”„▀",
        "<": "‹«⟨←◀◂◄≤",
        ">": "›»⟩→▶▸►≥",
        "^": "↑▲△",
        "v": "↓▼▽✓✔",
        "x": "×✗✘",
        "*": "●◉◆■▪▆",
        "o": "○◌◐□",
        "+": "┌┐└┘├┤┬┴┼╭╮╰╯╔╗╚╝±▅▒",
        ".": "…▁",
        ":": "▂░",
        "=": "▄≠",
        "%": "▇▓",
        "#": "█▉▊▋",
        "~": "≈",
        "/": "÷",
        "!": "⚠",
        ";": "⏎",
        " ": "\u00a0\u2800",
    }.items()
    for character in characters
}


class Door(io.TextIOBase):
    """A text stream that makes what is written to it visible and passes it on.

    It claims to be no terminal, so that libraries send it no colours: it takes text, and would only draw them.
    Whoever draws asks the `stream` that it passes text to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SUBSTITUTES)

    def write(self, text: str) -> int:
        """Write what is seen of the text."""
        early_terminal.erase()
        self.stream.write(visible(text))
        return len(text)

    def flush(self) -> None:
        """Pass on what waits."""
        self.stream.flush()

    def fileno(self) -> int:
        """The file's number, for those who ask for a terminal's size."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Never: see above."""
        return False

    def writable(self) -> bool:
        """Always."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """That of the stream."""
        return self.stream.errors


def open_doors() -> None:
    """Wrap stdout and stderr in doors, for the rest of the program: a traceback comes last of all."""
    sys.stdout, sys.stderr = results(), remarks()


def hush() -> None:
    """Print nothing from now on, as another process says the same."""
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the program


def results() -> Door:
    """The door to stdout, where only results go."""
    return _door(sys.stdout)


def remarks() -> Door:
    """The door to stderr, where all else goes."""
    return _door(sys.stderr)


def echo(text: object) -> None:
    """Print a line of a result."""
    _line(results(), text)


def remark(text: object) -> None:
    """Print a line that is no result."""
    _line(remarks(), text)


def echo_json(found: BaseModel, indent: int | None = None) -> None:
    """Print a model as JSON of ASCII characters: the same data, and nothing of it raw on a terminal."""
    text = found.model_dump_json(indent=indent, ensure_ascii=True)
    _line(results(), text.replace("\x7f", "\\u007f"))  # ASCII too, and found only inside of strings


def copy(text: str) -> bool:
    """Put a text on the clipboard of the person's own terminal (OSC 52). False where there is no terminal to ask.

    It is sent as base64, in which nothing acts.
    """
    terminal = next((door.stream for door in (results(), remarks()) if door.stream.isatty()), None)
    if terminal is None or len(text.encode()) > MOST_COPIED:
        return False
    terminal.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a")
    terminal.flush()
    return True


class VisibleFormatter(logging.Formatter):
    """Log lines in which nothing hides: they are read on a terminal, even from a file."""

    def __init__(self) -> None:
        super().__init__(LOG_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it."""
        return visible(super().format(record))


def _door(stream: TextIO) -> Door:
    return stream if isinstance(stream, Door) else Door(stream)


def _line(door: Door, text: object) -> None:
    door.write(f"{text}\n")
    door.flush()


def _substitute(error: UnicodeError) -> tuple[str, int]:
    """Characters that look like those which the encoding lacks; a question mark where none does."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_alike, error.object[error.start : error.end])), error.end


def _alike(character: str) -> str:
    if "\u2800" < character <= "\u28ff":  # dots, of which curves are drawn
        return "*"
    wide = unicodedata.east_asian_width(character) in ("W", "F")
    return _ALIKE.get(character) or ("" if unicodedata.combining(character) else "??" if wide else "?")


codecs.register_error(SUBSTITUTES, _substitute)
