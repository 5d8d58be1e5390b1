"""What there is to draw of a watched generation: the text by how unsure it was, every token, curves, and the fork."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.figures import (
    Cell,
    Column,
    Curve,
    Curves,
    Figure,
    Line,
    Meaning,
    Scale,
    Table,
    TokenScores,
    line,
    notes,
    said,
)
from workbench.methods.watch.result import LookedAt, WatchedText, WatchedToken
from workbench.models.tokentext import display

if TYPE_CHECKING:
    from workbench.methods.watch.result import WatchRequest, WatchResult
    from workbench.protocol import Request

LOW = math.log(2)
"""A margin below this is marked: the first choice is less than twice as likely as the second."""

SHOWN = 2
"""Tokens that are named as looked at in the table, so that a row is a line; the result holds more."""

TOKENS = "What was said"
"""The title of the table in which a place can be forked at."""


def figures(result: WatchResult) -> tuple[Figure, ...]:
    """The text by entropy, sentences, all tokens, curves of margin, entropy and monitors, and other texts beside it."""
    spoken = result.spoken
    if not spoken.tokens:
        return said("nothing was said yet")
    found: list[Figure] = [_by_entropy(result), *said(*_sentences(result)), _table(result, spoken, TOKENS)]
    if len(spoken.tokens) > 1:
        found.append(_certainty(spoken))
        found += _readings(result)
    if result.fork is not None and result.fork.tokens:
        names = ("as it was said", "after the fork")
        found += [*said(*_of_the_fork(result, result.fork)), _both("Both branches", names, spoken, result.fork)]
    if result.beside is not None:
        names = ("as it was said", result.beside_is)
        found += [*said(*_beside(result, result.beside)), _both("Side by side", names, spoken, result.beside)]
    return (*found, *notes(result.encoded.notes))


def opened(request: WatchRequest, result: WatchResult, figure: Figure, place: tuple[int, int]) -> Request | None:
    """The same with a fork: the runner-up in place of the token in a row."""
    if not isinstance(figure, Table) or figure.title != TOKENS or place[0] >= len(result.spoken.tokens):
        return None
    return request.model_copy(update={"fork": str(place[0])})


def _by_entropy(result: WatchResult) -> TokenScores:
    tokens = result.spoken.tokens
    highest = max(1.0, *(token.entropy for token in tokens))
    return TokenScores(
        title="Entropy of each token (bits)",
        tokens=tuple(token.text for token in tokens),
        scores=tuple(token.entropy for token in tokens),
        scale=Scale(low=0, high=highest, unit="bits", decimals=1),
        attributed=(0, len(tokens)),
    )


def _sentences(result: WatchResult) -> list[str | Line]:
    spoken = result.spoken
    found: list[str | Line] = [display(spoken.text)]
    lowest = min(range(len(spoken.tokens)), key=lambda place: spoken.tokens[place].margin)
    low = spoken.tokens[lowest]
    sentence = (
        f"the smallest margin is {low.margin:.2f} at token {lowest}: “{low.text.strip()}” {low.probability:.2f}, "
        f"“{low.instead.strip()}” {low.instead_probability:.2f}"
    )
    found.append(line(sentence, "warning" if low.margin < LOW else "plain"))
    if spoken.ending:
        found.append(line(_why(result), "note"))
    return found


def _why(result: WatchResult) -> str:
    last = len(result.spoken.tokens) - 1
    token = result.spoken.tokens[last]
    if result.spoken.ending == "monitor":
        highest = max(range(len(token.monitors)), key=lambda at: token.monitors[at], default=0)
        return f"stopped at token {last}, where {_monitor(result, highest)} reads {token.monitors[highest]:.2f}"
    return {
        "end": "the model ended its text here",
        "margin": f"stopped at token {last}, whose margin is {token.margin:.2f}",
        "length": f"stopped after {last + 1} tokens",
    }[result.spoken.ending]


def _table(result: WatchResult, text: WatchedText, title: str) -> Table:
    tokens = text.tokens
    with_depth = any(token.depth is not None for token in tokens)
    with_looked = any(token.looked for token in tokens)
    columns = [
        Column(heading="", right=True),
        Column(heading="token"),
        Column(heading="p", right=True),
        Column(heading="margin", right=True),
        Column(heading="instead"),
        Column(heading="p", right=True),
    ]
    columns += [Column(heading="depth", right=True)] if with_depth else []
    columns += [Column(heading=_monitor(result, at), right=True) for at in range(len(result.monitors))]
    columns += [Column(heading="looked at", spare=2)] if with_looked else []
    rows = []
    for place, token in enumerate(tokens):
        row = [
            Cell(text=str(text.first + place), meaning="muted"),
            Cell(text=token.text, meaning="strong"),
            Cell(text=f"{token.probability:.3f}"),
            Cell(text=f"{token.margin:.2f}", meaning=_meaning(token)),
            Cell(text=token.instead),
            Cell(text=f"{token.instead_probability:.3f}"),
        ]
        row += [Cell(text=_depth(token))] if with_depth else []
        row += [Cell(text=f"{value:.2f}") for value in token.monitors]
        row += [Cell(text=_looked(result, token.looked))] if with_looked else []
        rows.append(tuple(row))
    return Table(title=title, columns=tuple(columns), rows=tuple(rows))


def _meaning(token: WatchedToken) -> Meaning:
    return "warning" if token.margin < LOW else "plain"


def _depth(token: WatchedToken) -> str:
    if token.depth is not None:
        return str(token.depth)
    return "…" if token.rank == 1 else f"rank {token.rank}"


def _looked(result: WatchResult, looked: Sequence[LookedAt]) -> str:
    texts = (*result.encoded.texts, *(token.text for token in result.spoken.tokens))
    return ", ".join(f"{texts[each.token].strip() or texts[each.token]} {each.share:.2f}" for each in looked[:SHOWN])


def _monitor(result: WatchResult, at: int) -> str:
    monitor = result.monitors[at]
    several = sum(each.id == monitor.id for each in result.monitors) > 1
    return f"{monitor.id[:8]} L{monitor.layer}" if several else monitor.id[:8]


def _certainty(text: WatchedText) -> Curves:
    places = range(text.first, text.first + len(text.tokens))
    return Curves(
        title="Margin and entropy",
        x="token",
        y="logits",
        right="bits",
        curves=(
            Curve(label="margin", points=tuple(zip(places, (token.margin for token in text.tokens), strict=True))),
            Curve(
                label="entropy",
                points=tuple(zip(places, (token.entropy for token in text.tokens), strict=True)),
                right=True,
            ),
        ),
    )


def _readings(result: WatchResult) -> tuple[Figure, ...]:
    if not result.monitors:
        return ()
    tokens = result.spoken.tokens
    curves = tuple(
        Curve(
            label=_monitor(result, at),
            points=tuple((place, token.monitors[at]) for place, token in enumerate(tokens)),
        )
        for at in range(len(result.monitors))
    )
    named = dict.fromkeys(f"{monitor.id[:8]} is {monitor.title}" for monitor in result.monitors)
    return (
        Curves(title="What monitors read", x="token", y="along the direction", curves=curves),
        *notes(named),
    )


def _of_the_fork(result: WatchResult, fork: WatchedText) -> list[str | Line]:
    own, other = result.spoken.tokens[fork.first], fork.tokens[0]
    margins = [
        sum(token.margin for token in tokens) / len(tokens)
        for tokens in (result.spoken.tokens[fork.first :], fork.tokens)
    ]
    return [
        line(f"“{other.text.strip()}” in place of “{own.text.strip()}” at token {fork.first}:", "heading"),
        display(fork.text),
        f"the mean margin from there on is {margins[0]:.2f} as it was said and {margins[1]:.2f} after the fork",
    ]


def _beside(result: WatchResult, beside: WatchedText) -> list[str | Line]:
    parts = parted(result.spoken, beside)
    where = "both are the same as far as both go"
    if parts is not None:
        own, other = (
            f"“{text.tokens[parts].text.strip()}” {text.tokens[parts].probability:.2f}"
            for text in (result.spoken, beside)
        )
        where = f"they part at token {parts}: {own}, and {result.beside_is} {other}"
    return [line(f"{result.beside_is}:", "heading"), display(beside.text), where]


def parted(one: WatchedText, other: WatchedText) -> int | None:
    """The first token at which two texts differ, None where neither says anything that the other does not."""
    pairs = zip(one.tokens, other.tokens, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine.id != theirs.id), None)


def _both(title: str, names: tuple[str, str], spoken: WatchedText, other: WatchedText) -> Table:
    """Two texts side by side, from the token on with which the other one begins; where they part is marked."""
    rest = spoken.tokens[other.first :]
    parts = parted(WatchedText(tokens=rest), other)
    rows = []
    for place in range(max(len(rest), len(other.tokens))):
        row = [Cell(text=f"{'≠ ' * (place == parts)}{other.first + place}", meaning="muted")]
        for tokens in (rest, other.tokens):
            if place < len(tokens):
                token = tokens[place]
                row += [Cell(text=token.text, meaning="strong"), Cell(text=f"{token.probability:.3f}")]
                row += [Cell(text=f"{token.margin:.2f}", meaning=_meaning(token)), Cell(text=_depth(token))]
            else:
                row += [Cell(text="")] * 4
        rows.append(tuple(row))
    number = Column(heading="p", right=True)
    margin, depth = Column(heading="margin", right=True), Column(heading="depth", right=True, spare=1)
    first = (Column(right=True), Column(heading=names[0]), number, margin, depth)
    second = (Column(heading=names[1]), number, margin, depth)
    return Table(title=title, columns=(*first, *second), rows=tuple(rows))
