"""Every colour reads: dark and light, with all colours, 256, 16 and none, and for who cannot tell red from green."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color, rgb_to_lab
from textual.filter import Monochrome
from textual.widget import Widget

from screens.legible import CONSOLE, XTERM, Legible
from screens.replay import ReplayApp
from screens.widgets.colours import LEVELS, Shade, block, contrast, fill
from workbench.blocks import bar
from workbench.session import load_session

EIFFEL = Path(__file__).parents[2] / "sessions" / "eiffel.json"
GROUND = Color.parse("#121212")

SEQUENTIAL = [Shade("sequential", level) for level in range(LEVELS)]
SIGNED = [Shade("signed", level) for level in range(LEVELS - 1)]

DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
"""Machado, Oliveira and Fernandes 2009, severity 1.0, for linear RGB."""


def drawn(text: str, foreground: str, background: str, system: str | None) -> Segment:
    """A text as it leaves the last filter."""
    legible = Legible()
    legible.use(system)
    return legible.apply([Segment(text, Style(color=foreground, bgcolor=background))], GROUND)[0]


def numbers(segment: Segment) -> tuple[int, int]:
    """Of the sixteen: the text's and the background's."""
    assert segment.style is not None
    assert segment.style.color is not None
    assert segment.style.bgcolor is not None
    assert segment.style.color.number is not None
    assert segment.style.bgcolor.number is not None
    return segment.style.color.number, segment.style.bgcolor.number


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("palette", [CONSOLE, XTERM])
def test_a_text_on_any_shade_reads_in_sixteen_colours(dark: bool, palette: tuple[Color, ...]) -> None:
    for shade in SEQUENTIAL + SIGNED:
        text, behind = numbers(drawn("Paris", fill(shade, dark).foreground, fill(shade, dark).background, "standard"))
        assert contrast(palette[text], palette[behind]) >= 4.5
        assert behind < 8, "the Linux console has no bright backgrounds"


@pytest.mark.parametrize("dark", [True, False])
def test_the_sequential_ramp_runs_one_way_in_sixteen_colours_and_its_blocks_stand_out(dark: bool) -> None:
    behinds = []
    for shade in SEQUENTIAL:
        behinds.append(numbers(drawn("x", fill(shade, dark).foreground, fill(shade, dark).background, "standard"))[1])
        text, behind = numbers(drawn(bar(shade.level / LEVELS), *block(shade, dark), "standard"))
        assert contrast(CONSOLE[text], CONSOLE[behind]) >= 3
    greys = [CONSOLE[behind].monochrome.r for behind in behinds]
    assert greys == sorted(greys, reverse=not dark)
    assert len(set(behinds)) == 4


@pytest.mark.parametrize("dark", [True, False])
def test_the_two_sides_of_the_signed_ramp_differ_in_sixteen_colours(dark: bool) -> None:
    behinds = [
        numbers(drawn("x", fill(shade, dark).foreground, fill(shade, dark).background, "standard"))[1]
        for shade in SIGNED
    ]
    half = len(SIGNED) // 2
    assert set(behinds[: half - 3]) == {1}
    assert set(behinds[half + 4 :]) <= {4, 6}
    assert not {1, 4, 6} & set(behinds[half - 1 : half + 2]), "next to nothing is neither"


def seen(colour: Color, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """What somebody sees of a colour, in CIELAB."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized]
    mixed = [min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear, strict=True)))) for row in matrix]
    back = [part * 12.92 if part <= 0.0031308 else 1.055 * part ** (1 / 2.4) - 0.055 for part in mixed]
    lab = rgb_to_lab(Color(*(round(part * 255) for part in back)))
    return lab.L, lab.a, lab.b


def apart(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5)


@pytest.mark.parametrize("matrix", [DEUTERANOPIA, PROTANOPIA], ids=["deuteranopia", "protanopia"])
@pytest.mark.parametrize("dark", [True, False])
def test_ramps_are_told_apart_by_who_does_not_see_red_or_green(
    matrix: tuple[tuple[float, ...], ...], dark: bool
) -> None:
    found = [seen(Color.parse(fill(shade, dark).background), matrix) for shade in SEQUENTIAL]
    lightness = [lab[0] for lab in found]
    assert lightness == sorted(lightness, reverse=not dark)
    assert min(apart(one, other) for one, other in zip(found, found[2:], strict=False)) > 4
    both = [seen(Color.parse(fill(shade, dark).background), matrix) for shade in SIGNED]
    half = len(SIGNED) // 2
    assert all(apart(both[half - step], both[half + step]) > 10 * step for step in range(2, half + 1))
    assert all(apart(one, other) > 4 for one, other in pairwise(both[: half - 1] + both[half + 1 :]))


def pieces(app: ReplayApp) -> Iterator[Segment]:
    """All that is on the screen and is no blank."""
    for strip in app.screen._compositor.render_strips():
        yield from (segment for segment in strip if segment.text.strip())


def shown(colour: object, system: ColorSystem | None) -> Color:
    """A colour as the terminal shows it."""
    assert colour is not None
    if system is ColorSystem.STANDARD:
        return CONSOLE[colour.number]  # type: ignore[attr-defined]
    return Color.from_rich_color(colour if system is None else colour.downgrade(system))  # type: ignore[attr-defined]


async def test_what_is_on_a_screen_reads_whatever_colours_the_terminal_has(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ReplayApp(load_session(EIFFEL), EIFFEL)
    async with app.run_test(size=(100, 40)) as pilot:
        for theme in ("textual-dark", "textual-light"):
            app.theme = theme
            for name, system in ((None, None), ("256", ColorSystem.EIGHT_BIT), ("standard", ColorSystem.STANDARD)):
                for grey in (False, True):
                    app._legible.use(name)
                    app._filters = [each for each in app._filters if not isinstance(each, Monochrome)]
                    app._filters += [Monochrome()] * grey  # as Textual does where NO_COLOR is set
                    for widget in app.screen.walk_children(Widget):
                        widget._styles_cache.clear()
                        widget.refresh()
                    await pilot.pause()
                    found = list(pieces(app))
                    assert sum(len(segment.text.strip()) for segment in found) > 1000
                    assert sum("◆" in segment.text for segment in found) >= 1
                    for segment in found:
                        assert segment.style is not None
                        text, behind = shown(segment.style.color, system), shown(segment.style.bgcolor, system)
                        is_drawn = all("\u2500" <= char <= "\u259f" for char in segment.text.strip())
                        least = 4.5 if not is_drawn else 3 if system is ColorSystem.STANDARD else 0
                        assert contrast(text, behind) >= least, (theme, name, grey, segment)


def test_neighbors_that_look_the_same_on_the_terminal_are_sent_as_one() -> None:
    legible = Legible()
    legible.use("256")
    line = [
        Segment("a", Style.parse("#e0e0e0 on #10466f")),
        Segment("", Style.parse("red")),
        Segment("b", Style.parse("#e0e0e1 on #10466f")),
        Segment("c", Style.parse("bold #e0e0e0 on #10466f")),
    ]
    assert [segment.text for segment in legible.apply(line, Color.parse("black"))] == ["ab", "c"]
