"""Escape and the key after it, which a terminal sends as it sends alt and that key: here they are two keys.

Over a slow link, or where a machine is busy, they arrive together, and Textual takes them for alt and a key: escape and
`2` become ™, escape and `q` mean nothing, and of escape and `?` the escape is lost. No key of the app has alt in it, so
they are taken for two keys, as in vi. Three things need more thought than that:

- Alt and `b`, `f` or backspace edit by words in a field (`b` and `f` are how a Mac's terminals send option and an
  arrow). The parser lets them through as one key, and `apart` makes two of it where the keyboard is in no field.
- Escape and tab are `shift+tab` on the Linux console, in a field or not. They stay that.
- What can begin a longer sequence, as `[` can, is a key of its own only if nothing follows it in time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from textual import events
from textual._xterm_parser import XTermParser
from textual.driver import Driver

ESCAPE = "\x1b"

BEGINNINGS = frozenset("[]OP_^")
"""What follows the escape of a longer sequence: of a key, or of a terminal's answer to a question."""

SHIFT_TAB = f"{ESCAPE}\t"

BY_WORDS = {f"{ESCAPE}b": "ctrl+left", f"{ESCAPE}f": "ctrl+right", f"{ESCAPE}\x7f": "ctrl+w"}
"""What alt and a key mean in a field."""

NAMES = {"\x7f": "backspace"}
"""Of the keys that are not named as their character is."""


class KeyParser(XTermParser):
    """Textual's, but that escape and the key after it are two keys."""

    _sequence = ""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        """The keys that a sequence stands for.

        Textual asks about each beginning of a sequence. Once it has given up on one it asks about its characters, one
        by one without the escape, and says ``alt`` of the first.
        """
        if sequence in BY_WORDS:
            yield events.Key(BY_WORDS[sequence], sequence)
            return
        if sequence.startswith(ESCAPE):
            self._sequence = sequence
        # An answer that is not understood stays what it is to Textual: nobody has pressed escape.
        is_beginning_alone = alt and len(self._sequence) == 2
        if is_beginning_alone or _is_two_keys(sequence):
            yield events.Key("escape", ESCAPE)
            sequence, alt = sequence[-1], False
        yield from super()._sequence_to_key_events(sequence, alt)


def _is_two_keys(sequence: str) -> bool:
    """Whether it is an escape and a character that can mean nothing else."""
    is_pair = len(sequence) == 2 and sequence[0] == ESCAPE
    return is_pair and sequence[1] not in BEGINNINGS and sequence != SHIFT_TAB


def apart(event: events.Event) -> tuple[events.Key, ...]:
    """Escape and the other key, of an event that edits by words if it meets a field; nothing of any other event."""
    if not isinstance(event, events.Key) or event.character not in BY_WORDS:
        return ()
    character = event.character[-1]
    return events.Key("escape", ESCAPE), events.Key(NAMES.get(character, character), character)


def reads_keys_apart(driver: type[Driver]) -> type[Driver]:
    """A driver of Textual's, made to read what the terminal sends by a `KeyParser`.

    A driver makes its parser by the name that this has in the driver's module, and can be told in no other way. The
    module of the one for Windows has no such name, and stays as it is.
    """
    names = vars(sys.modules[driver.__module__])
    if "XTermParser" in names:
        names["XTermParser"] = KeyParser
    return driver
