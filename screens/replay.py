"""Replay: a recorded session on the same screen, with no engine and no torch."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.widget import Widget

from screens.base import BaseApp
from screens.keys import Key
from screens.main import MainScreen
from screens.messages import Ask
from workbench.session import Session, Step


class StepLine(Widget):
    """Which recorded step is being looked at, as one row."""

    DEFAULT_CSS = """
    StepLine { height: 1; background: $primary-muted; color: $text; padding: 0 1; }
    """

    place: reactive[int] = reactive(0)

    def __init__(self, steps: tuple[Step, ...]) -> None:
        super().__init__()
        self._steps = steps

    def render(self) -> Text:
        """Its number, what it was, how it ended, and the keys that go to the others."""
        step = self._steps[self.place]
        text = Text(f"step {self.place + 1}/{len(self._steps)} ", style="bold", no_wrap=True, overflow="ellipsis")
        text.append(f"{step.request.kind} · {step.status} · {step.seconds:.1f} s", style="not bold")
        text.append(f" · {step.started.astimezone():%Y-%m-%d %H:%M} · edits {len(step.edits)}", style="not bold")
        return text.append("   [ earlier   ] later", style="not bold dim")


class ReplayScreen(MainScreen):
    """The main screen as it was after one of the recorded steps."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.BEFORE, "step(-1)", "Earlier", key_display="[", id="replay.earlier"),
        Binding(Key.AFTER, "step(1)", "Later", key_display="]", id="replay.later"),
        Binding(Key.FIRST, "first", "First", key_display="{", id="replay.first", show=False),
        Binding(Key.LAST, "last", "Last", key_display="}", id="replay.last", show=False),
    ]

    def __init__(self, session: Session, file: Path) -> None:
        cases = [step.case for step in session.steps if step.case is not None]
        super().__init__(cases[0] if cases else None, read_only=True)
        self._session = session
        self.recorded = lambda: session
        self._line = StepLine(session.steps)
        self.status.session = file
        self.status.message = "replay"

    def compose(self) -> ComposeResult:
        """The step line on top of what is always there."""
        yield self._line
        yield from super().compose()

    def begin(self) -> None:
        """Begin with the last step: the end of the story is what a reader wants to see first."""
        self.model = self._session.model
        self.others[0].focus_content()
        self._go(len(self._session.steps) - 1)

    def action_step(self, by: int) -> None:
        """Go some steps back or on."""
        self._go(self._line.place + by)

    def action_first(self) -> None:
        """Go to the first step."""
        self._go(0)

    def action_last(self) -> None:
        """Go to the last step."""
        self._go(len(self._session.steps) - 1)

    def on_ask(self, message: Ask) -> None:
        """Nothing can be asked: say so and how it could be."""
        message.stop()
        self.notify("This is a replay; open the session with  workbench --session FILE  to ask more.")

    def _go(self, place: int) -> None:
        if not 0 <= place < len(self._session.steps):
            return
        self._line.place = place
        self.show_steps(self._until(place))
        if home := self.showing.home_of(self._session.steps[place].request):
            self.go_to_pane(home)

    def _until(self, place: int) -> list[Step]:
        """The steps made by then that no later result has taken the place of, in order."""
        replaced: set[Hashable] = set()
        found: list[Step] = []
        for step in reversed(self._session.steps[: place + 1]):
            slot = self.showing.slot(step.request), step.edits  # with and without edits are compared
            if slot not in replaced:
                found.append(step)
            if step.result is not None:
                replaced.add(slot)
        return found[::-1]


class ReplayApp(BaseApp):
    """Shows one session file."""

    def __init__(self, session: Session, file: Path, mouse: bool = True) -> None:
        super().__init__(mouse)
        self._screen = ReplayScreen(session, file)

    def start(self) -> None:
        """Run until the user leaves."""
        self.run_to_the_end()
        self.exit_if_crashed(f"{self._screen.status.session} is as it was")

    def on_mount(self) -> None:
        """Show the session."""
        self.push_screen(self._screen)
