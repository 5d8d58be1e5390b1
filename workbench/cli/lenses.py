"""``workbench lens``: look through a lens at a prompt, and ``workbench lens fit``: fit one that is corrected."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperGroup

from workbench.case import Case
from workbench.cli.asking import LOAD, Device, Dtype, Json, ModelName, Plan, SessionPath, asks, carry_out
from workbench.cli.options import Typed, parameters
from workbench.engine import LoadRequest
from workbench.errors import InputError
from workbench.methods.lens.fitting import FitLensRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.models.store.catalog import DEFAULT_MODEL
from workbench.protocol import Request
from workbench.settings import filled

FITTED = get_args(FitLensRequest.model_fields["lens"].annotation)
"""The lenses that can be fitted here."""


class ShowByDefault(TyperGroup):
    """``workbench lens "The capital of"`` means ``workbench lens show "The capital of"``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``show`` before arguments that begin with no command."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["show", *args])


lens_app = typer.Typer(
    cls=ShowByDefault,
    rich_markup_mode=None,
    help="Print what the model would say if it stopped at each layer; fit a lens that is corrected.",
)


@lens_app.command("show")
@asks(LensRequest)
def show(
    case: Case,
    typed: Typed,
    position: Annotated[
        int | None,
        typer.Option(help="The token to look at, from 0; negative from the end.  [default: -1]", show_default=False),
    ] = None,
    all_tokens: Annotated[bool, typer.Option("--all", help="Compute every token, not only that one.")] = False,
) -> Request:
    """Print what the model would say if it stopped at each layer, plainly or by a corrected lens.

    `workbench lens fit ridge` and `workbench lens fit jacobian` fit such a lens.
    """
    at = -1 if position is None else position
    asked = {"first": position, "positions": None} if all_tokens else {"first": at, "positions": (at,)}
    return filled(LensRequest, typed, case=case, **asked)


def _options(
    lens: Annotated[str, typer.Argument(help=f"The lens: {' or '.join(FITTED)}.", show_default=False)],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it even if it takes hours.")] = False,
    model: ModelName = DEFAULT_MODEL,
    dtype: Dtype = "auto",
    device: Device = "auto",
    session: SessionPath = None,
    json: Json = False,
) -> None:
    """Never called: its parameters are the command's, before those of the settings."""


def fit(**given: Any) -> None:
    """Fit a lens to a model's weights, measure it on held-out text, and keep it in the cache.

    A fit of the Jacobian lens that was stopped goes on when it is asked for again.
    """
    lens, yes = given.pop("lens"), given.pop("yes")
    load = LoadRequest(**{option: given.pop(option) for option in LOAD})
    session, json = given.pop("session"), given.pop("json")
    if lens not in FITTED:
        raise InputError(f"{lens!r} is no lens that can be fitted; choose {' or '.join(FITTED)}")
    request = filled(FitLensRequest, given, lens=lens, confirmed=yes)
    carry_out(Plan(request), load, session, json)


fit.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [*inspect.signature(_options, eval_str=True).parameters.values(), *parameters([FitLensRequest])]
)
lens_app.command("fit")(fit)
