"""Which lens a request is answered by: read from a file, kept for these weights, or fitted now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.methods.lens.fitting import FitLensRequest, fit_lens
from workbench.methods.lens.lens_files import read_lens
from workbench.methods.lens.translators import LensFit, LensName, Translators, kept_lens
from workbench.protocol import Check, Progress

if TYPE_CHECKING:
    from workbench.loading import LoadedModel


def chosen_lens(
    model: LoadedModel, lens: LensName, lens_file: str | None, progress: Progress
) -> tuple[LensFit | None, Translators | None]:
    """The lens of that name, nothing for the plain one. A ridge lens is fitted where there is none, in minutes.

    Raises `InputError` for one that is not there or not for these weights, `ModelError` for a damaged one.
    """
    if lens_file:
        return read_lens(model, lens, lens_file, progress)
    if lens == "logit":
        return None, None
    if (kept := kept_lens(model, lens)) is not None:
        return kept
    if lens == "ridge":
        about, translators, _ = fit_lens(model, FitLensRequest(lens="ridge"), progress)
        return about, translators
    how = "fit it by workbench lens fit jacobian, or " if lens == "jacobian" else ""
    raise InputError(f"there is no {lens} lens for these weights yet; {how}name the file of one by --lens-file")


def fit_checks(fit: LensFit, layer: int, edited: bool = False) -> tuple[Check, ...]:
    """What the trust strip says of a corrected lens after a layer."""
    if not edited:
        return (fit.check(layer),)
    return (fit.check(layer), Check(name="fit", text="made without the edits that are on"))
