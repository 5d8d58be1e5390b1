"""Two steps of the session side by side: what is different, coloured, summed up, and for edits fact by fact."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from screens.dialog import Framed
from screens.keys import Key
from screens.widgets.figure import FigureView
from workbench.registry import method
from workbench.reporting.side_by_side import compare_steps
from workbench.session import Session, Step


class SideBySideScreen(Framed[None]):
    """A step against another one of the same method, at first the one before it.

    Both can be other ones: the keys of a replay that go to the step before and after choose the first, those that go
    to the first and last step the second.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.BEFORE, "first(-1)", "Earlier", id="side.first_before", tooltip="An earlier first step"),
        Binding(Key.AFTER, "first(1)", "Later", id="side.first_after", tooltip="A later first step"),
        Binding(Key.FIRST, "second(-1)", "Earlier second", id="side.second_before", tooltip="An earlier second step"),
        Binding(Key.LAST, "second(1)", "Later second", id="side.second_after", tooltip="A later second step"),
        Binding(f"escape,{Key.SIDE_BY_SIDE}", "close", "Close", id="side.close", tooltip="Back to the pane"),
    ]

    HINT = "[ ] another first  { } another second  escape closes"
    WIDEST = 160

    DEFAULT_CSS = """
    SideBySideScreen > #frame { height: 95%; }
    """

    def __init__(self, steps: tuple[Step, ...], first: int, second: int) -> None:
        """``first`` and ``second`` are places in the steps, which are of one method."""
        super().__init__()
        self._steps, self._first, self._second = steps, first, second

    def compose_inside(self) -> ComposeResult:
        """The differences."""
        yield FigureView()

    def on_mount(self) -> None:
        """Show the two that it was opened with."""
        self._show()

    def action_first(self, by: int) -> None:
        """Another first step."""
        self._first = self._next(self._first, by, self._second)
        self._show()

    def action_second(self, by: int) -> None:
        """Another second step."""
        self._second = self._next(self._second, by, self._first)
        self._show()

    def _next(self, place: int, by: int, other: int) -> int:
        """The next place that is not that of the other step; this one where there is none."""
        wanted = place + by
        wanted += by * (wanted == other)
        return wanted if 0 <= wanted < len(self._steps) else place

    def _show(self) -> None:
        first, second = self._steps[self._first], self._steps[self._second]
        self.entitle(f"Step {second.id} against step {first.id} · {method(first.request.kind).title}")
        view = self.query_one(FigureView)
        view.show(compare_steps(first, second))
        view.focus_figure()


def side_by_side(session: Session, shown: Step) -> SideBySideScreen | None:
    """The screen of a step and the one before it of the same method, or else the one after it; None without another."""
    steps = tuple(s for s in session.steps if s.request.kind == shown.request.kind and s.result is not None)
    place = next((place for place, step in enumerate(steps) if step.id == shown.id), None)
    if place is None or len(steps) < 2:
        return None
    return SideBySideScreen(steps, place - 1 if place else 1, place)
