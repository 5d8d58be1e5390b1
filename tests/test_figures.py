"""Figures: plain data that refuses shapes that make no sense, and texts that are safe to draw."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from workbench.figures import (
    Axis,
    Bar,
    Bars,
    Cell,
    Column,
    Curve,
    Curves,
    Figure,
    Heatmap,
    Lines,
    Scale,
    Table,
    TokenScores,
    notes,
    said,
)

ROWS = Axis(name="token", labels=("The", "capital"), index="token", subject=(1, 2))
COLUMNS = Axis(name="layer", labels=("0", "1", "2"), index="layer")
VALUES = ((0.1, 0.2, None), (0.4, 0.5, 0.6))
SCORES: dict[str, Any] = {"tokens": ("a", "b"), "scores": (1.0, None), "scale": Scale(), "attributed": (0, 2)}

ALL: tuple[Figure, ...] = (
    Heatmap(rows=ROWS, columns=COLUMNS, values=VALUES, peaks=((1, 2),)),
    Table(columns=("token", Column(heading="p", right=True)), rows=(("a", "0.5"), (Cell(text="b"), "0.1"))),
    TokenScores(**SCORES),
    Bars(bars=(Bar(label="MEMIT", value=0.5, interval=(0.4, 0.6)),), scale=Scale()),
    Curves(x="edits", y="score", curves=(Curve(label="as-is", points=((0, 1.0), (1, None))),)),
    Lines(lines=("one", "two")),
)


@pytest.mark.parametrize("figure", ALL, ids=lambda figure: figure.kind)
def test_a_figure_is_told_apart_by_its_kind_and_survives_json(figure: Figure) -> None:
    adapter: TypeAdapter[Figure] = TypeAdapter(Figure)
    assert adapter.validate_json(adapter.dump_json(figure)) == figure


@pytest.mark.parametrize(
    ("figure", "wrong"),
    [
        (lambda: Heatmap(rows=ROWS, columns=COLUMNS, values=VALUES[:1]), "1 rows of values where there are 2"),
        (lambda: Heatmap(rows=ROWS, columns=COLUMNS, values=((0.1, 0.2), VALUES[1])), "row 0 of the values has 2"),
        (lambda: Heatmap(rows=ROWS, columns=COLUMNS, values=VALUES, texts=(("a",), ("b",))), "row 0 of the texts"),
        (lambda: Heatmap(rows=ROWS, columns=COLUMNS, values=VALUES, estimated=((True,) * 3,)), "1 rows of estimates"),
        (lambda: Heatmap(rows=ROWS, columns=COLUMNS, values=VALUES, peaks=((2, 0),)), "the peak .* is outside"),
        (lambda: Axis(name="token", labels=("a",), subject=(0, 2)), "the subject"),
        (lambda: Table(columns=("a", "b"), rows=(("1",),)), "row 0 of the rows has 1 cells where there are 2"),
        (lambda: Table(columns=(), rows=()), "at least 1"),
        (lambda: TokenScores(**SCORES | {"scores": (1.0,)}), "1 scores of 2 tokens"),
        (lambda: TokenScores(**SCORES | {"attributed": (1, 3)}), "attributed tokens"),
        (lambda: TokenScores(**SCORES | {"subject": (2, 1)}), "subject tokens"),
        (lambda: Curve(label="loss", points=((1, 0.5), (0, 0.4))), "not in the order of x"),
        (lambda: Curves(x="x", y="y", right="z", curves=(Curve(label="a", points=()),)), "right axis"),
        (lambda: Curves(x="x", y="y", curves=(Curve(label="a", points=(), right=True),)), "right axis"),
        (lambda: Scale(ramp="signed", low=-1, high=2), "signed scale"),
        (lambda: Scale(high=math.nan), "finite"),
        (lambda: Lines(lines=({"text": "a", "meaning": "#FF0000"},)), "Input should be"),
    ],
)
def test_a_shape_that_makes_no_sense_is_refused(figure: Any, wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        figure()


@given(st.text(max_size=30))
def test_whatever_a_text_holds_it_cannot_disturb_a_terminal(text: str) -> None:
    (lines,) = said(text)
    assert isinstance(lines, Lines)
    assert lines.lines[0].text.isprintable()


def test_a_scale_says_where_a_value_is_and_how_it_is_written() -> None:
    assert Scale(low=0.2, high=0.6).share(0.4) == pytest.approx(0.5)
    assert Scale(low=0.6, high=0.2).share(0.3) == pytest.approx(0.75)  # what is restored may fall
    signed = Scale.signed([1.0, -4.0, None, math.nan], "logits", 1)
    assert (signed.low, signed.high, signed.share(-2.0)) == (-4.0, 4.0, -0.5)
    assert [signed.text(value) for value in (-2.04, 3.0, None, math.inf)] == ["−2.0", "+3.0", "–", "?"]


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_not_known_has_no_share(value: float | None) -> None:
    assert math.isnan(Scale().share(value))


def test_where_a_scale_has_no_extent_nothing_has_a_share() -> None:
    assert math.isnan(Scale(low=0.5, high=0.5).share(0.5))
    assert math.isnan(Scale.signed([0.0]).share(0.0))


def test_an_axis_leads_from_its_places_to_layers_and_back() -> None:
    down = Axis(name="layer", labels=("1", "0", "emb"), index="layer", first=1, step=-1)
    assert [down.index_of(place) for place in range(3)] == [1, 0, -1]
    assert [down.place_of(layer) for layer in (1, 0, -1)] == [0, 1, 2]
    assert (down.place_of(7), down.place_of(-5)) == (0, 2)  # the nearest there is


def test_no_sentences_are_no_figure() -> None:
    assert said() == notes([]) == ()
