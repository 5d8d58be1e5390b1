"""The command line: the same requests and engine as the app, results on stdout and the rest on stderr.

Exit codes: 0 done, 1 a check failed, 2 bad usage or input, 130 cancelled.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from workbench.asking import Chat, Device, Dtype, Foil, InFront, ModelName, SessionPath, Subject, Target, asks
from workbench.case import Case
from workbench.checking import check_session
from workbench.doctor import print_doctor
from workbench.engine import LoadRequest
from workbench.errors import Cancelled, InputError, WorkbenchError
from workbench.methods.base import Request
from workbench.methods.continuation import ContinueRequest
from workbench.methods.logit_lens import LensRequest
from workbench.models.catalog import DEFAULT_MODEL
from workbench.models.commands import models
from workbench.paths import cache_folder
from workbench.reports import print_check
from workbench.session import SessionFile, load_session
from workbench.waiting import WaitingEngine

CHECK_FAILED, BAD_INPUT, CANCELLED = 1, 2, 130

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class OpenByDefault(TyperGroup):
    """``workbench "The capital of"`` means ``workbench open "The capital of"``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``open`` in front of arguments that begin with no command and are not for the program itself."""
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        if not args or (args[0] not in self.commands and args[0] not in own):
            args = ["open", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=OpenByDefault,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Find out why a language model said what it said, and repair it.\n\n"
    "Without a command the app is opened: workbench [PROMPT].",
)
app.add_typer(models, name="models")


def main() -> None:
    """The console script. Errors meant for the user become one sentence and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format=LOG_FORMAT)
    try:
        app()
    except WorkbenchError as error:
        typer.echo(f"workbench: {error}", err=True)
        raise SystemExit(BAD_INPUT) from None
    except (Cancelled, KeyboardInterrupt):
        typer.echo("workbench: cancelled", err=True)
        raise SystemExit(CANCELLED) from None


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        from workbench import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command("open")
def open_app(
    prompt: Annotated[str | None, typer.Argument(help="A prompt to begin with.", show_default=False)] = None,
    subject: Subject = None,
    target: Target = None,
    foil: Foil = None,
    start: InFront = "as-is",
    chat: Chat = False,
    model: ModelName = DEFAULT_MODEL,
    dtype: Dtype = "auto",
    device: Device = "auto",
    session: SessionPath = None,
) -> None:
    """Open the app, on a prompt or on a session that is to be continued."""
    _need_terminal("workbench lens PROMPT")
    _log_to_file()
    from screens.app import WorkbenchApp

    case = (
        Case(prompt=prompt, subject=subject, target=target, foil=foil, start=start, chat=chat) if prompt else None
    )
    recording = SessionFile.open(session) if session else None
    WorkbenchApp(LoadRequest(model=model, dtype=dtype, device=device), case=case, recording=recording).start()


@app.command()
def replay(file: Annotated[Path, typer.Argument(help="A session file.", show_default=False)]) -> None:
    """View a recorded session. Needs no model and opens at once."""
    session = load_session(file)
    if not session.steps:
        raise InputError(f"the session {file} has no steps to show")
    _need_terminal(f"workbench check {file}")
    from screens.replay import ReplayApp

    ReplayApp(session, file).start()


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A session file.", show_default=False)],
    model: Annotated[str | None, typer.Option("--model", "-m", help="Another model than the recorded one.")] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference of two numbers that passes.")] = 1e-3,
    json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Run every step of a session again and compare the results; exit code 1 where they drifted."""
    session = load_session(file)
    recorded = session.model
    if recorded is None:
        raise InputError(f"the session {file} has nothing to check: no step of it was made with a model")
    with WaitingEngine(LoadRequest(model=model or recorded.name, dtype=recorded.dtype)) as engine:
        report = check_session(session, engine.answer, tolerance)
    if json:
        typer.echo(report.model_dump_json())
    else:
        print_check(report)
    if not report.passed:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def doctor() -> None:
    """Say what this machine has: versions, devices, folders, models, the terminal's colours."""
    print_doctor()


@app.command()
@asks
def lens(
    case: Case,
    position: Annotated[int, typer.Option(help="The token to look at, from 0; negative from the end.")] = -1,
    all_tokens: Annotated[bool, typer.Option("--all", help="Compute every token, not only that one.")] = False,
    top_k: Annotated[int, typer.Option(help="Tokens listed for each layer.")] = 5,
) -> Request:
    """Print what the model would say if it stopped at each layer."""
    return LensRequest(case=case, first=position, positions=None if all_tokens else (position,), top_k=top_k)


@app.command("continue")
@asks
def continue_(
    case: Case,
    tokens: Annotated[int, typer.Option(help="How many tokens at most.")] = 12,
) -> Request:
    """Continue the prompt greedily, with the probability of every token."""
    return ContinueRequest(case=case, tokens=tokens)


def _log_to_file() -> None:
    """The app owns the terminal, so what would go to stderr goes to a file."""
    file = cache_folder() / "log.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=file, level=logging.WARNING, format=LOG_FORMAT, force=True)
    logging.captureWarnings(True)


def _need_terminal(instead: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(f"the app needs a terminal on standard input and output; without one use: {instead}")


if __name__ == "__main__":
    main()
