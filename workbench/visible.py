"""Text from elsewhere as something to look at: nothing in it acts on a terminal, and nothing in it hides.

Names of files, token texts, model cards, sessions and the sentences about them are shown on terminals, which obey
control characters. `visible` is the one way in which such text is drawn: all output passes it (`workbench.cli.output`,
`screens.door`), and what is laid out in columns passes it before that.
"""

from __future__ import annotations

import re

# Categories Cc (but the line feed), Cf, Zl, Zp and Cs: C0 and C1 controls, bidirectional controls, what has no
# width, byte order marks, separators of lines, halves of characters; and all of the plane of tags, assigned or not.
# Spelled out, as going through Unicode at every start would take longer than all the rest of it.
_RANGES = (
    "\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
ACTING = re.compile(f"[{_RANGES}]")
"""A character that acts on a terminal or hides in it."""

_PARTS = re.compile(f"[\udc80-\udcff]+|[{_RANGES}]")


def visible(text: str) -> str:
    """The text with a picture of every character that would act or hide; lines stay lines. One-way: for eyes only.

    Text that is printable comes back as it was.
    """
    if text.isprintable() or not ACTING.search(text):
        return text
    return _PARTS.sub(lambda found: picture(found[0]), text)


def one_line(text: str) -> str:
    """`visible`, and line feeds are drawn too: what must stay in its row."""
    return visible(text).replace("\n", "⏎")


def picture(part: str) -> str:
    """One character, or a run of bytes given as surrogate escapes, drawn.

    C0 controls are Unicode's pictures of them, a line feed is ⏎, bytes outside whole characters are ⟨E2 96⟩, and
    everything else is its code ⟨U+202E⟩.
    """
    code = ord(part[0])
    if 0xDC80 <= code <= 0xDCFF:
        return "⟨" + " ".join(f"{ord(c) - 0xDC00:02X}" for c in part) + "⟩"
    if part == "\n":
        return "⏎"
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"⟨U+{code:04X}⟩"
