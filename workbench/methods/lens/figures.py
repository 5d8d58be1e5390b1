"""What there is to draw of a logit lens: all layers and tokens as one picture, and a table for each token."""

from __future__ import annotations

from collections.abc import Callable

from workbench.figures import Axis, Cell, Column, Figure, Heatmap, Scale, Table, notes
from workbench.methods.lens.logit_lens import LensColumn, LensResult
from workbench.methods.lens.translators import TITLES
from workbench.wording import signed


def lens_figures(result: LensResult) -> tuple[Figure, ...]:
    """The picture where there are several tokens, and a table of each that was computed, the last layer on top."""
    columns = [(position, column) for position, column in enumerate(result.columns) if column is not None]
    picture = (_picture(result, columns[0][1]),) if len(columns) > 1 else ()
    tables = (_table(result, position, column) for position, column in columns)
    return (*picture, *tables, *notes(result.encoded.notes))


def _picture(result: LensResult, like: LensColumn) -> Heatmap:
    """Top tokens, by layer and token, with the logit difference, the target's probability or their own."""
    encoded = result.encoded
    rows = range(len(like.entropy) - 1, -1, -1)
    target = encoded.target.text.strip() if encoded.target else ""
    value: Callable[[LensColumn, int], float]
    if encoded.target and encoded.foil and like.logit_difference:
        what = f"logit of “{target}” minus “{encoded.foil.text.strip()}”"
        value = lambda column, row: (column.logit_difference or ())[row]  # noqa: E731
    elif encoded.target and like.target:
        what = f"p(“{target}”)"
        value = lambda column, row: column.target.probability[row] if column.target else 0.0  # noqa: E731
    else:
        what = "p of the first token"
        value = lambda column, row: column.top_probabilities[row][0]  # noqa: E731
    values = tuple(tuple(value(column, row) if column else None for column in result.columns) for row in rows)
    numbers = (number for line in values for number in line)
    return Heatmap(
        title=f"{TITLES[result.lens]} · first token, {what}",
        rows=Axis(
            name="layer",
            labels=tuple("emb" if row == 0 else str(row - 1) for row in rows),
            index="layer",
            first=rows[0] - 1,
            step=-1,
        ),
        columns=Axis(name="token", labels=encoded.texts, index="token", subject=encoded.subject or (0, 0)),
        values=values,
        scale=Scale.signed(numbers, "logits", 1) if like.logit_difference else Scale(unit="probability"),
        texts=tuple(tuple(_first(column, row) for column in result.columns) for row in rows),
    )


def _first(column: LensColumn | None, row: int) -> str:
    token = column.top_tokens[row][0] if column else ""
    return token.strip() or token


def _table(result: LensResult, position: int, column: LensColumn) -> Table:
    encoded = result.encoded
    pairs = ((encoded.target, column.target), (encoded.foil, column.foil))
    tracks = [(choice.text, track) for choice, track in pairs if choice and track]
    columns = [Column(heading="layer", right=True)]
    for number in range(1, len(column.top_tokens[0]) + 1):
        columns += [
            Column(heading=f"top-{number}", spare=number - 1),
            Column(heading=f"p{number}", right=True, spare=number - 1),
        ]
    headings = [heading for text, _ in tracks for heading in (f"p{text}", "rank")]
    headings += (["T−F"] if column.logit_difference else []) + ["H bit", "KL nat"]
    columns += [Column(heading=heading, right=True) for heading in headings]
    rows = []
    for row in reversed(range(len(column.entropy))):
        cells: list[str | Cell] = ["emb" if row == 0 else str(row - 1)]
        for token, p in zip(column.top_tokens[row], column.top_probabilities[row], strict=True):
            cells += [_token(result, token), f"{p:.2f}"]
        for _, track in tracks:
            cells += [f"{track.probability[row]:.2f}", str(track.rank[row])]
        if column.logit_difference:
            cells.append(signed(column.logit_difference[row], 1))
        rows.append((*cells, f"{column.entropy[row]:.1f}", f"{column.kl[row]:.1f}"))
    title = f"{TITLES[result.lens]} at “{encoded.texts[position].strip()}” (token {position})"
    return Table(title=title, columns=tuple(columns), rows=tuple(rows))


def _token(result: LensResult, token: str) -> Cell:
    target, foil = result.encoded.target, result.encoded.foil
    is_target, is_foil = target is not None and token == target.text, foil is not None and token == foil.text
    return Cell(text=token.strip() or token, meaning="target" if is_target else "foil" if is_foil else "plain")
