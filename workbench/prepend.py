"""What is prepended to a prompt. By itself, as the command line offers it before it has what a case is made of."""

from __future__ import annotations

from typing import Literal

Prepend = Literal["as-is", "separator", "newline"]
"""What is prepended to the prompt: nothing (as-is), the token that begins a document, a newline.

That token is BOS where the tokenizer prepends it by itself, and else the separator between training documents.
As it is, a prompt has what the tokenizer prepends by itself.
"""
