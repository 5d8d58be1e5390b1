"""``workbench lens``: look through a lens at a prompt, and ``workbench lens fit``: fit one that is corrected."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from workbench.case import Case
from workbench.cli.asking import asks, asks_of_model
from workbench.cli.options import Typed
from workbench.errors import InputError
from workbench.methods.lens.fitting import FitLensRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.protocol import Request
from workbench.settings import filled

FITTED = get_args(FitLensRequest.model_fields["lens"].annotation)
"""The lenses that can be fitted here."""


class ShowByDefault(TyperGroup):
    """``workbench lens "The capital of"`` means ``workbench lens show "The capital of"``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``show`` before arguments that begin with no command."""
        return super().parse_args(ctx, args if args and args[0] in self.commands else ["show", *args])


class _OfTheGroup(typer.Context):
    """Usage and errors name the group, as that is how the command is called."""

    @property
    def command_path(self) -> str:
        """``workbench lens``."""
        return self.parent.command_path if self.parent is not None else super().command_path


class LookThrough(TyperCommand):
    """The command that is meant where none is named."""

    context_class = _OfTheGroup


lens_app = typer.Typer(
    cls=ShowByDefault,
    rich_markup_mode=None,
    help="Print what the model would say if it stopped at each layer; fit a lens that is corrected.",
)


@lens_app.command("show", cls=LookThrough)
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


@lens_app.command("fit")
@asks_of_model(FitLensRequest)
def fit(
    typed: Typed,
    lens: Annotated[str, typer.Argument(help=f"The lens: {' or '.join(FITTED)}.", show_default=False)],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it even if it takes hours.")] = False,
) -> FitLensRequest:
    """Fit a lens to a model's weights, measure it on held-out text, and keep it in the cache.

    A fit of the Jacobian lens that was stopped goes on when it is asked for again.
    """
    if lens not in FITTED:
        raise InputError(f"{lens!r} is no lens that can be fitted; choose {' or '.join(FITTED)}")
    return filled(FitLensRequest, typed, lens=lens, confirmed=yes)
