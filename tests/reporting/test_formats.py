"""Figures outside of the terminal: every kind in every format, with its numbers, and none of its texts is markup."""

from __future__ import annotations

import csv
import io
import json
import math
import xml.etree.ElementTree as ElementTree

import pytest
from pydantic import TypeAdapter

from tests.reporting.nasty import NASTY, Page, in_markdown
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
    line,
)
from workbench.reporting.colours import fill
from workbench.reporting.exporting import together
from workbench.reporting.formats import FORMATS, FigureFormat, written

SVG = "{http://www.w3.org/2000/svg}"

HEATMAP = Heatmap(
    title="A heatmap",
    rows=Axis(name="layer", labels=("1", "0"), index="layer", first=1, step=-1),
    columns=Axis(name="token", labels=("The", " cat"), index="token", subject=(1, 2)),
    values=((0.123456789, None), (-0.5, 1.0)),
    scale=Scale.signed((1.0,), "logits", 1),
    texts=(("a", "b"), ("c", "d")),
    estimated=((True, False), (False, False)),
    peaks=((1, 1),),
)
TABLE = Table(
    title="A table",
    columns=("name", Column(heading="p", right=True)),
    rows=(("=SUM(A1)", "0.5"), (Cell(text="Rome", meaning="target"), "0.25")),
)
SCORES = TokenScores(
    title="Scores", tokens=("<s>", "The", " cat"), scores=(None, 0.25, -1.5), scale=Scale.signed((1.5,), "logits"),
    attributed=(1, 3), subject=(2, 3), target="yes", foil="no",
)  # fmt: skip
BARS = Bars(
    title="Bars", bars=(Bar(label="one", value=0.5, interval=(0.25, 0.75)), Bar(label="two", value=None)), scale=Scale()
)
CURVES = Curves(
    title="Curves", x="step", y="loss", right="p",
    curves=(
        Curve(label="loss", points=((0, 2.0), (1, 1.0), (2, None))),
        Curve(label="probability", points=((0, 0.125),), right=True, decimals=3),
    ),
)  # fmt: skip
LINES = Lines(title="Lines", lines=(line("Mind this.", "warning"), "Plain."))
EVERY: tuple[Figure, ...] = (HEATMAP, TABLE, SCORES, BARS, CURVES, LINES)

NUMBERS: dict[str, tuple[str, ...]] = {
    "heatmap": ("0.1", "−0.5", "+1.0"),
    "table": ("0.5", "0.25"),
    "token-scores": ("+0.25", "−1.50"),
    "bars": ("0.50", "0.25", "0.75"),
    "curves": ("2.00", "1.00", "0.125"),
    "lines": ("Mind this.", "Plain."),
}


@pytest.mark.parametrize("figure", EVERY, ids=lambda figure: figure.kind)
@pytest.mark.parametrize("as_", ["html", "md", "txt"])
def test_what_is_read_has_the_title_and_every_number(figure: Figure, as_: FigureFormat) -> None:
    text = written(figure, as_)
    shown = Page(text).text if as_ == "html" else in_markdown(text).text if as_ == "md" else text
    assert figure.title in shown
    for number in NUMBERS[figure.kind]:
        assert number in shown, text


@pytest.mark.parametrize("figure", EVERY, ids=lambda figure: figure.kind)
def test_json_is_the_figure_itself(figure: Figure) -> None:
    assert TypeAdapter(Figure).validate_json(written(figure, "json")) == figure


def rows(figure: Figure) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written(figure, "csv"))))


def test_csv_has_numbers_as_they_were_computed_and_places_by_their_number() -> None:
    first, second, third, last = rows(HEATMAP)
    assert (first["row"], first["layer"], first["column"], first["token"]) == ("1", "1", "0", "The")
    assert (float(first["value"]), first["text"], first["estimated"]) == (0.123456789, "a", "yes")
    assert (second["value"], second["token"], second["estimated"]) == ("", " cat", "no")
    assert (third["row"], float(third["value"]), last["value"]) == ("0", -0.5, "1.0")
    assert [row["logits"] for row in rows(SCORES)] == ["0.25", "-1.5"]
    assert [(row["value"], row["from"], row["to"]) for row in rows(BARS)] == [("0.5", "0.25", "0.75"), ("", "", "")]
    assert [row["probability"] for row in rows(CURVES)] == ["0.125", "", ""]


def test_no_text_is_a_formula_to_a_spreadsheet_and_no_number_becomes_text() -> None:
    assert rows(TABLE)[0]["name"] == "'=SUM(A1)"
    signed = Bars(bars=(Bar(label="+1", value=-2.0), Bar(label="@x", value=-math.pi)), scale=Scale())
    assert [(row["label"], float(row["value"])) for row in rows(signed)] == [("'+1", -2.0), ("'@x", -math.pi)]


@pytest.mark.parametrize("figure", EVERY, ids=lambda figure: figure.kind)
def test_a_picture_is_svg_with_text_that_can_be_selected_and_fetches_nothing(figure: Figure) -> None:
    root = ElementTree.fromstring(written(figure, "svg"))
    assert root.tag == f"{SVG}svg"
    texts = " ".join("".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    assert figure.title in texts
    if figure.kind != "curves":
        assert any(number in texts for number in NUMBERS[figure.kind])
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "g", "text", "rect", "line", "path", "polyline", "circle"),
    }
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", "")) <= width
        assert 0 <= float(text.get("y", "")) <= height


def test_cells_are_coloured_by_their_value_and_bars_are_as_long() -> None:
    root = ElementTree.fromstring(written(HEATMAP, "svg"))
    cells = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    assert [cell.get("fill") for cell in cells] == [
        fill(HEATMAP.scale, value)[0] for value in (0.123456789, None, -0.5, 1.0)
    ]
    assert len({cell.get("fill") for cell in cells}) == 4
    said = [cell.findtext(f"{SVG}title") or "" for cell in cells]
    assert "layer 1, token The: a ≈+0.1" in said[0]
    root = ElementTree.fromstring(written(SCORES, "svg"))
    short, long = (float(rect.get("width", "")) for rect in root.iter(f"{SVG}rect"))
    assert long == pytest.approx(6 * short, abs=1e-3)


def test_text_on_every_colour_can_be_read() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for scale in (Scale(), Scale.signed((1.0,))):
        for step in range(-100, 101):
            lighter, darker = sorted(map(luminance, fill(scale, step / 100)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 3.6, (scale.ramp, step)


def nasty(figure: Figure) -> Figure:
    """The same with something nasty in every text, as the beginning and as a part of it."""
    data = json.loads(figure.model_dump_json())

    def spoiled(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: spoiled(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoiled(item, key) for item in value]
        is_text = isinstance(value, str) and key not in ("kind", "ramp", "index", "meaning")
        return f"{NASTY}{value}" if is_text else value

    return TypeAdapter(Figure).validate_python(spoiled(data))


@pytest.mark.parametrize("figure", EVERY, ids=lambda figure: figure.kind)
@pytest.mark.parametrize("as_", ["html", "svg", "md"])
def test_no_text_of_a_figure_is_markup(figure: Figure, as_: FigureFormat) -> None:
    text, plain = written(nasty(figure), as_), written(figure, as_)
    read = in_markdown if as_ == "md" else Page
    assert set(read(text).tags) <= set(read(plain).tags)
    assert not {name for _, name, _ in read(text).attributes if name.startswith("on") or name in ("href", "src")}
    assert NASTY in read(text).text or as_ == "svg"  # where long labels are cut
    assert "alert(1)" in read(text).text
    if as_ == "svg":
        ElementTree.fromstring(text)


@pytest.mark.parametrize("as_", FORMATS)
def test_several_figures_go_into_one_file_but_for_pictures(as_: FigureFormat) -> None:
    if as_ == "svg":
        with pytest.raises(
            Exception, match="an SVG file holds one picture; choose one by --figure: 1 A heatmap; 2 A ta"
        ):
            together(EVERY, as_)
        return
    whole = together(EVERY, as_)
    if as_ == "json":
        assert TypeAdapter(tuple[Figure, ...]).validate_json(whole) == EVERY
    else:
        assert all(written(figure, as_).strip() in whole for figure in EVERY)
