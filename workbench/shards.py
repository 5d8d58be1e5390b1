"""Sweeps over many records, cut into shards: each record is looked at by itself, so machines can share them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from workbench.errors import InputError
from workbench.protocol import Frozen, Request


class Shard(Frozen):
    """Which part of a sweep this is: ``number``, from 1, ``of`` so many."""

    number: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=1, le=100_000)]

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.number > self.of:
            raise ValueError(f"there is no shard {self.number} of {self.of}")
        return self

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def shard_from(text: str) -> Shard:
    """``3/8`` as a shard. Raises `InputError`."""
    number, slash, of = text.partition("/")
    if not (slash and number.strip().isdecimal() and of.strip().isdecimal()):
        raise InputError(f"{text!r} is no shard; write its number, from 1, and how many there are: 3/8")
    if not 1 <= int(number) <= int(of) <= 100_000:
        raise InputError(f"there is no shard {number.strip()} of {of.strip()}; they count from 1")
    return Shard(number=int(number), of=int(of))


class RecordsSweep(Request):
    """A request over the records in its field ``OVER``, of which a ``shard`` takes its share.

    ``TOGETHER`` records that follow each other are computed together and stay so, for a shard to give the same numbers
    as the whole; such groups are dealt out in turn.
    """

    OVER: ClassVar[str]
    TOGETHER: ClassVar[int] = 1

    shard: Annotated[Shard | None, Field(exclude_if=lambda shard: shard is None)] = None

    @property
    def every(self) -> Sequence[Any]:
        """All records of the sweep."""
        found: Sequence[Any] = getattr(self, self.OVER)
        return found

    @property
    def places(self) -> range | list[int]:
        """The places in ``every`` of the records that this shard looks at: all of them without a shard."""
        if self.shard is None:
            return range(len(self.every))
        return [
            place for place in range(len(self.every)) if place // self.TOGETHER % self.shard.of == self.shard.number - 1
        ]

    @property
    def own(self) -> tuple[Any, ...]:
        """The records that this shard looks at."""
        return tuple(self.every[place] for place in self.places)

    @property
    def most_shards(self) -> int:
        """Into how many it can be cut so that none is empty."""
        return max(1, -(-len(self.every) // self.TOGETHER))

    def whole(self) -> Self:
        """The sweep that this is a shard of."""
        return self.model_copy(update={"shard": None})

    def sharded(self, number: int, of: int) -> Self:
        """One shard of it."""
        return self.model_copy(update={"shard": Shard(number=number, of=of)})

    def cannot_be_shared(self) -> str:
        """Why its records cannot be looked at apart from each other; nothing where they can."""
        return ""
