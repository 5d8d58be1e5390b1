"""``workbench editors train NAME``: train an editor that has to be trained, or go on with a training."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from workbench.cli.asking import LOAD, Device, Dtype, Json, ModelName, Plan, SessionPath, carry_out
from workbench.cli.options import parameters
from workbench.datasets.suites import read_records
from workbench.editing.editors.mend.training import TrainRequest
from workbench.engine import LoadRequest
from workbench.errors import InputError
from workbench.models.store.catalog import DEFAULT_MODEL
from workbench.settings import filled

TRAINED = get_args(TrainRequest.model_fields["editor"].annotation)
"""The editors that have to be trained."""


def _options(
    name: Annotated[str, typer.Argument(help=f"The editor: {', '.join(TRAINED)}.", show_default=False)],
    *,
    records: Annotated[
        Path | None, typer.Option(help="Train on the records of this file, instead of the shipped facts.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Use only so many of the records.")] = None,
    model: ModelName = DEFAULT_MODEL,
    dtype: Dtype = "auto",
    device: Device = "auto",
    session: SessionPath = None,
    json: Json = False,
) -> None:
    """Never called: its parameters are the command's, before those of the settings."""


def train(**given: Any) -> None:
    """Train an editor's network for a model's weights; ask again to go on where it was stopped.

    It is kept in the cache, and measured on held-out records as it goes; what does best there is used.
    """
    name, records, limit = given.pop("name"), given.pop("records"), given.pop("limit")
    load = LoadRequest(**{option: given.pop(option) for option in LOAD})
    session, json = given.pop("session"), given.pop("json")
    if name not in TRAINED:
        raise InputError(f"{name!r} is no editor that has to be trained; choose one of {', '.join(TRAINED)}")
    if limit is not None and (limit < 1 or records is None):
        raise InputError("--limit is a number of records, at least 1, of a file: name it by --records")
    read = read_records(records)[:limit] if records is not None else ()
    request = filled(TrainRequest, given, editor=name, records=read)
    carry_out(Plan(request), load, session, json)


train.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [*inspect.signature(_options, eval_str=True).parameters.values(), *parameters([TrainRequest])]
)
