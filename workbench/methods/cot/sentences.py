"""Reasoning as sentences: pysbd's, but that list items, code and equations stay whole."""

from __future__ import annotations

import re

LIST_ITEM = re.compile(r"[ \t]*(?:[-*•]|\(?(?:\d{1,3}|[A-Za-z])[.)])[ \t]+\S")
"""How a line begins that is an item of a list."""

FENCES = ((r"\\\[", r"\\\]"), (r"\$\$", r"\$\$"), (r"```", r"```"), (r"\\begin\{", r"\\end\{\w+\*?\}"))
"""What displayed equations and code stand between."""


def sentences_of(text: str) -> tuple[str, ...]:
    """The sentences of a text, with the blanks after each, so that together they are the text.

    A line that is an item of a list is one sentence, and so is what stands between fences. A piece without any
    letter or digit belongs to the sentence before it.
    """
    if not text.strip():
        return ()
    fenced, items = _fenced(text), _list_items(text)
    cuts = {0, *_begins(text), *(edge for span in items for edge in span)}
    cuts = {cut for cut in cuts if not any(start < cut < stop for start, stop in (*fenced, *items))}
    bounds = sorted(cut for cut in cuts if cut < len(text))
    pieces = [text[a:b] for a, b in zip(bounds, [*bounds[1:], len(text)], strict=True)]
    sentences: list[str] = []
    for piece in pieces:
        if sentences and (not re.search(r"\w", piece) or not re.search(r"\w", sentences[-1])):
            sentences[-1] += piece
        else:
            sentences.append(piece)
    return tuple(sentences)


def _begins(text: str) -> list[int]:
    """Where the library says that sentences begin."""
    import pysbd

    segmenter = pysbd.Segmenter(language="en", clean=False, char_span=True)
    return [span.start for span in segmenter.segment(text)]


def _fenced(text: str) -> list[tuple[int, int]]:
    """Characters [start, stop) of displayed equations and of code."""
    found = (re.finditer(rf"{left}.*?{right}", text, re.DOTALL) for left, right in FENCES)
    return [match.span() for matches in found for match in matches]


def _list_items(text: str) -> list[tuple[int, int]]:
    """Characters [start, stop) of the lines that are items of a list, with the blanks after them."""
    lines = re.finditer(r"[^\n]+\s*", text)
    return [line.span() for line in lines if LIST_ITEM.match(line.group())]
