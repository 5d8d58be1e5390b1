"""Token text that is safe to show: whatever a vocabulary holds, it cannot disturb a terminal row.

`display` draws any text visibly. `token_text` and `token_texts` do so for token ids, and remember what they drew.
"""

from __future__ import annotations

import re
import unicodedata
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

from workbench.visible import ACTING, picture

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """Display text of one token id: half characters as bytes ⟨E2 96⟩, ids outside the vocabulary as ⟨id 9⟩."""
    return token_table(tokenizer)[token]


def token_texts(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[int]) -> tuple[str, ...]:
    """Display texts of many token ids. Each id is worked out once and remembered as long as the tokenizer lives."""
    return tuple(map(token_table(tokenizer).__getitem__, tokens))


_tables: weakref.WeakKeyDictionary[PreTrainedTokenizerBase, TokenTable] = weakref.WeakKeyDictionary()


def token_table(tokenizer: PreTrainedTokenizerBase) -> TokenTable:
    """The tokenizer's table of display texts: the same one at every call."""
    table = _tables.get(tokenizer)
    if table is None:
        added = {i: token.content for i, token in tokenizer.added_tokens_decoder.items()}
        table = _tables[tokenizer] = TokenTable(tokenizer.backend_tokenizer, added)
    return table


class TokenTable(dict[int, str]):
    """Display text by token id, filled on demand. Decoding would lose half characters, so the pieces are read.

    There are two alphabets: GPT-2's, in which every byte is one printable character, and sentencepiece's, in which
    "▁" is a space and "<0xE2>" a byte. Added tokens stand for themselves.
    """

    def __init__(self, backend: Tokenizer, added: dict[int, str]) -> None:
        super().__init__()
        self._backend = backend  # not the tokenizer around it, which is this table's key and must be free to go
        self._added = added
        decoder = "" if backend.decoder is None else backend.decoder.__getstate__().decode()
        self._bytes_by_character = _byte_alphabet() if '"ByteLevel"' in decoder else None
        self._has_space_sign = "▁" in decoder
        self._has_byte_tokens = '"ByteFallback"' in decoder

    def __missing__(self, token: int) -> str:
        text = self.raw(token)
        self[token] = shown = f"⟨id {token}⟩" if not text else display(text)
        return shown

    def is_blank(self, token: int) -> bool:
        """Whether the token is nothing but white space, or nothing at all."""
        return not self.raw(token).strip()

    def raw(self, token: int) -> str:
        """The token's own text, bytes outside whole characters as Python's surrogate escapes; empty if unknown."""
        if token in self._added:
            return self._added[token]
        piece = self._backend.id_to_token(int(token)) or ""
        if self._bytes_by_character is not None:
            found = (self._bytes_by_character.get(c) or c.encode() for c in piece)
            return b"".join(found).decode(errors="surrogateescape")
        if self._has_byte_tokens and re.fullmatch("<0x[0-9A-F]{2}>", piece):
            return bytes([int(piece[3:5], 16)]).decode(errors="surrogateescape")
        return piece.replace("▁", " ") if self._has_space_sign else piece


def _byte_alphabet() -> dict[str, bytes]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: bytes([byte]) for byte, character in bytes_to_unicode().items()}


# Characters that draw nothing although Unicode counts them as letters, marks or symbols: joiners, fillers,
# variation selectors, the blank Braille pattern.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Besides what acts on a terminal (`workbench.visible`): private and unassigned characters, odd spaces.
_HIDDEN = {"Co", "Cn", "Zs"}


def display(text: str) -> str:
    """One token's text, safe to draw in a terminal row and hard to mistake for another's. For eyes only: one-way.

    A leading space stays as it is; trailing spaces, and those of a token that is nothing else, are "·". Controls
    are Unicode's pictures of them, a line break is ⏎, whatever else is invisible is its code ⟨U+202E⟩. Bytes
    outside whole characters, given as surrogate escapes, are ⟨E2 96⟩. A mark without a base stands on ◌.

    Right-to-left text stands between two ǀ (U+01C0): a letter that looks like a bar and runs left to right, so
    that a terminal that reorders cannot draw the neighboring columns into it. Unicode's isolates would do the
    same, but are invisible, and terminals disagree about their width.
    """
    if text.isascii() and text.isprintable() and not text.endswith(" "):
        return text
    body = text.rstrip(" ")
    shown = []
    has_base = False
    for part in re.findall("[\udc80-\udcff]+|.", body, re.DOTALL):
        drawn = _drawn(part)
        if _is_mark(drawn) and not has_base:
            drawn = "◌" + drawn
        has_base = drawn.endswith(part) and part != " "
        shown.append(drawn)
    line = "".join(shown) + "·" * (len(text) - len(body))
    return _fenced_in(line) if any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in line) else line


def _drawn(part: str) -> str:
    """One character, or a run of surrogate escapes, drawn visibly."""
    if part == "\n" or ACTING.match(part):
        return picture(part)
    odd = part != " " and (unicodedata.category(part) in _HIDDEN or _INVISIBLE.match(part))
    return picture(part) if odd else part


def _is_mark(drawn: str) -> bool:
    """Whether it is drawn on the character before it: combining marks, ends of Hangul syllables, skin tones."""
    return len(drawn) == 1 and (
        unicodedata.category(drawn)[0] == "M"
        or "\u1160" <= drawn <= "\u11ff"
        or "\ud7b0" <= drawn <= "\ud7ff"
        or "\U0001f3fb" <= drawn <= "\U0001f3ff"
    )


def _fenced_in(line: str) -> str:
    inner = line.lstrip(" ")
    if inner[0] == inner[-1] == "ǀ":
        return line
    return " " * (len(line) - len(inner)) + f"ǀ{inner}ǀ"
