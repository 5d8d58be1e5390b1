"""The pane of a watched generation, which plays it again token by token; a pause holds the picture, not the model."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.timer import Timer

from screens.keys import Key
from screens.panes.figure_pane import FigurePane
from workbench.figures import Table, TokenScores
from workbench.methods.watch import WATCH
from workbench.methods.watch.result import WatchedToken, WatchResult
from workbench.protocol import Request, Result

SPEEDS = (1, 2, 4, 8, 16)
"""Tokens a second."""


class WatchPane(FigurePane):
    """Shows the last watched generation, all of it or as far as it had come at a token.

    ``_at`` is how many tokens are shown, None for all there are, those to come too.
    """

    METHOD = WATCH

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.SWITCH, "switch", "Play/pause", tooltip="Play it token by token, or hold it", id="watch.play"),
        Binding(Key.TOKEN_BACK, "step(-1)", "Back", tooltip="One token back", id="watch.back"),
        Binding(Key.TOKEN_ON, "step(1)", "On", tooltip="One token on", id="watch.on"),
        Binding(Key.REWIND, "rewind", "Rewind", tooltip="To the token under the cursor", id="watch.rewind"),
        Binding(Key.PEAK, "peak", "Least sure", tooltip="To the smallest margin", show=False, id="watch.least_sure"),
        Binding(Key.STRONGER, "strength(1)", "Faster", tooltip="Twice as fast", show=False, id="watch.faster"),
        Binding(Key.WEAKER, "strength(-1)", "Slower", tooltip="Half as fast", show=False, id="watch.slower"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._at: int | None = None
        self._speed = SPEEDS.index(4)
        self._playing: Timer | None = None

    def clear(self) -> None:
        """Begin empty again."""
        self._stop()
        self._at = None
        super().clear()

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep it; another generation is shown from its start, one that goes on stays where it is held."""
        if self._shown is None or self._shown[0] != request or self._count > len(_tokens(result)):
            self._stop()
            self._at = None
        super().take(request, result, edits)
        self.refresh_bindings()

    def draw(self) -> None:
        """Draw as much as is to be seen."""
        if isinstance(result := self._shown[1] if self._shown else None, WatchResult):
            self._view.show(self.METHOD.figures(result if self._at is None else result.upto(self._at)))
            self.draw_cursor()

    def legend(self) -> Content:
        """Where it is held, or how fast it is played."""
        if self._at is None:
            return Content("")
        doing = f"▶ {SPEEDS[self._speed]} a second" if self._playing else "held"
        return Content(
            f"{doing} · token {self._at} of {self._count} · space plays or holds, < and > step, + and − speed"
        )

    # Keys

    def action_switch(self) -> None:
        """Hold what is played or comes in; or play on, from the start where all is shown."""
        if self._playing:
            self._stop()
        elif self._at is None and self._under_way:
            self._at = self._count
        else:
            self._at = 1 if self._at is None or self._at >= self._count else self._at
            self._start()
        self._redraw()

    def action_step(self, by: int) -> None:
        """One token on or back, and hold there."""
        self._hold((self._count if self._at is None else self._at) + by)

    def action_rewind(self) -> None:
        """To the token under the cursor."""
        figure, place = self._view.here or (None, (0, 0))
        if isinstance(figure, Table | TokenScores):
            self._hold((place[0] if isinstance(figure, Table) else place[1]) + 1)
        else:
            self.notify("Put the cursor on a token first.")

    def action_peak(self) -> None:
        """To the token with the smallest margin."""
        margins = [token.margin for token in _tokens(self._shown[1] if self._shown else None)]
        self._hold(margins.index(min(margins)) + 1)

    def action_strength(self, by: int) -> None:
        """Faster or slower."""
        self._speed = min(len(SPEEDS) - 1, max(0, self._speed + by))
        if self._playing:
            self._start()
        self._redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There must be something to play."""
        if action in ("switch", "step", "rewind", "peak", "strength"):
            return self._count > 0
        return super().check_action(action, parameters)

    # Playing

    @property
    def _count(self) -> int:
        """How many tokens there are by now."""
        return len(_tokens(self._shown[1] if self._shown else None))

    def _hold(self, at: int) -> None:
        self._stop()
        self._at = min(self._count, max(1, at))
        self._redraw()

    def _start(self) -> None:
        self._stop()
        self._playing = self.set_interval(1 / SPEEDS[self._speed], self._tick)

    def _stop(self) -> None:
        if self._playing:
            self._playing.stop()
            self._playing = None

    def _tick(self) -> None:
        """The next token; at the last one it waits for those to come, if any are."""
        if self._at is not None and self._at < self._count:
            self._at += 1
        if self._at is None or self._at >= self._count:
            self._stop()
            self._at = None
        self._redraw()

    def _redraw(self) -> None:
        self.draw()
        self.draw_frame()


def _tokens(result: Result | None) -> tuple[WatchedToken, ...]:
    return result.spoken.tokens if isinstance(result, WatchResult) else ()
