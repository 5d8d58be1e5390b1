"""A terminal is sent no more than what has changed, and that is enough to show what is on the screen."""

from __future__ import annotations

from typing import Any

import pyte
import pytest

from tests.screens.test_app import Running, ask_hero, running

KEYS = (
    ("j", "k", "h"),
    ("tab", "tab", "shift+tab", "shift+tab"),
    ("p", "tab", "tab", "shift+tab", "x"),
    ("backspace", "escape"),
    ("3", "4", "5", "2", "full_stop"),
    ("z", "tab", "z"),
    ("e", "tab", "down"),
    ("escape", "escape", "f1"),
    ("escape", "ctrl+p", "e"),
    ("escape",),
)
"""Among panes, fields, forms and dialogs."""


class Painted:
    """A terminal that is sent what the app paints."""

    def __init__(self, run: Running) -> None:
        self._run, self._size = run, run.app.size
        self._console = run.app.console
        self._screen = pyte.Screen(*self._size)
        self._stream = pyte.Stream(self._screen)
        display = run.app._display

        def painting(screen: Any, update: Any) -> None:
            if update is not None and screen is run.app.screen:
                self._feed(update)
            display(screen, update)

        run.app._display = painting  # type: ignore[method-assign]
        self._feed(self._whole())

    def _feed(self, update: Any) -> None:
        self._stream.feed(update.render_segments(self._console))

    def _whole(self) -> Any:
        return self._run.app.screen._compositor.render_full_update()

    @property
    def shown(self) -> list[list[Any]]:
        """Each cell, with its colours."""
        return [
            [self._screen.buffer[row][column] for column in range(self._size.width)] for row in range(self._size.height)
        ]

    @property
    def text(self) -> list[str]:
        return list(self._screen.display)

    def whole(self) -> tuple[list[str], list[list[Any]]]:
        """What it would show if all were painted anew."""
        kept = self._screen
        self._screen = pyte.Screen(*self._size)
        self._stream = pyte.Stream(self._screen)
        self._feed(self._whole())
        text, shown = self.text, self.shown
        self._screen, self._stream = kept, pyte.Stream(kept)
        return text, shown


@pytest.mark.parametrize("size", [(80, 24), (120, 30)])
async def test_what_is_painted_as_keys_are_pressed_is_all_that_has_changed(size: tuple[int, int]) -> None:
    async with running(size) as run:
        await ask_hero(run)
        painted = Painted(run)
        for keys in KEYS:
            await run.pilot.press(*keys)
            await run.settle()
            text, shown = painted.whole()
            assert painted.text == text, keys
            assert painted.shown == shown, keys
