"""A screen of panes: which of them are seen, which one has the keyboard, and what all of them are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import on
from textual.app import ComposeResult
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Label

from screens.answers import Edits, active_edits
from screens.columns import Columns
from screens.jump import JumpScreen
from screens.keys import NUMBERED, Key
from screens.marking import mark
from screens.messages import Cursor
from screens.panes.pane import Pane
from screens.panes.picture import PicturePane
from screens.panes.prompt.pane import PromptPane
from screens.sized import Sized
from screens.start import StartList
from screens.way_on import ANOTHER, way_on
from screens.widgets.short_footer import ShortFooter
from screens.widgets.status import StatusLine
from screens.widgets.tab_line import TabLine
from workbench.case import Case
from workbench.editing.fix import FixRequest
from workbench.editing.operations import QueueRequest
from workbench.editing.queue import QueueState
from workbench.models.info import ModelInfo
from workbench.protocol import Request
from workbench.session import Session

LOOKED_BACK = 200
"""So many of the last steps count for what is proposed as the next one."""


class PaneScreen(Sized):
    """The prompt, the other panes, and the lines below them. It asks nothing and draws no result."""

    # Not reactive: a changed one would paint the whole screen again, 24 kB a key, when panes draw it themselves.
    cursor: var[Cursor | None] = var[Cursor | None](None)
    case: var[Case | None] = var[Case | None](None)
    on_screen: var[Case | None] = var[Case | None](None)
    model: var[ModelInfo | None] = var[ModelInfo | None](None)
    active: var[int] = var(2)
    zoomed: var[bool] = var(False)
    queue: var[QueueState] = var(QueueState)
    running: var[Request | None] = var[Request | None](None)  # by the engine
    reported: var[int] = var(0)  # the last step that is in a report

    def __init__(
        self, prompt: PromptPane, others: Sequence[Pane], start: StartList, starting: bool, live: bool
    ) -> None:
        """Where it is ``starting``, the ``start`` stands in the place of pictures, until there is one."""
        super().__init__(classes="-start" if starting else None)
        self.prompt, self.others, self.live = prompt, list(others), live
        self.status = StatusLine()
        self.recorded: Callable[[], Session] = Session  # the app and the replay put theirs in its place
        self._start = start
        titles = [f"{number} {pane.TITLE}" if number <= NUMBERED else pane.TITLE for number, pane in self._numbered]
        self._columns = Columns(prompt, self.others, titles, start)
        self.watch_active()  # before anything is styled

    @property
    def panes(self) -> list[Pane]:
        """All panes, in the order of their number keys."""
        return [self.prompt, *self.others]

    @property
    def foremost(self) -> Pane:
        """The pane that was asked for last."""
        return self.others[self.active - 2]

    @property
    def with_keyboard(self) -> Pane:
        """The pane that has the keyboard; where none has, the one that was asked for last."""
        return next((pane for pane in self.panes if pane.has_focus_within), self.foremost)

    @property
    def place(self) -> str:
        """Where the keyboard is."""
        return self.with_keyboard.TITLE

    @property
    def edits(self) -> Edits:
        """The edits that the model has now."""
        return active_edits(self.queue)

    @property
    def _numbered(self) -> list[tuple[int, Pane]]:
        return list(enumerate(self.others, 2))

    def compose(self) -> ComposeResult:
        """The panes, the status line, the footer."""
        yield Label("This terminal is too small: 40 columns and 12 rows are the least.", id="too-small")
        yield self._columns
        yield self.status
        yield ShortFooter()

    def number_panes(self) -> None:
        """Tell panes the keys that lead to them, and whether anybody answers."""
        for number, pane in enumerate(self.panes, 1):
            pane.number, pane.live = number if number <= NUMBERED else None, self.live

    # What all panes are told

    def watch_cursor(self) -> None:
        """One cursor for all panes."""
        for pane in self.panes:
            pane.cursor = self.cursor

    def watch_case(self) -> None:
        """One case for all panes."""
        if self.case is not None:
            self.leave_start()
        for pane in self.panes:
            pane.case = self.case

    def watch_on_screen(self) -> None:
        """One prompt on the screen for all panes, asked about or not."""
        self.show_way_on()
        for pane in self.panes:
            pane.on_screen = self.on_screen

    def watch_queue(self) -> None:
        """One queue of edits for all panes."""
        self.show_way_on()
        self.refresh_bindings()
        for pane in self.panes:
            pane.queue = self.queue

    def watch_running(self) -> None:
        """Panes say what theirs waits for."""
        for pane in self.panes:
            pane.running = self.running

    def watch_model(self, _before: ModelInfo | None, after: ModelInfo | None) -> None:
        """Panes draw the model's name and numbers into their trust strips."""
        self.status.model = after
        for pane in self.panes:
            pane.model = after

    # The step that makes sense next

    def watch_reported(self) -> None:
        """What has been reported is done with."""
        self.show_way_on()

    def show_way_on(self) -> None:
        """Say which step that is."""
        if self.live and self.is_mounted:
            places: dict[type[Request], str] = {
                request: self._place_of(request) for request in (FixRequest, QueueRequest)
            }
            steps = self.recorded().steps[-LOOKED_BACK:]
            found = way_on(self.on_screen, steps, self.queue, places)
            told = found.keys == Key.REPORT and steps and steps[-1].id == self.reported
            self.status.way_on = str(ANOTHER if told else found)

    def _place_of(self, request: type[Request]) -> str:
        """The key that leads to the pane of a kind of request; none where the keyboard is there."""
        number, pane = next((number, pane) for number, pane in self._numbered if request in pane.accepts)
        if pane.has_focus_within:
            return ""
        return str(number) if number <= NUMBERED else Key.NEXT_PANE

    # Samples and recent sessions, before the first question

    @on(PromptPane.Below)
    def enter_start(self) -> None:
        """They are below the last of the prompts, until there is something to picture."""
        if self.has_class("-start"):
            self._start.focus_content()

    def leave_start(self) -> None:
        """They make room for the panes."""
        mark(self, {"-start": False}, (self._start, *self.panes))

    # Which panes are seen, and which one has the keyboard

    def watch_active(self) -> None:
        """Show the pane that was asked for."""
        self._columns.show_pane(self.foremost)

    def watch_zoomed(self) -> None:
        """One pane alone, or all."""
        self.set_class(self.zoomed, "-zoom")
        self.status.zoomed = self.zoomed
        self.on_descendant_focus()

    def on_descendant_focus(self) -> None:
        """The pane with the keyboard stands out and is the one that is seen alone, and no key leads to it."""
        self.show_way_on()
        self._columns.stand_out(self.with_keyboard if self.zoomed else None)

    on_descendant_blur = on_descendant_focus

    def bring(self, pane: Pane) -> None:
        """Show a pane beside the one that was asked for last, where there is room for both."""
        self._columns.bring(pane)
        self.watch_active()

    def go_to_pane(self, pane: Pane) -> None:
        """Put the keyboard into a pane, and show it where only one is shown."""
        self.action_pane(1 + self.panes.index(pane))

    def go_to(self, title: str, cursor: Cursor | None) -> None:
        """Show the pane of this title, with the keyboard in it, and put the cursor there."""
        first = self.others[0]
        if cursor is not None and isinstance(first, PicturePane):
            first.move_cursor(cursor)  # not at once: a move to where its picture begins may still be on its way from it
        for pane in self.others:
            if title == pane.TITLE:
                self.go_to_pane(pane)

    def leave_prompt(self) -> None:
        """Put the keyboard into what stands beside the prompt."""
        (self._start if self.has_class("-start") else self.foremost).focus_content()

    @on(TabLine.Chosen)
    def tab_chosen(self, message: TabLine.Chosen) -> None:
        """A tab was clicked."""
        self.go_to_pane(self.others[message.place])

    def action_pane(self, number: int) -> None:
        """Put the keyboard into the pane with this number, and show it where only one is shown."""
        if number > 1:
            self.leave_start()
            self.active = number
        self.panes[number - 1].focus_content()

    def action_next_pane(self) -> None:
        """To the pane after the one that was asked for last, and after the last one to the first."""
        self.action_pane(2 + (self.active - 1) % len(self.others))

    def action_jump(self) -> None:
        """Letters on everything that takes the keyboard."""
        self.app.push_screen(JumpScreen(self), self._jump)

    def _jump(self, widget: Widget | None) -> None:
        if widget is not None and widget in self.focus_chain:  # it may have gone while the letters were shown
            self.set_focus(widget)

    def action_zoom(self) -> None:
        """Show the pane with the keyboard alone, or all panes again."""
        self.zoomed = not self.zoomed

    def action_words(self) -> None:
        """Show in full what stands around the picture of the pane with the keyboard, and what its signs mean."""
        from screens.words import WordsScreen  # not before the first paint

        pane = self.with_keyboard
        shown = pane if isinstance(pane, PicturePane) else self.foremost
        if isinstance(shown, PicturePane):
            self.app.push_screen(WordsScreen(*shown.in_words()))
