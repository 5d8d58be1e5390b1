"""The command line: the same requests and engine as the app, results on stdout and the rest on stderr.

Exit codes: 0 done, 1 a check failed, 2 bad usage or input, 130 cancelled.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import typer
from typer.core import TyperGroup

from workbench import __version__
from workbench.asking import Chat, Device, Dtype, Foil, InFront, ModelName, SessionPath, Subject, Target, asks
from workbench.case import Case
from workbench.engine import LoadRequest
from workbench.errors import Cancelled, InputError, WorkbenchError
from workbench.methods.attribution import AttributionMethod, AttributionRequest
from workbench.methods.base import Request
from workbench.methods.causal_trace import Kind, Reading, TraceRequest
from workbench.methods.continuation import ContinueRequest
from workbench.methods.logit_lens import LensRequest
from workbench.methods.trace_facts import FactsTraceRequest, read_facts
from workbench.models.catalog import DEFAULT_MODEL
from workbench.models.commands import models
from workbench.paths import cache_folder
from workbench.session import SessionFile, load_session

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
        _check_arguments(sys.argv[1:])
        app()
    except WorkbenchError as error:
        typer.echo(f"workbench: {error}", err=True)
        raise SystemExit(BAD_INPUT) from None
    except (Cancelled, KeyboardInterrupt):
        typer.echo("workbench: cancelled", err=True)
        raise SystemExit(CANCELLED) from None


def _check_arguments(arguments: list[str]) -> None:
    """Bytes that are not UTF-8 arrive as lone surrogates, which no session and no terminal can hold."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise InputError(f"the argument {argument!a} is not UTF-8 text; type it again") from None


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


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
    from workbench.checking import check_session
    from workbench.reports import print_check
    from workbench.waiting import WaitingEngine

    session = load_session(file)
    recorded = session.model
    if recorded is None:
        raise InputError(f"the session {file} has nothing to check: no step of it was made with a model")
    with WaitingEngine(LoadRequest(model=model or recorded.name, dtype=recorded.dtype)) as engine:
        report = check_session(session, engine.model, engine.answer, tolerance)
    if json:
        typer.echo(report.model_dump_json())
    else:
        print_check(report)
    if not report.passed:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def doctor() -> None:
    """Say what this machine has: versions, devices, folders, models, the terminal's colours."""
    from workbench.doctor import print_doctor

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


@app.command()
@asks
def attribute(
    case: Case,
    method: Annotated[AttributionMethod, typer.Option(help="How scores are computed.")] = "integrated-gradients",
    position: Annotated[
        int | None, typer.Option(help="The token behind which the prediction is asked about.")
    ] = None,
    baseline: Annotated[str, typer.Option(help="mean, eos, zero, or the text of one token.")] = "mean",
    unit: Annotated[Literal["token", "word"], typer.Option(help="What occlusion takes away together.")] = "token",
    samples: Annotated[int, typer.Option(help="Permutations for Shapley values.")] = 25,
    seed: Annotated[int, typer.Option(help="Of the permutations.")] = 1,
    tolerance: Annotated[float, typer.Option(help="Completeness error at which to stop, as a share.")] = 0.05,
    limit: Annotated[int, typer.Option(help="Most gradients to evaluate.")] = 800,
) -> Request:
    """Print which tokens pull towards the target, and which towards the foil."""
    return AttributionRequest(
        case=case,
        method=method,
        position=position,
        baseline=baseline,
        unit=unit,
        samples=samples,
        seed=seed,
        tolerance=tolerance,
        limit=limit,
    )


@app.command()
@asks
def trace(
    case: Case,
    kinds: Annotated[
        str | None,
        typer.Option(help="Of states, mlp, attention, with commas.  [default: states]"),
    ] = None,
    noise: Annotated[float, typer.Option(help="Noise, in standard deviations of the subjects' embeddings.")] = 3.0,
    noise_std: Annotated[float | None, typer.Option(help="Noise, as a standard deviation of its own.")] = None,
    replacement: Annotated[str | None, typer.Option(help="Another subject, instead of noise.")] = None,
    samples: Annotated[int, typer.Option(help="Noised runs.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 1,
    window: Annotated[int | None, typer.Option(help="Layers of MLP or attention restored together.")] = None,
    read: Annotated[Reading, typer.Option(help="Probability of the answer, or target − foil.")] = "probability",
    answer: Annotated[Literal["top", "target"], typer.Option(help="Whose probability.")] = "top",
    facts: Annotated[
        Path | None, typer.Option(help="Average over the facts of this file (JSON lines), by role of the token.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only so many of the facts.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start even if it takes hours.")] = False,
) -> Request:
    """Print which states carry the fact: the causal trace of a prompt, or the average over many facts."""
    noised = {"noise": noise, "noise_std": noise_std, "samples": samples, "seed": seed, "window": window}
    if facts is not None:
        if case.prompt or case.subject or replacement or (read, answer) != ("probability", "top"):
            raise InputError("--facts brings prompts, subjects and answers of its own: leave yours out")
        every = _kinds(kinds or ",".join(get_args(Kind)))
        return FactsTraceRequest(
            facts=read_facts(facts)[:limit], kinds=every, start=case.start, confirmed=yes, **noised
        )
    return TraceRequest(
        case=case,
        kinds=_kinds(kinds or "states"),
        replacement=replacement,
        read=read,
        answer=answer,
        confirmed=yes,
        **noised,
    )


def _kinds(text: str) -> tuple[Kind, ...]:
    named = [name.strip() for name in text.split(",")]
    for name in named:
        if name not in get_args(Kind):
            raise InputError(f"there is no kind {name!r} to restore; name some of {', '.join(get_args(Kind))}")
    return tuple(cast(Kind, name) for name in named)


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
