"""What results check of themselves: a file that says otherwise is refused before anything is drawn from it.

The functions raise `ValueError`, which pydantic says with the place in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Annotated

from pydantic import Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, such as an accuracy; never NaN."""

Layer = Annotated[int, Field(ge=0, lt=10_000)]
"""A layer, counted from 0; no model has more."""

LayerCount = Annotated[int, Field(ge=1, le=10_000)]
"""How many layers a model has."""


def as_many(**parts: Sized | int | None) -> None:
    """Of each named thing there must be as many as of the first, where it is there at all."""
    first = None
    for name, part in parts.items():
        if part is None:
            continue
        count = part if isinstance(part, int) else len(part)
        if first is None:
            first = name, count
        elif count != first[1]:
            raise ValueError(f"there are {count} of {name} and {first[1]} of {first[0]}")


def within(name: str, place: int | None, count: int) -> None:
    """A place, where one is given, must be one of ``count``."""
    if place is not None and not 0 <= place < count:
        raise ValueError(f"{name} is {place}, and there are {count}, counted from 0")


def span_within(name: str, span: tuple[int, int] | None, count: int) -> None:
    """A span [start, stop), where one is given, must hold something and end before ``count``."""
    if span is not None and not 0 <= span[0] < span[1] <= count:
        raise ValueError(f"{name} is {span[0]} to {span[1]}, and there are {count}")


def increasing(name: str, numbers: Iterable[int]) -> None:
    """Numbers must be in order, and none of them there twice."""
    before = None
    for number in numbers:
        if before is not None and number <= before:
            raise ValueError(f"{name} {number} comes after {before}")
        before = number


def different(name: str, things: Iterable[object]) -> None:
    """No thing may be there twice."""
    every = list(things)
    if len(set(every)) < len(every):
        raise ValueError(f"two {name} are the same")
