"""The failure under study, which every method takes."""

from __future__ import annotations

from typing import Literal

from workbench.protocol import Frozen

Prepend = Literal["as-is", "separator", "newline"]
"""What is prepended to the prompt: nothing (as-is), the token that begins a document, a newline.

That token is BOS where the tokenizer prepends it by itself, and else the separator between training documents.
As it is, a prompt has what the tokenizer prepends by itself.
"""


class Case(Frozen):
    """A prompt, the span of it that is asked about, the token wanted and the token it is compared with.

    ``subject`` is text that occurs in ``prompt``; ``target`` and ``foil`` are continuations of it. Whether they
    make sense for a given tokenizer is decided by `workbench.models.tokens.encode`.
    """

    prompt: str
    subject: str | None = None
    target: str | None = None
    foil: str | None = None
    prepend: Prepend = "as-is"
    chat: bool = False
