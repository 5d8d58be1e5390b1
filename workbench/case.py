"""The failure under study, which every method takes."""

from __future__ import annotations

from typing import Literal

from workbench.protocol import Frozen

Start = Literal["as-is", "document", "newline"]
"""What stands in front of the prompt: what the tokenizer does by itself, the model's document start, a newline."""


class Case(Frozen):
    """A prompt, the span of it that is asked about, the token wanted and the token it is compared with.

    ``subject`` is text that occurs in ``prompt``; ``target`` and ``foil`` are continuations of it. Whether they
    make sense for a given tokenizer is decided by `workbench.models.tokens.encode`.
    """

    prompt: str
    subject: str | None = None
    target: str | None = None
    foil: str | None = None
    start: Start = "as-is"
    chat: bool = False
