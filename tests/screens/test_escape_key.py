"""Escape and the key after it are two keys, however a terminal's bytes are cut."""

from __future__ import annotations

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers import headless_driver, linux_driver
from textual.drivers.headless_driver import HeadlessDriver
from textual.keys import key_to_character
from textual.message import Message

from screens.base import BaseApp, _keys
from screens.escape_key import BEGINNINGS, BY_WORDS, ESCAPE, KeyParser, apart, reads_keys_apart
from screens.keys import Key

CHARACTERS = sorted({character for key in Key for each in key.each if (character := key_to_character(each))})
"""All keys of the app that are a character."""


def parsed(*chunks: str, parser: XTermParser | None = None) -> list[Message]:
    """What comes of these chunks, with no pause between them, and a long one after the last."""
    parser = parser or KeyParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    if parser._timeout_time is not None:
        parser._timeout_time = 0
    return [*found, *parser.tick()]


def keys(*chunks: str) -> list[str]:
    """The keys that come of these chunks, and of escape and another key where they are still one."""
    found = [event for event in parsed(*chunks) if isinstance(event, events.Key)]
    return [each.key for event in found for each in apart(event) or (event,)]


@pytest.mark.parametrize("character", [*CHARACTERS, "\x7f", "\r", " ", "\x03", "é", "§"])
def test_escape_and_a_key_at_once_or_one_after_the_other_are_both_keys(character: str) -> None:
    both = ["escape", *keys(character)]
    assert len(both) == 2
    assert keys(ESCAPE + character) == both
    assert keys(ESCAPE, character) == both
    assert keys(ESCAPE + ESCAPE + character) == ["escape", *both]


@pytest.mark.parametrize("character", sorted({*CHARACTERS, "\r", "\x7f"} - BEGINNINGS))
def test_escape_a_key_and_a_sequence_are_three_keys(character: str) -> None:
    assert keys(f"{ESCAPE}{character}{ESCAPE}[A") == ["escape", *keys(character), "up"]
    assert keys(f"{ESCAPE}{character}{ESCAPE}{character}") == ["escape", *keys(character)] * 2


@pytest.mark.parametrize(
    ("sequence", "key"),
    [
        ("\x1b[A", "up"),
        ("\x1b[6~", "pagedown"),
        ("\x1b[1;5D", "ctrl+left"),
        ("\x1bOP", "f1"),
        ("\x1b[Z", "shift+tab"),
        ("\x1b\t", "shift+tab"),
        ("\x1b[27u", "escape"),
    ],
)
def test_a_sequence_is_one_key_wherever_it_is_cut(sequence: str, key: str) -> None:
    for cut in range(1, len(sequence)):
        assert keys(sequence[:cut], sequence[cut:]) == [key]
    assert keys(*sequence, *sequence) == [key, key]
    assert keys(ESCAPE + sequence) == ["escape", key]


@pytest.mark.parametrize(
    "sent",
    [
        f"\x1b[200~a{ESCAPE}2b\x1b[201~q",
        f"\x1b[200~{ESCAPE}[31m{ESCAPE}b{ESCAPE}{ESCAPE}2\x1b[201~",
        f"\x1b[200~a{ESCAPE}2",
        "\x1b[<0;3;4M\x1b[I\x1b[?2026;2$y",
        "\x1b[?62;22c",
        "\x1b[<35;1",
        "\x1b]11;rgb:1e1e/1e1e\x07",
        "\x1b]11;rgb:1e1e/1e1e/1e1e\x1b[A",
        "\x1bP>|term(3)\x1b[B",
    ],
)
def test_pastes_the_mouse_and_answers_nobody_understands_are_what_they_are_to_textual(sent: str) -> None:
    for chunks in ([sent], [*sent]):
        assert list(map(repr, parsed(*chunks))) == list(map(repr, parsed(*chunks, parser=XTermParser())))


@pytest.mark.parametrize("sequence", BY_WORDS)
def test_what_edits_by_words_is_to_a_field_what_it_is_to_textual(sequence: str) -> None:
    (event,), (textuals,) = parsed(sequence), parsed(sequence, parser=XTermParser())
    assert isinstance(event, events.Key)
    assert isinstance(textuals, events.Key)
    assert (event.key, event.is_printable) == (textuals.key, textuals.is_printable)
    assert not apart(textuals)


def test_what_was_typed_before_the_app_was_there_ends_with_the_escape_that_it_ends_with() -> None:
    typed = [event for event in _keys(f"a{ESCAPE}2{ESCAPE}") if isinstance(event, events.Key)]
    assert [event.key for event in typed] == ["a", "escape", "2", "escape"]
    assert not list(_keys(""))


def test_the_app_s_driver_reads_by_it_and_one_without_a_parser_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux_driver, "XTermParser", XTermParser)
    monkeypatch.setattr(App, "get_driver_class", lambda _: linux_driver.LinuxDriver)
    assert BaseApp().driver_class is linux_driver.LinuxDriver
    assert linux_driver.XTermParser is KeyParser
    assert reads_keys_apart(HeadlessDriver) is HeadlessDriver
    assert not hasattr(headless_driver, "XTermParser")
