"""The held-out text that ships: plain prose that no edit, and no lens, is made from."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def held_out_text() -> str:
    """The text of ``data/held_out.txt``: a walk, a recipe, a letter, a stove, a meeting."""
    return (resources.files("workbench") / "data" / "held_out.txt").read_text(encoding="utf-8").strip()
