"""What every pane is: a titled widget that is shown steps and progress, and follows the shared case and cursor."""

from __future__ import annotations

from typing import ClassVar

from textual.reactive import reactive
from textual.widget import Widget

from screens.messages import Cursor
from workbench.case import Case
from workbench.engine import Progressed
from workbench.methods.base import Request
from workbench.models.info import ModelInfo
from workbench.session import Step


class Pane(Widget):
    """Base of the panes. A pane owns what it shows; the main screen only tells it what happened.

    A pane draws the last step (or unfinished partial result) of the requests that it ``accepts``, and may post
    `screens.messages.Ask` and `CursorMoved`. It must look right before the first step, while one is running, and
    after a step that failed, was cancelled or is partial.
    """

    TITLE: ClassVar[str] = ""
    accepts: ClassVar[tuple[type[Request], ...]] = ()

    cursor: reactive[Cursor | None] = reactive[Cursor | None](None)
    case: reactive[Case | None] = reactive[Case | None](None)
    model: reactive[ModelInfo | None] = reactive[ModelInfo | None](None)

    def on_mount(self) -> None:
        """Give the frame its title."""
        self.border_title = self.TITLE

    def focus_content(self) -> None:
        """Put the keyboard into the pane's main widget."""
        raise NotImplementedError

    def started(self, request: Request) -> None:
        """A request that the pane accepts has begun to run."""

    def show_progress(self, progress: Progressed) -> None:
        """A request that the pane accepts is under way; ``progress.partial`` may be drawn already."""

    def show_step(self, step: Step) -> None:
        """A request that the pane accepts has ended, or a recorded one is being looked at."""
        raise NotImplementedError
