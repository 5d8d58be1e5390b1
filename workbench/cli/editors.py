"""``workbench editors``: which there are, all of them on one case, and training those that have to be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import RootModel

from workbench.case import Case
from workbench.cli.asking import asks
from workbench.cli.options import Typed
from workbench.cli.output import echo_json
from workbench.cli.train import train
from workbench.editing.compare import CompareRequest
from workbench.protocol import Frozen, Request
from workbench.settings import filled

editors_app = typer.Typer(help="List, compare and train editors.", no_args_is_help=True, rich_markup_mode=None)


class _Listed(Frozen):
    name: str
    title: str
    of: str
    many: bool


@editors_app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """List the editors: what each acts on, and whether it takes many facts at once."""
    from workbench.editing.editors import EDITORS, editor

    found = [_Listed(name=e.name, title=e.title, of=e.of, many=e.many) for e in map(editor, EDITORS)]
    if as_json:
        echo_json(RootModel(found), indent=1)
        return
    from rich.table import Table

    from workbench.cli.console import Console, Text

    table = Table("name", "title", "edits a", "many at once", box=None, pad_edge=False)
    for each in found:
        table.add_row(*map(Text, (each.name, each.title, each.of, "yes" if each.many else "no")))
    console = Console()
    console.print(table)
    console.print(Text("Whatever they change is put on in the queue of edits and taken off to the bit.", style="dim"))


@editors_app.command("compare")
@asks(CompareRequest)
def compare(
    case: Case,
    typed: Typed,
    suite: Annotated[Path | None, typer.Option(help="A regression suite, instead of one of the shipped facts.")] = None,
) -> Request:
    """Let every editor make its edit of one case, test each by the same suite, and take it back."""
    from workbench.cli import edit_plans

    return filled(CompareRequest, typed, case=case, suite=edit_plans.attached_suite(suite))


editors_app.command("train")(train)
