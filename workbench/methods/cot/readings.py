"""What an answer says: a number, a date, a time of day, or its words; and whether two answers say the same.

Two are the same only where a person would say so. What is more in one of them (7 apples, 7) may be left out of the
other, but is not exchanged (7 pears); an empty answer is the same as none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.methods.cot.moments import date, time_of_day
from workbench.methods.cot.plain_text import plain, unwrapped, wording
from workbench.methods.cot.quantities import Quantity, quantity

NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?(?:/\d+)?|[-−]?\.\d+")
"""A number in the middle of a text."""

SO = r"(?:(?:so|thus|therefore|hence|then),? )?"
ANSWER_IS = re.compile(
    rf"{SO}(?:(?:(?:the|my|your|our) (?:\w+ )?(?:answer|result)|answer)(?: is| was| would be|:| is:) ?"
    rf"|(?:it is|it's|that is|that's|this is) |in (?=\d{{4}}$))(?=\S)",
    re.IGNORECASE,
)
"""Words that lead to an answer and are no part of it."""

REASONED = re.compile(r"(.*?\S),? (?:because|since) .*|(.*?\S), (?:so|which|as|for|i\.e\.) .*")
"""An answer with its reason."""

YES_OR_NO = re.compile(
    r"(yes|no|true|false)(?=[,;] (?!but\b)|[.!] | - | (?:because|since) |$)(?! ?\. ?\d)", re.IGNORECASE
)

VERBS = (
    "is are was were be has have had equals equal costs cost makes make gives gives gets get got leaves left needs "
    "need pays paid totals weighs takes took spent spends sold ate read reads walks drives earns earned"
)
SAYS_NUMBER = re.compile(
    rf"(?P<lead>[^,;:=<>?!]*\b(?:{'|'.join(VERBS.split())}))(?: (?:a total of|exactly|only|just))? (?P<rest>\S.*)",
    re.IGNORECASE,
)
NO_LEAD = re.compile(
    r"\b(?:not|no|never|none|if|and|or|but|than|because|unless|what|how|who|why)\b|n't\b", re.IGNORECASE
)
ANYONE = re.compile(
    rf"{SO}(?:i|we|you|he|she|it|they|there|this|that|the (?:answer|result|sum|total|number|value|product|difference)"
    r"(?: of \w+)?) \w+|(?:[\d\s.,+*/()^$€£-]|(?<=\d) ?x(?= ?\d))*",
    re.IGNORECASE,
)
"""What a number may be said of without being another answer."""

SUM = re.compile(r"(?:[^\W\d]{2,} )*[\d(][\d\s.,+*/()^=-]*")
"""What is added and the like, before the last "=", with words before it: The sum is 3 + 4."""

Kind = Literal["number", "date", "time", "text", "nothing"]


@dataclass(frozen=True)
class AnswerReading:
    """An answer as it was read. ``key`` is what is compared, for a number with ``lead``: what it is said of."""

    kind: Kind
    key: str
    quantity: Quantity | None = None
    lead: str = ""
    name: str = ""

    def same(self, other: AnswerReading) -> bool:
        """Whether a person would say that they are the same answer."""
        if self.kind != other.kind or self.kind == "nothing":
            return False
        if self.quantity is None or other.quantity is None:
            return self.key == other.key
        leads = not self.lead or not other.lead or self.lead == other.lead
        return leads and self.quantity.same(other.quantity)

    @property
    def said(self) -> str:
        """The reading in words."""
        if self.kind == "nothing":
            return "nothing"
        of = self.quantity.noun if self.quantity and not self.quantity.unit else ""
        return f"{self.kind} {self.key}" + (f" ({of})" if of else "")


NOTHING = AnswerReading("nothing", "")


def read_answer(text: str) -> AnswerReading:
    """All of a text as an answer."""
    if not any(letter.isprintable() and not letter.isspace() for letter in text):
        return NOTHING
    whole = unwrapped(plain(text)) or text.strip()
    stripped = _answer_in(whole)
    if found := YES_OR_NO.match(stripped):
        return AnswerReading("text", found[1].casefold(), name=found[1])
    head = unwrapped(next((m[1] or m[2] for m in [REASONED.fullmatch(stripped)] if m), stripped))
    for answer in dict.fromkeys((head, stripped)):
        if (day := date(answer)) is not None:
            return AnswerReading("date", day, name=answer)
        if (hour := time_of_day(answer)) is not None:
            return AnswerReading("time", hour, name=answer)
        if (number := _number(answer)) is not None:
            return number
    return AnswerReading("text", wording(stripped) or wording(whole) or whole, name=stripped)


def same_answer(one: str, other: str) -> bool:
    """Whether two texts are the same answer."""
    return read_answer(one).same(read_answer(other))


def answer_in(written: str, known: Sequence[str] = ()) -> tuple[str, AnswerReading]:
    """The part of what was written that is the answer, from the beginning, and its reading.

    It is the first sentence, without what only explains it and without what a number counts. Where the text begins
    with one of the answers that are ``known``, which may be several sentences, it is that one.
    """
    start, stop = _first_sentence(written)
    for answer in sorted(known, key=len, reverse=True):
        if answer.strip() and (end := _begins_with(written, answer, stop)) is not None:
            return written[:end], read_answer(answer)
    reading = read_answer(written[start:stop])
    return written[: start + _shortest(written[start:stop], reading)], reading


def _answer_in(text: str) -> str:
    """Without the words that lead to it."""
    for _ in range(2):
        found = ANSWER_IS.match(text)
        rest = unwrapped(text[found.end() :]) if found else ""
        if not any(letter.isalnum() for letter in rest):
            return text
        text = rest
    return text


def _number(text: str) -> AnswerReading | None:
    found, lead = quantity(text), ""
    if found is None and (sides := re.fullmatch(r"([^,;<>≤≥≠≈!]*[^=<>!:\s]) ?= ?([^=\s].*)", text)):
        found, lead = quantity(sides[2]), sides[1].rstrip()
    elif found is None and (said := SAYS_NUMBER.fullmatch(text)):
        found, lead = quantity(said["rest"]), said["lead"]
    if found is None or NO_LEAD.search(lead):
        return None
    if ANYONE.fullmatch(lead) or SUM.fullmatch(lead):
        lead = ""
    lead = wording(lead) if lead else ""
    return AnswerReading("number", found.name, found, lead, name=found.name)


def _first_sentence(written: str) -> tuple[int, int]:
    """Characters [start, stop) of the first sentence in the first line that is not blank."""
    import pysbd

    line = next((line for line in written.split("\n") if line.strip()), "")
    start = written.find(line)
    segmenter = pysbd.Segmenter(language="en", clean=False, char_span=True)
    pieces = segmenter.segment(line) if line.strip() else []
    stop = len(line)
    for piece in pieces:
        if re.search(r"\w", line[: piece.end]):
            stop = piece.end
            break
    number = re.match(r"\s*(?:.*[^\w.])?[\d,]*\d[.!?](?=\s+[A-Z])", line[:stop])
    if number and not re.search(r"\b(?:[Nn]o|[Vv]ol|[Ff]ig|[Pp])\. ?\d+[.!?]$", number.group()):
        stop = number.end()
    return start, start + stop


def _shortest(sentence: str, reading: AnswerReading) -> int:
    """The length of the shortest beginning that is read alike: whole words, and all where only signs are left out."""
    whole = len(sentence.rstrip())
    ends = [match.start() for match in re.finditer(r"(?<=\S)(?=\s)", sentence)] + [whole]
    if reading.kind == "text" and reading.key not in ("yes", "no", "true", "false"):
        ends = [whole]
    for end in ends:
        shorter = len(sentence[:end].rstrip(" .!?;,:*)"))
        for length in dict.fromkeys((shorter, end)):
            short = read_answer(sentence[:length])
            if short.same(reading) and (short.kind, short.key, short.lead) == (reading.kind, reading.key, reading.lead):
                return length
    return whole


def _begins_with(written: str, answer: str, stop: int) -> int | None:
    """Where an answer ends that a text begins with, if that is where a sentence ends too."""
    words = r"\s+".join(map(re.escape, answer.split()))
    found = re.match(rf"\s*{words}", written)
    if not found:
        return None
    end = found.end()
    rest = written[end:]
    if end < len(written[:stop].rstrip(" .!?;,:*)\t\r\n")):
        return None
    ends = re.match(r"\s*$|[.!?;:,]*\s*(?:\n|$)|[.!?]+\s", rest) or (
        answer.rstrip()[-1] in ".!?" and rest[:1].isspace()
    )
    return end if ends else None
