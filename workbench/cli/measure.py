"""``workbench models measure``: find by edits and a trace which layer to edit on a model, and keep it."""

from __future__ import annotations

import inspect
from typing import Any

from workbench.cli.asking import LOAD, Device, Dtype, Json, ModelName, Plan, SessionPath, carry_out
from workbench.cli.options import parameters
from workbench.editing.measuring import MeasureRequest
from workbench.engine import LoadRequest
from workbench.models.store.catalog import DEFAULT_MODEL
from workbench.settings import filled


def _options(
    *,
    model: ModelName = DEFAULT_MODEL,
    dtype: Dtype = "auto",
    device: Device = "auto",
    session: SessionPath = None,
    json: Json = False,
) -> None:
    """Never called: its parameters are the command's, before those of the settings."""


def measure(**given: Any) -> None:
    """Measure at which layer facts are best edited on a model, and make that its default.

    It traces shipped facts and edits some of them at several layers, which takes minutes; what was computed is kept, so
    that an interrupted measurement goes on where it stopped.
    """
    load = LoadRequest(**{option: given.pop(option) for option in LOAD})
    session, json = given.pop("session"), given.pop("json")
    carry_out(Plan(filled(MeasureRequest, given)), load, session, json)


measure.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [*inspect.signature(_options, eval_str=True).parameters.values(), *parameters([MeasureRequest])]
)
