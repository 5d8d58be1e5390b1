"""``workbench editors train NAME``: train an editor that has to be trained, or go on with a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from workbench.cli.asking import asks_of_model
from workbench.cli.options import Typed
from workbench.datasets.suites import read_records
from workbench.editing.editors.mend.training_result import TrainRequest
from workbench.errors import InputError
from workbench.settings import filled

TRAINED = get_args(TrainRequest.model_fields["editor"].annotation)
"""The editors that have to be trained."""


@asks_of_model(TrainRequest)
def train(
    typed: Typed,
    name: Annotated[str, typer.Argument(help=f"The editor: {', '.join(TRAINED)}.", show_default=False)],
    *,
    records: Annotated[
        Path | None, typer.Option(help="Train on the records of this file, instead of the shipped facts.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only so many of the records.")] = None,
) -> TrainRequest:
    """Train an editor's network for a model's weights; ask again to go on where it was stopped.

    It is kept in the cache, and measured on held-out records as it goes; what does best there is used.
    """
    if name not in TRAINED:
        raise InputError(f"{name!r} is no editor that has to be trained; choose one of {', '.join(TRAINED)}")
    if limit is not None and (limit < 1 or records is None):
        raise InputError("--limit is a number of records, at least 1, of a file: name it by --records")
    read = read_records(records)[:limit] if records is not None else ()
    return filled(TrainRequest, typed, editor=name, records=read)
