"""What every pane is: a titled widget that is shown steps and progress, and follows the shared case and cursor."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import ClassVar, Literal

from textual.content import Content
from textual.geometry import Region
from textual.reactive import var
from textual.widget import Widget

from screens.answers import Edits, KeptSteps, active_edits
from screens.messages import Cursor
from workbench.case import Case
from workbench.editing.queue import QueueState
from workbench.events import Progressed
from workbench.models.info import ModelInfo
from workbench.protocol import Request
from workbench.session import Step

TITLE_FROM = 3
"""Where in a frame its title begins; two cells after it the line goes on."""


class Pane(Widget):
    """Base of the panes. A pane owns what it shows; the main screen only tells it what happened.

    A pane draws the last step (or unfinished partial result) of the requests that it ``accepts``, and may post
    `screens.messages.Ask` and `CursorMoved`. It must look right before the first step, while one is running, and
    after a step that failed, was cancelled or is partial. ``number`` is the key that leads to it; ``live`` is False
    where nobody can answer, in a replayed session; ``queue`` is that of the model's edits, and ``answers`` are those
    of all panes. A pane with an ``ASK_KEY`` is shown and asked by that key from everywhere; ``SIDE`` is the column it
    stands in where there is room for two; what is not ``ABOUT_PROMPT`` can be asked without one.

    What is on screen is what is asked: a request about a case is made of ``case_on_screen()``, which has a prompt that
    was typed and not asked about yet asked first. ``case`` is the one that was asked about last, and ``on_screen`` what
    stands in the prompt's fields now: what is drawn of another one is marked stale.
    """

    TITLE: ClassVar[str] = ""
    ASK_KEY: ClassVar[str] = ""
    SIDE: ClassVar[Literal["left", "right"]] = "right"
    ABOUT_PROMPT: ClassVar[bool] = True
    accepts: ClassVar[tuple[type[Request], ...]] = ()

    # Not reactive: a pane draws what they change itself, as painting all of it would cost 23 kB a key over SSH.
    cursor: var[Cursor | None] = var[Cursor | None](None)
    case: var[Case | None] = var[Case | None](None)
    model: var[ModelInfo | None] = var[ModelInfo | None](None)
    number: var[int | None] = var[int | None](None)
    live: var[bool] = var(True)
    queue: var[QueueState] = var(QueueState)
    running: var[Request | None] = var[Request | None](None)
    on_screen: var[Case | None] = var[Case | None](None)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - as in Textual
        super().__init__(id=id)
        # The main screen puts its own in place of these.
        self.answers = KeptSteps()
        self.case_on_screen: Callable[[], Case | None] = lambda: self.case

    @classmethod
    def what_asking_does(cls) -> str:
        """In a few words, beside its key."""
        return "Run it for this prompt" if cls.ABOUT_PROMPT else "Open its form"

    @property
    def edits(self) -> Edits:
        """The edits that the model has now."""
        return active_edits(self.queue)

    @property
    def to_come(self) -> str:
        """What was asked here and waits for the engine, and for what; nothing where a row or the picture says so."""
        return ""

    def on_mount(self) -> None:
        """Give the frame its title."""
        self.entitle(self.TITLE)

    def watch_number(self) -> None:
        """The frame names the key that leads to the pane, where there is one."""
        self.entitle(self.TITLE)

    def entitle(self, title: str) -> None:
        """Put a title into the frame, after the pane's number key, and draw that line only.

        Setting ``border_title`` paints the whole pane again: 40 kB at 200 × 50 for each token stepped over.
        """
        before, after = self._border_title, Content(f"{self.number} {title}" if self.number else title)
        self._border_title = after
        longer = max(after.cell_length, before.cell_length if before is not None else 0)
        self.refresh(Region(-1, -1, min(self.outer_size.width, longer + TITLE_FROM + 2), 1))

    def say_below(self, sentence: str) -> None:
        """Put a sentence into the frame's lower edge, and draw no more than that line up to its end."""
        before, after = self._border_subtitle, Content(sentence)
        if str(before or "") == sentence:
            return
        self._border_subtitle = after
        longer = max(after.cell_length, before.cell_length if before is not None else 0)
        width, height = self.outer_size
        self.refresh(Region(-1, height - 2, min(width, longer + TITLE_FROM + 2), 1))

    def focus_content(self) -> None:
        """Put the keyboard into the pane's main widget."""
        raise NotImplementedError

    def ask(self) -> None:
        """Post `screens.messages.Ask` about the case on screen and the cursor: the pane's ``ASK_KEY`` was pressed."""
        raise NotImplementedError

    def clear(self) -> None:
        """Forget every step that was shown: another place in a recorded session is about to be."""

    def hear(self, step: Step) -> None:
        """A step that is shown in other panes has ended; few have a use for it."""

    def takes(self, request: Request) -> bool:
        """Whether the steps of a request are shown here."""
        return isinstance(request, self.accepts)

    def slot(self, request: Request) -> Hashable:
        """What a step of this request takes the place of, for panes that show several steps side by side."""
        return request.kind

    def question(self, request: Request) -> Hashable:  # noqa: ARG002 - most panes have no picture to compare
        """What two requests have in common whose answers are compared, where edits differ; None for no question."""
        return None

    def waiting(self, request: Request) -> None:
        """A request that the pane accepts has been asked and waits for the engine (which may still be loading)."""

    def started(self, request: Request) -> None:
        """A request that the pane accepts has begun to run."""

    def show_progress(self, progress: Progressed) -> None:
        """A request that the pane accepts is under way; ``progress.partial`` may be drawn already."""

    def show_step(self, step: Step) -> None:
        """A request that the pane accepts has ended, or a recorded one is being looked at."""
        raise NotImplementedError
