"""How numbers are written in sentences and tables: the same way on every surface."""

from __future__ import annotations


def count(number: int, thing: str) -> str:
    """A number and what there is so many of."""
    return f"{number} {thing}{'s' * (number != 1)}"


def signed(value: float, decimals: int) -> str:
    """A number with its sign, a true minus."""
    return f"{value:+.{decimals}f}".replace("-", "−")


def points(share: float | None) -> str:
    """A share 0 … 1 as a score 0.0 … 100.0."""
    return "–" if share is None else f"{100 * share:.1f}"


def bytes_in_words(size: float) -> str:
    """A size in the decimal units of downloads."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"
