"""``workbench models``: what models there are, what is known of one, and how to get it. Results go to stdout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import RootModel

from workbench.cli.output import echo, echo_json
from workbench.models.store.describe import ModelDescription
from workbench.models.store.space import megabytes
from workbench.protocol import Frozen, Progress

models = typer.Typer(help="List, describe and fetch models.", no_args_is_help=True, rich_markup_mode=None)

JsonList = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]


@models.command("list")
def list_command(as_json: JsonList = False) -> None:
    """List the catalogue and the models that were added."""
    from rich.table import Table

    from workbench.cli.console import Console, Text
    from workbench.models.store.catalog import list_models

    found = list_models()
    if as_json:
        echo_json(RootModel(found), indent=1)
        return
    table = Table("name", "state", "parameters", "size", "licence", "model", box=None, pad_edge=False)
    for model in found:
        cells = (model.name, model.state, _count(model.parameters), _size(model), model.licence, _what(model))
        table.add_row(*(Text(cell or "") for cell in cells))
    Console().print(table)


@models.command("info")
def info_command(
    model: Annotated[str, typer.Argument(help="Catalogue name, directory or hub id.", show_default=False)],
    as_json: JsonList = False,
) -> None:
    """Print what is known of a model, without fetching or loading it."""
    from workbench.models.store.catalog import describe

    found = describe(model)
    if as_json:
        echo_json(found, indent=1)
        return
    facts = {
        "name": found.name,
        "model": found.title,
        "state": found.state,
        "architecture": found.architecture,
        "parameters": _count(found.parameters),
        "layers": found.layers,
        "hidden": found.d_model,
        "vocabulary": found.vocabulary,
        "context": found.context,
        "weights": found.dtype,
        "size": _size(found),
        "chat template": {True: "yes", False: "no", None: None}[found.chat_template],
        "licence": found.licence,
        "path": found.path,
    }
    for fact, value in facts.items():
        if value is not None:
            echo(f"{fact:<14} {value}")


@models.command("pull")
def pull_command(
    model: Annotated[str, typer.Argument(help="Catalogue name or hub id.", show_default=False)],
    agree: Annotated[bool, typer.Option("--agree", help="You have read its terms of use and agree to them.")] = False,
) -> None:
    """Fetch a model where it is not here yet, and print its folder."""
    from workbench.models.store.integrity import restored

    with _bar() as progress:
        folder = restored(model, progress, agreed=agree)
    echo(folder)


@models.command("verify")
def verify_command(
    model: Annotated[str | None, typer.Argument(help="One of the list; all of them without it.")] = None,
    as_json: JsonList = False,
) -> None:
    """Read every byte of a model, or of all models here, and say whether it is whole; exit 1 where one is not."""
    from workbench.models.store.integrity import verify, verify_all

    with _bar() as progress:
        verdicts = list(verify_all(progress)) if model is None else [verify(model, progress)]
    if as_json:
        echo_json(RootModel(verdicts), indent=1)
    else:
        for verdict in verdicts:
            echo(f"{verdict.name}: {verdict.state}; {verdict.text}")
    if any(verdict.state == "damaged" for verdict in verdicts):
        raise typer.Exit(1)


@models.command("add")
def add_command(
    path: Annotated[
        Path,
        typer.Argument(help="A model's directory, a GGUF file, or a catalogue model's wheel.", show_default=False),
    ],
    name: Annotated[str | None, typer.Option(help="What to call it; else the file's name.", show_default=False)] = None,
) -> None:
    """Take in a model that was brought by file, and print the name it has from now on.

    GGUF files and wheels are converted; a directory stays where it is and is only remembered.
    """
    from workbench.models.store.catalog import add

    with _bar() as progress:
        added = add(path, name, progress)
    echo(added)


@contextmanager
def _bar() -> Iterator[Progress]:
    """A progress bar on stderr that is there while there is something to wait for."""
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeElapsedColumn

    from workbench.cli.console import bars

    stage_column = TextColumn("{task.description}", markup=False)
    bar = bars(stage_column, BarColumn(), DownloadColumn(), TimeElapsedColumn())
    lines: dict[str, TaskID] = {}

    def show(done: int, total: int, partial: Frozen | None = None, *, stage: str = "") -> None:  # noqa: ARG001
        if stage not in lines:
            bar.start()
            lines[stage] = bar.add_task(stage)
        bar.update(lines[stage], completed=done, total=total)

    try:
        yield show
    finally:
        if lines:
            bar.stop()


def _what(model: ModelDescription) -> str | None:
    return model.problem or model.title or model.architecture or (str(model.path) if model.path else None)


def _count(parameters: int | None) -> str | None:
    if parameters is None:
        return None
    return f"{parameters / 1e9:.1f} B" if parameters >= 1e9 else f"{parameters / 1e6:.0f} M"


def _size(model: ModelDescription) -> str | None:
    if model.bytes is None:
        return None
    return f"{megabytes(model.bytes)} to fetch" if model.state == "not fetched" else megabytes(model.bytes)
