"""The text after which the model reasons: the question, its choices, the instruction, and the chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.case import Case
from workbench.datasets.questions import LETTERS
from workbench.models.chat_template import render
from workbench.models.tokens import encode

if TYPE_CHECKING:
    from workbench.loading import LoadedModel

INSTRUCTION = "Let's think step by step."

PLAIN = ("Question: ", "\n\nAnswer: ")
"""What stands before and after the question for a model without a chat template."""

PLAIN_END = "\nQuestion:"
"""Where the reasoning of such a model ends: it goes on with a question of its own."""


def message(question: str, listed: Sequence[str] = (), instruction: str = INSTRUCTION, cue: str = "") -> str:
    """What is asked: the question, the choices if they are listed by letters, a cue, and the instruction.

    An instruction that the question holds already is not said twice.
    """
    parts = [question.strip()]
    if listed:
        rows = (f"({letter}) {choice}" for letter, choice in zip(LETTERS, listed, strict=False))
        parts.append("\n".join(["Choices:", *rows]))
    parts.append(cue)
    if instruction.casefold() not in question.casefold():
        parts.append(instruction)
    return "\n\n".join(part for part in parts if part)


def prompt_text(model: LoadedModel, asked: str) -> str:
    """The plain text up to where the reasoning begins; a `Case` with it as the prompt has the very same tokens.

    The chat template around one user message, or `PLAIN` where the tokenizer has none. Raises `InputError` for a
    template that does not take a message.
    """
    if not model.tokenizer.chat_template:
        before, after = PLAIN
        return before + asked + after
    return _without_bos(model, rendered(model, asked))


def rendered(model: LoadedModel, asked: str) -> str:
    """One user message in the chat template, with the beginning of a reply."""
    return render(model.tokenizer, (asked,), remedy="use another model")[0]


def _without_bos(model: LoadedModel, text: str) -> str:
    """The text without the BOS that the tokenizer prepends by itself, so that it is not there twice."""
    bos = model.tokenizer.bos_token
    if bos and text.startswith(bos):
        without = text[len(bos) :]
        if encode(model.tokenizer, Case(prompt=without)).ids[0] == model.tokenizer.bos_token_id:
            return without
    return text
