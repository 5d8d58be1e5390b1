"""Running the command line: what is printed passes the doors, and errors become one sentence and an exit code.

0 done, 1 a check failed, 2 bad usage or input, 130 cancelled (by ctrl+c, terminate or hang-up).
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import typer

from workbench import leaving
from workbench.cli import output
from workbench.errors import Cancelled, InputError, WorkbenchError
from workbench.paths import log_file

BAD_INPUT, CANCELLED = 2, 130

BadUsage: type[Exception] = typer.BadParameter.__mro__[1]
"""What is wrong with options and arguments; typer has no name of its own for it."""


def run(app: typer.Typer) -> None:
    """Run the commands of ``app``. Errors meant for the user become one sentence and exit code 2."""
    output.open_doors()
    _log_to(logging.StreamHandler())
    leaving.interrupt_on_signals()
    try:
        _check_arguments(sys.argv[1:])
        code = app(prog_name="workbench", standalone_mode=False)
    except WorkbenchError as error:
        output.remark(f"workbench: {error}")
        raise SystemExit(BAD_INPUT) from None
    except BadUsage as error:
        output.remark(_said_of(error))
        raise SystemExit(BAD_INPUT) from None
    except (Cancelled, KeyboardInterrupt, typer.Abort):
        output.remark("workbench: cancelled")
        from workbench.engine import is_at_work  # the app is opened before this is imported

        if is_at_work():  # where torch cannot be stopped, and would end the program with an error of its own
            leaving.end(CANCELLED)
        raise SystemExit(CANCELLED) from None
    raise SystemExit(code if isinstance(code, int) else 0)


def _said_of(usage: Any) -> str:
    """What is wrong with what was typed, as one of our sentences; a group without a command says what it has."""
    if usage.ctx is not None and usage.message == usage.ctx.get_help():
        return str(usage.message)
    said = str(usage.format_message()).replace("Value error, ", "").rstrip(".")
    command = usage.ctx.command_path if usage.ctx is not None else "workbench"
    return f"workbench: {said[:1].lower()}{said[1:]}; {command} --help says what there is"


def _check_arguments(arguments: list[str]) -> None:
    """Bytes that are not UTF-8 arrive as lone surrogates, which no session and no terminal can hold."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError(f"the argument {argument!a} is not UTF-8 text; type it again") from None


def log_to_file() -> None:
    """The app owns the terminal, so what would go to stderr goes to a file."""
    file = log_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    _log_to(logging.FileHandler(file, encoding="utf-8"))
    logging.captureWarnings(True)


def _log_to(handler: logging.Handler) -> None:
    handler.setFormatter(output.VisibleFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def need_terminal(instead: str) -> None:
    in_browser = "WebDriver" in os.environ.get("TEXTUAL_DRIVER", "")  # set by textual-serve
    if not (in_browser or (sys.stdin.isatty() and output.results().stream.isatty())):
        raise InputError(f"the app needs a terminal on standard input and output; without one use: {instead}")
