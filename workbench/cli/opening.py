"""The command that opens the app. Nothing is imported here that can wait until there is something to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from workbench import __version__
from workbench.cli import output
from workbench.cli.common_options import (
    Chat,
    Device,
    DeviceMap,
    Dtype,
    Foil,
    ModelName,
    NoMouse,
    Prepended,
    SessionPath,
    Subject,
    Target,
)
from workbench.cli.running import log_to_file, need_terminal, run
from workbench.errors import InputError
from workbench.models.store import DEFAULT_MODEL

if TYPE_CHECKING:
    from screens.live import LiveScreen


class OpenByDefault(TyperGroup):
    """``workbench "The capital of"`` means ``workbench open "The capital of"``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``open`` before arguments that begin with no command and are not for the program itself."""
        own = {option for parameter in self.get_params(ctx) for option in parameter.opts}
        if not args or (args[0] not in self.commands and args[0] not in own):
            args = ["open", *args]
        return super().parse_args(ctx, args)


def commands() -> typer.Typer:
    """The command line with this command alone, to which the others can be added."""
    app = typer.Typer(
        cls=OpenByDefault,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Find out why a language model said what it said, and repair it.\n\n"
        "Without a command the app is opened: workbench [PROMPT].",
    )
    app.callback(invoke_without_command=True)(_options)
    app.command("open")(open_app)
    return app


def main() -> None:
    """The console script, where it opens the app."""
    run(commands())


def _print_version(wanted: bool) -> None:
    if wanted:
        output.echo(__version__)
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def open_app(
    prompt: Annotated[str | None, typer.Argument(help="A prompt to begin with.", show_default=False)] = None,
    subject: Subject = None,
    target: Target = None,
    foil: Foil = None,
    prepend: Prepended = "as-is",
    chat: Chat = False,
    model: ModelName = DEFAULT_MODEL,
    dtype: Dtype = "auto",
    device: Device = "auto",
    device_map: DeviceMap = None,
    session: SessionPath = None,
    last: Annotated[bool, typer.Option("--last", help="Continue the last session where you left it.")] = False,
    mouse: NoMouse = True,
) -> None:
    """Open the app, on a prompt or on a session that is to be continued."""
    if last and session:
        raise InputError("--last is the session that you left last, and --session names one: leave one of them out")
    need_terminal("workbench lens PROMPT")
    log_to_file()
    from screens.app import WorkbenchApp

    def make() -> LiveScreen:
        from screens.live import LiveScreen
        from workbench.case import Case
        from workbench.events import LoadRequest
        from workbench.last import last_session
        from workbench.session import SessionFile

        case = Case(prompt=prompt or "", subject=subject, target=target, foil=foil, prepend=prepend, chat=chat)
        path, place = last_session() if last else (session, None)
        return LiveScreen(
            LoadRequest(model=model, dtype=dtype, device=device, device_map=device_map),
            case if prompt else None,
            SessionFile.open_or_beside(path, "the app") if path else None,
            place=place,
        )

    # A session that is there is gone on with where it ended: what is typed meanwhile may be meant for a pane.
    goes_on = last or (session is not None and session.exists())
    fields = {"prompt": prompt, "subject": subject, "target": target, "foil": foil}
    WorkbenchApp(make, None if goes_on else {name: text or "" for name, text in fields.items()}, mouse).start()
