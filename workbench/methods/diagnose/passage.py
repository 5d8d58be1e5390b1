"""What a prompt is made of: its sentences, and the names in it."""

from __future__ import annotations

import re
from functools import cache

SMALL = frozenset(
    re.findall(
        r"\w+",
        "A According After An And Answer As At Because Before But By For From He Here How I If In It Its My No Of On "
        "Or Question She So That The Then There They This To We What When Where Which Who Why With Yes You",
    )
)
"""Words that are written with a capital where they begin a sentence, and are no names."""


@cache
def sentences_of_prompt(prompt: str) -> tuple[str, ...]:
    """The prompt's sentences, with the blanks after each; the last one is what is to be continued."""
    if not prompt.strip():
        return ()
    from workbench.methods.cot.sentences import sentences_of

    return sentences_of(prompt)


def names(prompt: str) -> tuple[str, ...]:
    """Spans of words with capitals, each once, longest first: what a prompt may be about.

    A word that only begins a sentence is none of them.
    """
    found = re.findall(r"[^\W\d_][\w'’\-]*(?:[ ][^\W\d_][\w'’\-]*)*", prompt)
    spans: list[str] = []
    for run in found:
        words: list[str] = []
        for word in [*run.split(" "), ""]:
            if word[:1].isupper() and word not in SMALL:
                words.append(word)
            elif words:
                spans.append(" ".join(words))
                words = []
    return tuple(sorted(dict.fromkeys(spans), key=len, reverse=True))


def words(prompt: str) -> tuple[str, ...]:
    """Every word, each once, in order."""
    return tuple(dict.fromkeys(re.findall(r"\w[\w'’\-]*", prompt)))
