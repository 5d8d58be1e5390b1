"""What is asked about the prompt on the screen: the case that it makes, those before it, and what goes on from it."""

from __future__ import annotations

from collections.abc import Callable

from screens.keys import Key
from screens.messages import Ask
from screens.pane_screen import PaneScreen
from screens.panes.lens.pane import LensPane
from screens.showing import Showing
from workbench.case import Case
from workbench.methods.generation.continuation import ContinueRequest
from workbench.methods.lens.logit_lens import LensRequest
from workbench.protocol import Request
from workbench.session import Step

TOKENS_DEPEND_ON = ("prompt", "prepend", "chat")


class Asker:
    """Keeps a screen's case, and what its prompt is said to be, in step with the prompt's fields."""

    def __init__(self, screen: PaneScreen, showing: Showing) -> None:
        self._screen, self._prompt, self._showing = screen, screen.prompt, showing
        self._before: list[tuple[Case, int]] = []  # what panes have put other prompts in the place of, and which panes
        self.remember: Callable[[Case], None] = lambda _: None  # the app keeps what is asked about for its next run
        for pane in screen.panes:
            pane.case_on_screen = self.case_on_screen

    def case_on_screen(self) -> Case | None:
        """The case in the prompt's fields, None while they hold no prompt; what panes ask must be about it.

        One that was not asked about yet is asked first, as by enter in the prompt.
        """
        if not self._screen.live:
            return self._screen.case
        case = self.read_prompt()
        if case is not None and case != self._screen.case:
            self._prompt.keep()
            self.ask_about(case)
        return case

    def ask_about(self, case: Case) -> None:
        """Make a case everybody's and look through the lens at it, the cursor's token first."""
        self.remember(case)
        self.change_case(case)
        cursor = self._screen.cursor
        lens = next(pane.lens for pane in self._screen.others if isinstance(pane, LensPane))
        self._ask(LensRequest(case=case, first=cursor.token if cursor else None, lens=lens))

    def change_case(self, case: Case) -> None:
        """Make a case everybody's. The cursor stays where the tokens do, and begins at the end where they do not."""
        before = self._screen.case
        if before is None or any(getattr(before, name) != getattr(case, name) for name in TOKENS_DEPEND_ON):
            self._screen.cursor = None
        self._screen.case = case

    def read_prompt(self) -> Case | None:
        """Tell everybody what stands in the prompt's fields now."""
        case = self._prompt.edited()
        self._screen.on_screen = case if case.prompt.strip() else None
        return self._screen.on_screen

    def put(self, case: Case) -> None:
        """Put a case into the prompt's fields."""
        self._prompt.put(case)
        self.read_prompt()

    def complete(self, step: Step) -> None:
        """Put what a method proposed into the prompt's fields, if they still hold what it was asked about."""
        if step.completed is not None and step.case == self.read_prompt():
            self.put(step.completed)
            self.change_case(step.completed)

    def look_at(self, case: Case) -> None:
        """Put a pane's case into the prompt, whose own goes into the history, and look through the lens at it."""
        before = self._prompt.keep()
        if before.prompt.strip():
            self._before.append((before, self._screen.active))
            self._screen.notify(f"The prompt is another one now; {Key.BACK} goes back to the one before.")
        self.put(case)
        self.ask_about(case)
        self._screen.action_pane(2)

    def go_back(self) -> None:
        """Put the prompt back that a pane has put another one in the place of, and show that pane."""
        if not self._before:
            self._screen.notify("No pane has put another prompt here.")
            return
        case, pane = self._before.pop()
        self._prompt.keep()
        self.put(case)
        self.ask_about(case)
        self._screen.action_pane(pane)

    def ask_again(self) -> None:
        """Ask again, about the case on screen and with the edits of now, all that is drawn of another case or others.

        The lens first, which is asked anyway where the case was not asked about yet.
        """
        before = self._screen.case
        case = self.case_on_screen()
        if case is None:
            self._screen.notify("Type a prompt first.")
            return
        is_new = case != before
        stale = [pane for pane in self._showing.stale() if not (is_new and isinstance(pane, LensPane))]
        requests = [asked for pane in stale for asked in pane.asked_of(case)]
        if is_new and self._prompt.is_continued:
            requests.insert(0, ContinueRequest(case=case))
        for request in requests:
            self._ask(request)
        if not (requests or is_new):
            self._screen.notify("All that is drawn is of this prompt, with these edits.")

    def go_on(self) -> None:
        """Let the model go on for a few tokens."""
        case = self.case_on_screen()
        if case is None:
            self._screen.notify("Type a prompt first; then g lets the model go on.")
            return
        self._ask(ContinueRequest(case=case))

    def keep_continuation(self) -> None:
        """Append the last continuation to the prompt, so that its tokens can be looked at like any other."""
        case = self._prompt.continued()
        if case is None or case.chat:
            self._screen.notify("This prompt has no continuation to append; g makes one (not with the chat template).")
            return
        self._prompt.keep()
        self.put(case)
        self.ask_about(case)

    def _ask(self, request: Request) -> None:
        self._screen.post_message(Ask(request))
