"""Bars on the command line are as long as their numbers are large, whatever the width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from workbench.cli.figures import draw
from workbench.figures import Bar, Bars, Scale


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_bar_is_as_long_as_its_number_is_large(width: int) -> None:
    bars = (Bar(label="twice", value=2.0), Bar(label="the largest", value=-4.0), Bar(label="half", value=0.5))
    out = io.StringIO()
    Console(file=out, width=width).print(draw(Bars(bars=bars, scale=Scale.signed([4.0], "logits"))))
    drawn = out.getvalue()
    twice, largest, half = [line.count("█") for line in drawn.splitlines() if "−" in line or "+" in line]
    assert twice == largest // 2
    assert half == largest // 8
    assert largest == max(8, min(40, width // 3))
    assert "…" not in drawn
