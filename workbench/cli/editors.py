"""``workbench editors``: what is done with the editors themselves and not with one edit."""

from __future__ import annotations

import typer

from workbench.cli.train import train

editors = typer.Typer(help="Train editors that have to be trained.", no_args_is_help=True, rich_markup_mode=None)
editors.command("train")(train)
