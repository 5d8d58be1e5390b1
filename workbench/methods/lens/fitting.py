"""Fitting a lens to a model: ``workbench lens fit ridge`` and ``workbench lens fit jacobian``.

The text is a corpus of the user's or sampled from the model; the model is fitted without edits, and the lens is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from workbench.figures import Cell, Column, Curve, Curves, Figure, Table, said
from workbench.lazy import torch
from workbench.methods.lens.held_out import held_out_kl
from workbench.methods.lens.jacobian import check_cost, fit_jacobian
from workbench.methods.lens.ridge import fit_ridge
from workbench.methods.lens.translators import TITLES, HeldOutKL, LensFit, Translators, keep_lens
from workbench.models.forward.ordinary_text import PER_DIMENSION, corpus_text, sampled_text, text_length
from workbench.models.forward.sampling import document_start
from workbench.paths import written_path
from workbench.protocol import Check, Progress, Request, Result

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.loading import LoadedModel

FEW = 5.0
"""Tokens for each dimension of the residual stream below which the trust strip warns."""


class FitLensRequest(Request):
    """Fit a lens on text, and keep it for these weights in the place of the one before.

    Without a corpus the text is sampled from the model. ``confirmed``: do it even if it takes hours.
    """

    kind: Literal["lens-fit"] = "lens-fit"
    lens: Literal["ridge", "jacobian"] = "ridge"
    tokens: Annotated[int, Field(ge=1, le=10**8, description="Tokens of text that the lens is fitted on.")] = 10_000
    corpus: Annotated[str | None, Field(description="A text file to fit on, instead of sampled text.")] = None
    seed: Annotated[int, Field(ge=0, lt=2**32 - 1, description="Of the sampled text and of the shuffled fit.")] = 0
    confirmed: bool = False


class FitLensResult(Result):
    """The lens that is kept now, and how good it is."""

    kind: Literal["lens-fit"] = "lens-fit"
    about: LensFit
    tokens: Annotated[int, Field(ge=1)]


def run(model: LoadedModel, request: FitLensRequest, progress: Progress) -> FitLensResult:
    """Fit, measure on held-out text, and keep.

    Raises `InputError` for a corpus that cannot be read or is too short, `NotConfirmed` where it would take long,
    `NumericalError` for states that make no sense.
    """
    about, _, tokens = fit_lens(model, request, progress)
    each = tokens / model.info.d_model
    text = Check(name="text", text=f"{each:.1f} tokens a dimension", level="info" if each >= FEW else "warn")
    return FitLensResult(about=about, tokens=tokens, checks=(about.check((model.info.layers + 1) // 2), text))


def fit_lens(model: LoadedModel, request: FitLensRequest, progress: Progress) -> tuple[LensFit, Translators, int]:
    """The same, with the lens itself and the number of tokens."""
    shuffled: Translators | None = None
    mean: Tensor | None = None
    with model.edits.all_off():
        if request.lens == "jacobian" and not request.confirmed:  # before text is sampled, which takes minutes
            length = text_length(model)
            check_cost(model, -(-request.tokens // length), length + len(document_start(model)))
        text, named = _text(model, request, progress)
        tokens = text.shape[0] * (text.shape[1] - len(document_start(model)))
        if request.lens == "ridge":
            fit = fit_ridge(model, text, request.seed, progress)
            translators, shuffled, mean, tokens = fit.translators, fit.shuffled, fit.mean_state, fit.tokens
        else:
            translators = fit_jacobian(model, text, progress)
        known = held_out_kl(model, translators, mean, shuffled, progress)
    about = LensFit(lens=request.lens, source=f"fitted on {tokens:,} tokens of {named}", held_out=known)
    keep_lens(model, about, translators)
    return about, translators, tokens


def _text(model: LoadedModel, request: FitLensRequest, progress: Progress) -> tuple[Tensor, str]:
    """Texts ``(rows, tokens)``, and what they are in words. Sampled text begins with what other statistics share."""
    seed, wanted = request.seed, request.tokens
    if request.corpus:
        corpus = written_path(request.corpus)
        least = 1 if request.lens == "jacobian" else min(wanted, 2 * model.info.d_model)
        return corpus_text(model, corpus, least, wanted, f"a {request.lens} lens needs"), corpus.name
    shared = PER_DIMENSION * model.anatomy.d_mlp
    if wanted < shared:
        text = sampled_text(model, wanted, f"{seed}-{wanted}", seed, progress)
    else:
        text = sampled_text(model, shared, str(seed), seed, progress)
        more = wanted - len(text) * text_length(model)
        if more > 0:
            text = torch.cat([text, sampled_text(model, more, f"{seed + 1}-{more}", seed + 1, progress)])
    return text, f"sampled text (seed {seed})"


def fit_figures(result: FitLensResult) -> tuple[Figure, ...]:
    """KL by layer as curves, and as a table with its controls."""
    known, name = result.about.held_out, TITLES[result.about.lens]
    columns = list(_columns(known, name))
    layers = range(-1, len(known.lens) - 1)
    curves = tuple(
        Curve(label=label, points=tuple(zip(map(float, layers), values, strict=True))) for label, values in columns
    )
    rows = [
        ("emb" if layer < 0 else str(layer), *(f"{values[layer + 1]:.2f}" for _, values in columns))
        for layer in reversed(layers)
    ]
    headings = (Column(heading="layer", right=True), *(Column(heading=label, right=True) for label, _ in columns))
    title = f"KL to the final distribution on {known.tokens} held-out tokens (nats)"
    return (
        *said(f"{name} {result.about.source}"),
        Curves(title=title, x="layer", y="nats", curves=curves),
        Table(title=title, columns=headings, rows=tuple(tuple(Cell(text=text) for text in row) for row in rows)),
    )


def _columns(known: HeldOutKL, name: str) -> Iterator[tuple[str, tuple[float, ...]]]:
    yield name, known.lens
    yield f"{name}, median", known.lens_median
    yield TITLES["logit"], known.logit
    yield f"{TITLES['logit']}, median", known.logit_median
    yield "mean state", (known.mean_state,) * len(known.lens)
    if known.shuffled is not None:
        yield "shuffled fit", known.shuffled
