"""A pane draws its own moves at once; this tells the main screen's echoes of them from moves of other panes."""

from __future__ import annotations

from collections import deque

from screens.messages import Cursor


class Echoes:
    """The moves that a pane has posted and the main screen has not made yet."""

    def __init__(self) -> None:
        self._expected: deque[Cursor] = deque(maxlen=256)

    def expect(self, cursor: Cursor) -> None:
        """A move has been posted."""
        self._expected.append(cursor)

    @property
    def latest(self) -> Cursor | None:
        """Where the cursor will be when all moves have been made; None when they have."""
        return self._expected[-1] if self._expected else None

    def overtaken(self, cursor: Cursor | None) -> bool:
        """Whether the cursor that was just set is an echo that later moves have overtaken: not to be drawn."""
        if cursor is None or cursor not in self._expected:
            self._expected.clear()
            return False
        while self._expected.popleft() != cursor:
            pass
        return bool(self._expected)
