"""How a continuation is written after a prompt: with a space before it where a person would write one."""

from __future__ import annotations

import re
import unicodedata

from workbench.models.tokentext import display
from workbench.spans import has_no_spaces, is_of_a_word

CLOSING = ".,:;!?)]}=…%"
"""After one of these a space may be meant or not. After an opening bracket or quotation mark none is."""

_ATTACHED = re.compile(r"[\s.,:;!?…%)\]}»”°©®™_]|['’](?:\w{1,2}\b(?!['’])|\W|$)|[\"(\[{]\W*$")
"""What follows a word directly: punctuation, ``'s``, a closing quotation mark, a call's bracket."""

_BEGINS_WORD = re.compile(r"[-−+±~]?[$€£¥₹]?\d|[(\[{\"'‘“„«‹¿¡#@]+.*\w", re.DOTALL)
"""What begins a word of its own although it begins with a sign: numbers, sums of money, (A), what is quoted."""


def follows(prompt: str, name: str, text: str, notes: list[str]) -> str:
    """The continuation, with a space before it where two words would otherwise run together.

    What was decided is said in ``notes``, where there was something to decide; ``name`` is what the text is called.
    """
    before, after = prompt[-1], text[0]
    if _ATTACHED.match(text) or has_no_spaces(before) or has_no_spaces(after):
        return text
    quoted = f'"{display(text)}"'
    own = is_of_a_word(after) or _BEGINS_WORD.match(text) is not None or _is_picture(after)
    own = own and not (before.isdigit() and after in "-−+±~")  # 5-3 may be meant
    if is_of_a_word(before) and own:
        notes.append(f"A space is put before the {name} {quoted}.")
        return " " + text
    if is_of_a_word(before) or (own and (before in CLOSING or _is_picture(before))):
        at = f' after "{display(before)}"' if not is_of_a_word(before) else ""
        notes.append(f"No space is put before the {name} {quoted}{at}: type one if it is meant.")
    return text


def _is_picture(character: str) -> bool:
    """Whether it is an emoji or another symbol that stands for itself: not a degree sign, not a trademark."""
    return unicodedata.category(character) in ("So", "Sk") and character >= "\u2190"
