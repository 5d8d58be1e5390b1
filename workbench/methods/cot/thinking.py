"""Reasoning between tags: what thinking models write between ``<think>`` and ``</think>``, and how it is closed.

The tags are no part of the reasoning. A reasoning that is cut short is closed as the chat template closes one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.errors import InputError

BETWEEN = re.compile(r"\s*(?:\.\.\.|…)\s*")

GPT_OSS = ("<|channel|>analysis<|message|>", "<|end|>")
"""The channels of OpenAI's harmony format: https://cookbook.openai.com/articles/openai-harmony."""

KNOWN_TAGS = (("<think>", "</think>"), GPT_OSS, ("[THINK]", "[/THINK]"), ("<thinking>", "</thinking>"))
"""Of Qwen3, DeepSeek-R1 and SmolLM3; of GPT-OSS; of Magistral; and as models are often told."""

FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"


@dataclass(frozen=True)
class Thought:
    """A text in parts: what opens the reasoning (empty where the prompt does), it, what closes it, what follows."""

    opened: str
    reasoning: str
    closed: str
    rest: str


def tags_of(option: str) -> tuple[tuple[str, str], ...]:
    """The tags that are looked for: the known ones (``auto``), none, or the two that are named."""
    if option == "auto":
        return KNOWN_TAGS
    if option == "none":
        return ()
    both = BETWEEN.split(option.strip())
    if len(both) != 2 or not all(both):
        raise InputError(
            "the thinking tags are auto, none, or what opens and what closes the reasoning with ... between, like "
            f"<think>...</think>, not {option!r}"
        )
    return ((both[0], both[1]),)


def thought(prompt: str, text: str, tags: Sequence[tuple[str, str]], template: str = "") -> Thought:
    """What was written after a prompt, in its parts. Without tags all of it is the reasoning."""
    for opens, closes in tags:
        begun = re.match(rf"\s*{re.escape(opens)}\n*", text)
        by_prompt = prompt.rstrip().endswith(opens)
        if not (begun or by_prompt or (closes in text and closes != GPT_OSS[1])):
            continue
        inside = text[begun.end() :] if begun else text
        reasoning, _, rest = inside.partition(closes)
        opened = begun.group() if begun and not by_prompt else ""
        return Thought(opened, reasoning.rstrip(), closing(template, opens, closes), rest)
    return Thought("", text, "", "")


def before_close(text: str, tags: Sequence[tuple[str, str]]) -> str:
    """A text up to where it closes the reasoning."""
    ends = [text.find(closes) for _, closes in tags if closes in text]
    return text[: min(ends)].rstrip() if ends else text


def closing(template: str, opens: str, closes: str) -> str:
    """What closes a reasoning, with the line breaks that the chat template's own text has around the tag."""
    if (opens, closes) == GPT_OSS:
        return FINAL
    form = rf"(?:{re.escape(opens)}\\n)?((?:\\n)*){re.escape(closes)}((?:\\n)*)"
    found = [(match[1].count("n"), match[2].count("n")) for match in re.finditer(form, template)]
    before, after = max(found, key=sum, default=(0, 0))
    if not before and not after:
        before, after = 1, 2  # as Qwen3's does
    return "\n" * before + closes + "\n" * after
