"""Token text must be visible, and must not be able to disturb the row that it is drawn in."""

from __future__ import annotations

import gc
import unicodedata
import weakref
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workbench.models.tokens import display, token_text, token_texts

ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # surrogates too


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Sydney", " Sydney"),
        ("", ""),
        ("  ", "··"),
        ("a  ", "a··"),
        ("    return", "    return"),
        ("\n", "⏎"),
        ("a\t\r\x1b\x00\x7f", "a␉␍␛␀␡"),
        ("\x85", "⟨U+0085⟩"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\u200b", "⟨U+200B⟩"),
        ("\u00a0", "⟨U+00A0⟩"),
        ("❤\ufe0f", "❤⟨U+FE0F⟩"),
        ("\U000f0000", "⟨U+F0000⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("a\udce2\udc96", "a⟨E2 96⟩"),
        ("\u0301", "◌\u0301"),
        (" \u0301", " ◌\u0301"),
        ("e\u0301\u0302", "e\u0301\u0302"),
        ("\n\u0301", "⏎◌\u0301"),
        ("\u1161", "◌\u1161"),
        ("שלום", "ǀשלוםǀ"),
        (" שלום ", " ǀשלום·ǀ"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
        ("<|endoftext|>", "<|endoftext|>"),
    ],
)
def test_text_is_drawn_visibly(text: str, shown: str) -> None:
    assert display(text) == shown


@given(ANY_TEXT)
@example("\udcff\u0301 ")
@example("ǀא")
def test_whatever_is_drawn_is_harmless(text: str) -> None:
    shown = display(text)
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not {unicodedata.category(c) for c in shown} & hidden
    assert bool(shown) == bool(text)
    assert not shown.endswith(" ")
    assert not text or cell_len(shown) > 0
    assert display(shown) == shown


def test_every_character_takes_up_room() -> None:
    codes = [*range(0x20000), *range(0xE0000, 0xE0200)]  # the rest is ideographs, private or unassigned
    assert [f"{code:X}" for code in codes if cell_len(display(chr(code))) == 0] == []


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)))
def test_printable_ascii_is_left_alone(text: str) -> None:
    assert display(text) == text


@given(ANY_TEXT)
def test_right_to_left_letters_stand_between_left_to_right_ones(text: str) -> None:
    strong = [d for d in map(unicodedata.bidirectional, display(text)) if d in ("L", "R", "AL", "AN")]
    assert all(direction == "L" for direction in strong) or strong[0] == strong[-1] == "L"


def byte_level(*more: str) -> Any:
    """A token for every byte, by GPT-2's alphabet, and those of `more`."""
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *more]
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def piece_of(data: bytes) -> str:
    """Bytes in GPT-2's alphabet: printable Latin-1 stands for itself, the rest for U+0100 and up, in order."""
    themselves = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    alphabet = [chr(byte if byte in themselves else next(others)) for byte in range(256)]
    return "".join(alphabet[byte] for byte in data)


def test_byte_tokens_show_the_bytes_that_they_are() -> None:
    tokenizer = byte_level()
    ids = tokenizer.convert_tokens_to_ids([piece_of(bytes([byte])) for byte in range(256)])
    expected = [display(chr(byte)) if byte < 0x80 else f"⟨{byte:02X}⟩" for byte in range(256)]
    assert list(token_texts(tokenizer, ids)) == expected


def test_a_token_of_whole_and_half_characters_shows_both() -> None:
    tokenizer = byte_level(piece_of(" é".encode() + b"\xe2\x96"))
    assert token_text(tokenizer, 256) == " é⟨E2 96⟩"


def test_sentencepiece_tokens_show_spaces_and_bytes() -> None:
    pieces = ["▁", "▁Sydney", "<0x0A>", "<0xE2>", "a"]
    backend = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert token_texts(tokenizer, range(5)) == ("·", " Sydney", "⏎", "⟨E2⟩", "a")


def test_an_added_token_is_not_read_as_bytes() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["é Ġ"])
    assert token_text(tokenizer, 256) == "é Ġ"


def test_an_id_outside_the_vocabulary_is_shown_as_a_number() -> None:
    assert token_text(byte_level(), 99_999) == "⟨id 99999⟩"


def test_a_table_of_texts_does_not_keep_its_tokenizer_alive() -> None:
    tokenizer = byte_level()
    assert token_text(tokenizer, tokenizer.convert_tokens_to_ids("a")) == "a"
    gone = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert gone() is None


@pytest.mark.real
def test_the_default_models_whole_vocabulary_can_be_drawn(default_model: Any) -> None:
    tokenizer = default_model.tokenizer
    texts = token_texts(tokenizer, range(len(tokenizer)))
    assert len(texts) == 49_152
    assert all(text.isprintable() and cell_len(text) > 0 for text in texts)
    for token in range(0, len(tokenizer), 97):
        decoded = tokenizer.decode([token])
        assert "\ufffd" in decoded or texts[token] == display(decoded)
