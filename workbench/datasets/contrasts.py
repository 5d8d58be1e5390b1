"""Contrast pairs, from which a direction to steer along is read, and the sets of them that ship. No torch.

A pair is the same thing said in two opposed ways: two replies to one prompt, or two prompts with opposed instructions.
A set has held-out prompts besides, and says what is measured of the replies to them. ``docs/steering.md`` describes the
files; those in ``data/contrasts`` were written for this project.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from workbench.datasets.json_files import decode
from workbench.errors import InputError
from workbench.protocol import Frozen
from workbench.reading import first_problem, quoted, read_text, shortened

LEAST_PAIRS, LEAST_HELD_OUT = 4, 4
MOST_PAIRS, MOST_HELD_OUT, MOST_WORDS = 10_000, 1_000, 10_000
"""Bounds of a stranger's file. Below the least nothing can be told from chance."""

ShortText = Annotated[str, Field(max_length=20_000)]
Words = Annotated[tuple[ShortText, ...], Field(max_length=MOST_WORDS)]

PropertyKind = Literal["length", "words", "phrases", "completions"]
"""What is measured of a reply: how many words it has; how many of ``more`` less those of ``less``, in 100 words;
whether it holds one of ``phrases`` (1 or 0); or, of no reply but of the held-out completions, how much likelier the
positive is than the negative, in nats."""


class Property(Frozen):
    """What is measured of replies, by a name with its unit. ``wanted``: where the positive side of the pairs lies."""

    kind: PropertyKind
    name: ShortText
    wanted: Literal["higher", "lower"] = "higher"
    more: Words = ()
    less: Words = ()
    phrases: Words = ()

    @property
    def sign(self) -> int:
        """+1 where more of it is wanted, −1 where less."""
        return 1 if self.wanted == "higher" else -1

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.kind == "words" and not (self.more or self.less):
            raise ValueError("a property of words needs some, as more or less")
        if self.kind == "phrases" and not self.phrases:
            raise ValueError("a property of phrases needs some")
        return self


class ContrastPair(Frozen):
    """Two texts that differ in what is steered: replies to ``prompt``, or prompts where there is none."""

    prompt: ShortText | None = None
    positive: ShortText
    negative: ShortText


def _prompted(given: Any) -> Any:
    return {"prompt": given} if isinstance(given, str) else given


class HeldOut(Frozen):
    """A prompt that no direction was read from; a plain string in files where there are no completions to compare."""

    prompt: ShortText
    positive: ShortText | None = None
    negative: ShortText | None = None


class ContrastSet(Frozen):
    """Pairs, whose positive side is ``towards``, the prompts on which the effect is measured, and what is measured."""

    name: ShortText
    description: ShortText = ""
    towards: ShortText = "positive"
    away: ShortText = "negative"
    measure: Property
    pairs: Annotated[tuple[ContrastPair, ...], Field(max_length=MOST_PAIRS)]
    held_out: Annotated[tuple[Annotated[HeldOut, BeforeValidator(_prompted)], ...], Field(max_length=MOST_HELD_OUT)]

    @property
    def digest(self) -> str:
        """By which it is seen that this is the same set."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


@cache
def shipped_contrasts() -> tuple[str, ...]:
    """The names of the sets that ship."""
    files = (resources.files("workbench") / "data" / "contrasts").iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))


@cache
def shipped_contrast(name: str) -> ContrastSet:
    """One of them."""
    file = resources.files("workbench") / "data" / "contrasts" / f"{name}.json"
    return ContrastSet.model_validate_json(file.read_text(encoding="utf-8"))


def contrast_of(named: str | None) -> ContrastSet:
    """A shipped set by its name, or the one in a file. Raises `InputError` where it is neither, or cannot be used."""
    text = (named or "").strip()
    if not text:
        raise InputError(f"name a contrast set ({', '.join(shipped_contrasts())}) or a file of contrast pairs (.json)")
    if text in shipped_contrasts():
        return shipped_contrast(text)
    if not any(sign in text for sign in "./\\"):
        raise InputError(
            f"there is no contrast set {quoted(text)}; choose one of {', '.join(shipped_contrasts())}, or name a file "
            "(.json)"
        )
    return read_contrast(Path(text).expanduser())


def read_contrast(path: Path) -> ContrastSet:
    """Read and check a file. Raises `InputError` with one sentence for what cannot be used."""
    value = decode(read_text(path), path)
    if not isinstance(value, dict):
        raise InputError(f"{path} is not a contrast set: it is no JSON object; give it pairs, held_out and a property")
    try:
        found = ContrastSet.model_validate({"name": path.stem, **value})
    except ValidationError as error:
        raise InputError(f"{path} is not a contrast set: it is wrong at {first_problem(error)}; mend it") from None
    if problem := next(_problems(found), None):
        raise InputError(f"{path} cannot be used: {problem}")
    return found


def _problems(found: ContrastSet) -> Iterator[str]:
    """What keeps a set from being used, each as a clause with what to do."""
    if len(found.pairs) < LEAST_PAIRS:
        yield f"it has {len(found.pairs)} pairs; give {LEAST_PAIRS} or more"
    if len(found.held_out) < LEAST_HELD_OUT:
        yield f"it has {len(found.held_out)} held-out prompts; give {LEAST_HELD_OUT} or more"
    read_from: dict[str, int] = {}
    for number, pair in enumerate(found.pairs, 1):
        texts = [text for text in (pair.prompt, pair.positive, pair.negative) if text is not None]
        if not all(text.strip() for text in texts):
            yield f"pair {number} has an empty text; write one, or take the pair out"
        if pair.positive.split() == pair.negative.split():
            same = quoted(shortened(pair.positive, 40), 60)
            yield f"pair {number} is twice the same text, {same}; write two that differ in what is to be steered"
        read_from |= dict.fromkeys((text.strip() for text in (texts[:1] if pair.prompt else texts)), number)
    for number, held in enumerate(found.held_out, 1):
        if not held.prompt.strip():
            yield f"held-out prompt {number} is empty; write one, or take it out"
        if held.prompt.strip() in read_from:
            yield f"held-out prompt {number} is in pair {read_from[held.prompt.strip()]} too; hold out another"
        if found.measure.kind != "completions":
            continue
        if not ((held.positive or "").strip() and (held.negative or "").strip()):
            yield f"held-out prompt {number} lacks its completions, which are compared; give a positive and a negative"
        elif (held.positive or "").split() == (held.negative or "").split():
            yield f"held-out prompt {number} has twice the same completion; write two that differ"
