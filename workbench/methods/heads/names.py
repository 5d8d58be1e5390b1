"""How a head is written, as the papers do: L23H4."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workbench.errors import InputError

_HEAD = re.compile(r"\s*L?(\d{1,4})\s*[.Hh]\s*(\d{1,4})\s*", re.IGNORECASE)


def named(layer: int, head: int) -> str:
    """The name of a head."""
    return f"L{layer}H{head}"


def token_named(texts: Sequence[str], token: int) -> str:
    """A token's text; where several tokens have it, with its number: Peter@14."""
    text = texts[token].strip() or texts[token]
    return f"{text}@{token}" if texts.count(texts[token]) > 1 else text


def head_named(text: str) -> tuple[int, int]:
    """Layer and head of a name such as L23H4 or 23.4. Raises `InputError`."""
    found = _HEAD.fullmatch(text)
    if found is None:
        raise InputError(f"{text!r} does not name a head; write layer and head, as in L23H4 or 23.4")
    return int(found[1]), int(found[2])
