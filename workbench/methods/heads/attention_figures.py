"""What there is to draw of one head: where it looks, what arrives from there, what it writes, and the whole grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.figures import Axis, Cell, Column, Figure, Heatmap, Scale, Table, TokenScores, line, said
from workbench.methods.heads.figures import difference_in_words
from workbench.methods.heads.names import named, token_named
from workbench.protocol import Request

if TYPE_CHECKING:
    from workbench.methods.heads.attention import AttentionRequest, AttentionResult

_NUMBER = Scale(ramp="signed", low=-1, high=1, decimals=2)


def figures(result: AttentionResult) -> tuple[Figure, ...]:
    """Sentences, the weights and what arrives by token, the tokens written, and the grid where there is one."""
    return (*_said(result), _weights(result), _arriving(result), _written(result), *_grid(result))


def opened(
    request: AttentionRequest, result: AttentionResult, figure: Figure, place: tuple[int, int]
) -> Request | None:
    """The head's edge between two tokens knocked out."""
    from workbench.methods.heads.knock_out import KnockoutRequest

    row, column = place
    if isinstance(figure, TokenScores):
        row = result.position
    elif not isinstance(figure, Heatmap):
        return None
    if column > row or row > result.position:
        return None
    edge = f"{named(result.layer, result.head)}:{row}>{column}"
    return KnockoutRequest(case=request.case, position=result.position, edges=(edge,))


def _said(result: AttentionResult) -> tuple[Figure, ...]:
    texts, name = result.encoded.texts, named(result.layer, result.head)
    looked = sorted(range(len(result.weights)), key=lambda token: -result.weights[token])[:3]
    at = ", ".join(f"“{token_named(texts, token)}” {result.weights[token]:.2f}" for token in looked)
    of = difference_in_words(result.target, result.foil)
    own = texts[result.position].strip() or texts[result.position]
    sentences = [line(f"{name} looks from “{own}” at {at}; it adds {_NUMBER.text(result.added)} to {of}", "plain")]
    if result.sinks:
        marked = ", ".join(f"{token} “{texts[token].strip() or texts[token]}”" for token in result.sinks)
        sentences.append(line(f"attention sink: token {marked}, which most tokens after it look at", "note"))
    if result.beyond:
        sentences.append(line(f"{result.beyond:.2f} of the attention goes to the model's learned sink", "note"))
    if result.shared_by > 1:
        sentences.append(line(f"{result.shared_by} heads share its keys and values", "note"))
    return said(*sentences)


def _weights(result: AttentionResult) -> TokenScores:
    return _tokens(result, "Where it looks", result.weights, Scale(low=0, high=1, unit="of its attention"))


def _arriving(result: AttentionResult) -> TokenScores:
    scale = Scale.signed(result.arriving, unit="logits")
    return _tokens(result, "What arrives from there", result.arriving, scale, signed=True)


def _tokens(
    result: AttentionResult, title: str, scores: tuple[float, ...], scale: Scale, signed: bool = False
) -> TokenScores:
    rest = len(result.encoded.texts) - len(scores)
    return TokenScores(
        title=title,
        tokens=result.encoded.texts,
        scores=(*scores, *[None] * rest),
        scale=scale,
        attributed=(0, len(scores)),
        subject=result.encoded.subject or (0, 0),
        target=result.target if signed else "",
        foil=(result.foil or "") if signed else "",
    )


def _written(result: AttentionResult) -> Table:
    number = Column(heading="logit", right=True)
    rows = tuple(
        (up.text, _NUMBER.text(up.logit), Cell(text=down.text), _NUMBER.text(down.logit))
        for up, down in zip(result.raises, result.lowers, strict=True)
    )
    return Table(title="What it writes", columns=("raises", number, "lowers", number), rows=rows)


def _grid(result: AttentionResult) -> tuple[Figure, ...]:
    if not result.grid:
        return ()
    texts = tuple(f"⊥{text}" if token in result.sinks else text for token, text in enumerate(result.encoded.texts))
    tokens = len(texts)
    axis = Axis(name="from", labels=texts, index="token", subject=result.encoded.subject or (0, 0))
    figure = Heatmap(
        title="The whole pattern: each row is a token that looks" + (" (⊥ sink)" if result.sinks else ""),
        rows=axis,
        columns=axis.model_copy(update={"name": "at", "index": None}),
        values=tuple((*row, *[0.0] * (tokens - len(row))) for row in result.grid),
        scale=Scale(low=0, high=1, unit="of the attention"),
    )
    return (figure,)
