"""Where a subject stands in a prompt: as whole words before fragments of words, whatever Unicode form either is in."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

BLANK = "{}"
"""Where a phrasing or a record's prompt names the subject."""

_QUOTES = str.maketrans("‘’ʼ′“”″‐‑", "''''\"\"\"--")
_ALIKE = ("<compat>", "<noBreak>", "<wide>", "<narrow>")
"""Decompositions that are the same text drawn otherwise: ligatures, odd spaces, wide letters; not superscripts."""


@dataclass(frozen=True)
class Span:
    """Characters [start, stop) of the prompt. ``occurrences`` counts the places that are as good as this one.

    ``whole``: the subject does not begin or end within a word. ``other_form``: the prompt writes the same letters in
    another Unicode form.
    """

    start: int
    stop: int
    occurrences: int
    whole: bool
    other_form: bool


def find_subject(prompt: str, subject: str, at: int | None = None) -> Span | None:
    """The subject's place in the prompt, None where it has none. Blanks around it do not count.

    Whole words come before fragments ("Ann" is not looked for in "Anna" where there is an Ann), a place that is
    written the same before one in another Unicode form, and of several alike the last is taken. With ``at`` only
    what begins at that character counts.
    """
    wanted = subject.strip()
    if not wanted:
        return None
    parts = _letters(prompt)
    starts = list(accumulate(map(len, parts), initial=0))
    found = [
        Span(
            start=starts[first],
            stop=starts[last],
            occurrences=1,
            whole=_is_whole(prompt, starts[first], starts[last]),
            other_form=prompt[starts[first] : starts[last]] != wanted,
        )
        for first, last in _places([_folded(part) for part in parts], "".join(map(_folded, _letters(wanted))))
        if at is None or starts[first] == at
    ]
    if not found:
        return None
    best = min((not span.whole, span.other_form) for span in found)
    alike = [span for span in found if (not span.whole, span.other_form) == best]
    last = alike[-1]
    return Span(last.start, last.stop, len(alike), last.whole, last.other_form)


def fill(phrasing: str, subject: str) -> tuple[str, int | None]:
    """A phrasing with the subject in its blank, and where that is, in characters.

    None for the place where it is found there anyway, or the phrasing has no blank. Every blank is filled; the last
    is the subject's place.
    """
    prompt = phrasing.replace(BLANK, subject)
    if BLANK not in phrasing or not subject.strip():
        return prompt, None
    place = len(phrasing.rpartition(BLANK)[0].replace(BLANK, subject)) + len(subject) - len(subject.lstrip())
    found = find_subject(prompt, subject)
    return prompt, None if found is None or found.start == place else place


def is_of_a_word(character: str) -> bool:
    """Whether it is a letter, a mark on one, or a digit."""
    return unicodedata.category(character)[0] in "LMN"


def has_no_spaces(character: str) -> bool:
    """Whether the character's script writes words without spaces between them. The name says which script it is."""
    scripts = "CJK HIRAGANA KATAKANA HALFWIDTH IDEOGRAPHIC BOPOMOFO YI THAI LAO KHMER MYANMAR TIBETAN JAVANESE"
    return unicodedata.name(character, "").split(" ")[0].split("-")[0] in scripts.split()


def _is_whole(prompt: str, start: int, stop: int) -> bool:
    """Whether no word goes on across either end."""
    return not any(
        _joins(prompt[edge - 1]) and _joins(prompt[edge]) for edge in (start, stop) if 0 < edge < len(prompt)
    )


def _joins(character: str) -> bool:
    return (is_of_a_word(character) and not has_no_spaces(character)) or character == "_"


def _letters(text: str) -> list[str]:
    """The characters of a text, each with what is drawn on it: combining marks, and ends of Hangul syllables."""
    parts: list[str] = []
    for letter in text:
        if parts and (unicodedata.combining(letter) or "\u1160" <= letter <= "\u11ff"):
            parts[-1] += letter
        else:
            parts.append(letter)
    return parts


def _folded(letter: str) -> str:
    """The letter, or the letters of a ligature, in one form for all that are read alike."""
    if letter.isascii():
        return letter
    composed = unicodedata.normalize("NFC", letter)
    spelled = "".join(
        unicodedata.normalize("NFKC", each) if unicodedata.decomposition(each).startswith(_ALIKE) else each
        for each in composed
    )
    plain = "".join(" " if unicodedata.category(each) == "Zs" else each for each in spelled)
    return plain.translate(_QUOTES)


def _places(parts: Sequence[str], wanted: str) -> Iterator[tuple[int, int]]:
    """Which consecutive parts make up the wanted text: [first, last)."""
    whole = "".join(parts)
    edges = {offset: number for number, offset in enumerate(accumulate(map(len, parts), initial=0))}
    start = whole.find(wanted)
    while start >= 0:
        first, last = edges.get(start), edges.get(start + len(wanted))
        if first is not None and last is not None:
            yield first, last
        start = whole.find(wanted, start + 1)
