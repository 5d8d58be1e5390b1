"""What there is to draw of a result, as plain data: meanings and not colours, whatever the surface.

A method says `figures(result)`; one renderer each draws them for the command line (Rich), for a pane (Textual) and for
a report. Texts are for one line and hold no control characters: see `Shown`. Figures refuse shapes that make no sense.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from workbench.models.tokentext import display
from workbench.protocol import Frozen

Meaning = Literal[
    "plain",
    "strong",
    "muted",
    "heading",
    "note",  # a sentence for the person about what was decided
    "good",
    "warning",
    "bad",
    "target",  # it is, or pulls towards, the token that is wanted
    "foil",
    "subject",
]
"""What a text means. How that looks is the renderer's, and never by colour alone."""

Index = Literal["layer", "token"]
"""What the places of an axis are, where a picture of it can follow the cursor that all panes share."""

Shown = Annotated[str, AfterValidator(lambda text: text if text.isprintable() else display(text))]
"""A text that is safe to draw: what is not printable is made visible as in a token's display text."""


class Scale(Frozen):
    """What numbers are measured on, from ``low`` to ``high``; what lies outside saturates.

    "sequential" is much or little, and may run downwards; "signed" is symmetric about 0, whose positive side means
    the target. Where ``low`` is ``high`` no number has a share of the scale.
    """

    ramp: Literal["sequential", "signed"] = "sequential"
    low: float = 0.0
    high: float = 1.0
    unit: Shown = ""
    decimals: Annotated[int, Field(ge=0, le=12)] = 2

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("a scale has finite ends")
        if self.ramp == "signed" and (self.low != -self.high or self.high < 0):
            raise ValueError("a signed scale goes from −high to high")
        return self

    @classmethod
    def signed(cls, values: Iterable[float | None], unit: str = "", decimals: int = 2) -> Scale:
        """The signed scale whose end is the largest value, whatever its sign."""
        end = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
        return cls(ramp="signed", low=-end, high=end, unit=unit, decimals=decimals)

    def share(self, value: float | None) -> float:
        """Where a value is on the scale: 0 … 1, or −1 … 1 on a signed one; beyond that where it lies outside.

        NaN for an unknown value, one that is not finite, and where the scale has no extent.
        """
        if value is None or not math.isfinite(value) or self.low == self.high:
            return math.nan
        return value / self.high if self.ramp == "signed" else (value - self.low) / (self.high - self.low)

    def text(self, value: float | None) -> str:
        """A number as it is written on this scale, without its unit: "–" where it is unknown."""
        if value is None or not math.isfinite(value):
            return "–" if value is None else "?"
        sign = "+" if self.ramp == "signed" else ""
        return f"{value:{sign}.{self.decimals}f}".replace("-", "−")


class Axis(Frozen):
    """The rows or columns of a heatmap: a label for each, and what they all are.

    ``index``: they are the layers, or tokens, from ``first`` on (the embedding is layer −1), up or down by ``step``.
    Labels [start, stop) of ``subject`` are the subject's.
    """

    name: Shown
    labels: tuple[Shown, ...]
    index: Index | None = None
    first: int = 0
    step: Literal[1, -1] = 1
    subject: tuple[int, int] = (0, 0)

    @model_validator(mode="after")
    def _subject_is_inside(self) -> Self:
        start, stop = self.subject
        if not 0 <= start <= stop <= len(self.labels):
            raise ValueError(f"the subject {self.subject} is not among {len(self.labels)} labels")
        return self

    @classmethod
    def of_layers(cls, layers: int) -> Self:
        """So many layers, the last on top."""
        labels = tuple(map(str, range(layers - 1, -1, -1)))
        return cls(name="layer", labels=labels, index="layer", first=layers - 1, step=-1)

    def is_subject(self, place: int) -> bool:
        """Whether a label is one of the subject's."""
        return self.subject[0] <= place < self.subject[1]

    def index_of(self, place: int) -> int:
        """The layer, or token, of a place."""
        return self.first + self.step * place

    def place_of(self, index: int) -> int:
        """The place of a layer, or token, or the nearest there is."""
        return min(max(0, self.step * (index - self.first)), max(0, len(self.labels) - 1))


class _Figure(Frozen):
    title: Shown = ""


class Heatmap(_Figure):
    """``values[row][column]``, None where one is not known.

    ``texts``, where there are any, are what cells say (a token); else they say their numbers. ``estimated`` are
    values that are not exact. ``peaks`` are the places (row, column) that stand out.
    """

    kind: Literal["heatmap"] = "heatmap"
    rows: Axis
    columns: Axis
    values: tuple[tuple[float | None, ...], ...]
    scale: Scale = Scale()
    texts: tuple[tuple[Shown, ...], ...] = ()
    estimated: tuple[tuple[bool, ...], ...] = ()
    peaks: tuple[tuple[int, int], ...] = ()

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        shape = (len(self.rows.labels), len(self.columns.labels))
        _check_shape("values", self.values, shape)
        if self.texts:
            _check_shape("texts", self.texts, shape)
        if self.estimated:
            _check_shape("estimates", self.estimated, shape)
        if outside := [peak for peak in self.peaks if not (0 <= peak[0] < shape[0] and 0 <= peak[1] < shape[1])]:
            raise ValueError(f"the peak {outside[0]} is outside {shape[0]} × {shape[1]} cells")
        return self

    def is_estimate(self, row: int, column: int) -> bool:
        """Whether a value is known, and not exactly."""
        return bool(self.estimated) and self.estimated[row][column] and self.values[row][column] is not None


class _Meant(Frozen):
    """A text and what it means; a plain one may be given as a string."""

    text: Shown
    meaning: Meaning = "plain"

    @model_validator(mode="before")
    @classmethod
    def _of_a_string(cls, data: Any) -> Any:
        return {"text": data} if isinstance(data, str) else data


class Cell(_Meant):
    """What stands in one place of a table."""


class Column(Frozen):
    """A heading. Numbers stand to the ``right`` and are never cut; of other texts ``wraps`` says that they are
    sentences, which take several lines where there is no room, while what is not is cut.

    Columns that are ``spare`` (1, 2, …) may be left out where there is no room: together, the highest first.
    """

    heading: Shown = ""
    right: bool = False
    wraps: bool = False
    spare: int = 0

    @model_validator(mode="before")
    @classmethod
    def _of_a_string(cls, data: Any) -> Any:
        return {"heading": data} if isinstance(data, str) else data


class Table(_Figure):
    """Rows of texts under headings."""

    kind: Literal["table"] = "table"
    columns: tuple[Column, ...] = Field(min_length=1)
    rows: tuple[tuple[Cell, ...], ...]

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        _check_shape("rows", self.rows, (len(self.rows), len(self.columns)))
        return self


class TokenScores(_Figure):
    """A number for each token of a text.

    Only tokens [start, stop) of ``attributed`` have one that says something. Positive ones mean ``target``,
    negative ones ``foil``, where these are given. Tokens of ``subject`` are marked.
    """

    kind: Literal["token-scores"] = "token-scores"
    tokens: tuple[Shown, ...] = Field(min_length=1)
    scores: tuple[float | None, ...]
    scale: Scale
    attributed: tuple[int, int]
    subject: tuple[int, int] = (0, 0)
    target: Shown = ""
    foil: Shown = ""

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        if len(self.scores) != len(self.tokens):
            raise ValueError(f"{len(self.scores)} scores of {len(self.tokens)} tokens")
        for name, (start, stop) in (("attributed", self.attributed), ("subject", self.subject)):
            if not 0 <= start <= stop <= len(self.tokens):
                raise ValueError(f"the {name} tokens {(start, stop)} are not among {len(self.tokens)}")
        return self

    def is_subject(self, token: int) -> bool:
        """Whether a token is one of the subject's."""
        return self.subject[0] <= token < self.subject[1]


class Bar(Frozen):
    """One labelled number, with the ``interval`` in which it surely lies."""

    label: Shown
    value: float | None
    interval: tuple[float, float] | None = None
    meaning: Meaning = "plain"


class Bars(_Figure):
    """Labelled numbers to be compared."""

    kind: Literal["bars"] = "bars"
    bars: tuple[Bar, ...]
    scale: Scale


class Curve(Frozen):
    """Points (x, y) by x, None where y is not known. ``right``: read at the right axis, which is another scale."""

    label: Shown
    points: tuple[tuple[float, float | None], ...]
    right: bool = False
    decimals: Annotated[int, Field(ge=0, le=12)] = 2

    @model_validator(mode="after")
    def _goes_forward(self) -> Self:
        places = [x for x, _ in self.points]
        if places != sorted(set(places)):
            raise ValueError(f"the points of {self.label} are not in the order of x")
        return self


class Curves(_Figure):
    """Curves over one x. ``y`` names the left axis, ``right`` the right one, where a curve is read there."""

    kind: Literal["curves"] = "curves"
    x: Shown
    y: Shown
    right: Shown = ""
    curves: tuple[Curve, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _right_axis_has_a_name(self) -> Self:
        if any(curve.right for curve in self.curves) != bool(self.right):
            raise ValueError("the right axis has a name where, and only where, a curve is read there")
        return self

    @property
    def places(self) -> tuple[float, ...]:
        """Every x at which a curve has a point."""
        return tuple(sorted({x for curve in self.curves for x, _ in curve.points}))


class Line(_Meant):
    """A sentence of its own."""

    @property
    def shown(self) -> str:
        """The sentence, with what says without colour that it is a note or warns; it may have a sign of its own."""
        signs = {"note": "· ", "warning": "! " if self.text[:1].isalnum() else ""}
        return signs.get(self.meaning, "") + self.text


class Lines(_Figure):
    """Sentences, one under the other."""

    kind: Literal["lines"] = "lines"
    lines: tuple[Line, ...]


Figure = Annotated[Heatmap | Table | TokenScores | Bars | Curves | Lines, Field(discriminator="kind")]


def line(text: str, meaning: Meaning) -> Line:
    """A sentence that means something."""
    return Line(text=text, meaning=meaning)


def said(*sentences: str | Line) -> tuple[Figure, ...]:
    """Sentences as a figure, a line each; none as no figure."""
    return (Lines(lines=sentences),) if sentences else ()


def notes(sentences: Iterable[str]) -> tuple[Figure, ...]:
    """Notes for the person as a figure."""
    return said(*(line(sentence, "note") for sentence in sentences))


def _check_shape(name: str, cells: Sequence[Sequence[object]], shape: tuple[int, int]) -> None:
    rows, columns = shape
    if len(cells) != rows:
        raise ValueError(f"{len(cells)} rows of {name} where there are {rows}")
    if wrong := [(row, len(line)) for row, line in enumerate(cells) if len(line) != columns]:
        raise ValueError(f"row {wrong[0][0]} of the {name} has {wrong[0][1]} cells where there are {columns} columns")
