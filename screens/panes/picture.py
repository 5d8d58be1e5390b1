"""What panes that draw results have in common: frame, status, failure, staleness, trust strip, and the cursor."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from screens.answers import edits_in_words
from screens.echoes import Echoes
from screens.keys import Key
from screens.messages import Ask, Cursor, CursorMoved
from screens.panes.frame import PictureFrame
from screens.panes.pane import Pane
from screens.signs import Sign
from screens.waits import waiting_for
from screens.widgets.settings_fields import SettingsFields
from screens.widgets.status import time_left
from screens.widgets.trust_strip import TrustStrip
from workbench.case import Case
from workbench.errors import NotConfirmed
from workbench.events import Progressed
from workbench.protocol import Check, Request, Result
from workbench.session import Step, StepError

NOT_RECORDED = "Nothing of this was recorded up to this step."
"""What an empty pane says in a replay, where nothing can be asked."""


class PicturePane(Pane):
    """A pane says by `take` what to do with a result, and by the methods below it what to draw.

    Its own widgets, which `compose_picture` yields, stand between a legend and a `TrustStrip`. ``ASK_BY`` is what to
    press to ask again, where that is not the ``ASK_KEY``; a pane that ``ASKS_AGAIN`` is cheap, and asked anew by the
    main screen when the edits have changed. What its ``SIGNS`` mean is said by `in_words`.
    """

    ASK_BY: ClassVar[str] = ""
    ASKS_AGAIN: ClassVar[bool] = False
    SIGNS: ClassVar[tuple[Sign, ...]] = ()

    DEFAULT_CSS = """
    PicturePane {
        layout: vertical; border: round $border-blurred; padding: 0; background: $surface;
        border-title-color: $foreground; border-subtitle-color: $foreground 60%;
        & > #legend { display: none; height: auto; max-height: 3; padding: 0 1; color: $foreground 65%; }
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self.drawn_case: Case | None = None
        self.drawn_edits: tuple[str, ...] = ()
        self._failure = ""
        self._status = ""
        self._under_way = False
        self._kept = False  # the picture, when the last step of its kind found nothing
        self._refused: Request | None = None  # what waits for a yes
        self._frame = PictureFrame(self)
        self._echoes = Echoes()

    def compose(self) -> ComposeResult:
        """The legend, the picture, how far to believe it."""
        yield Static(id="legend")
        yield from self.compose_picture()
        yield TrustStrip()

    # For the panes

    def compose_picture(self) -> ComposeResult:
        """The pane's own widgets."""
        raise NotImplementedError

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw yet."""
        raise NotImplementedError

    def pictures(self, request: Request) -> bool:  # noqa: ARG002 - of most panes it is true of any
        """Whether the answer to a request becomes the picture."""
        return True

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep a result, finished or not, and draw it."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw the picture and the cursor in it."""
        raise NotImplementedError

    def draw_cursor(self) -> None:
        """Draw no more than what a moved cursor changes."""
        raise NotImplementedError

    def say_instead(self, sentence: str) -> None:
        """Say something where the picture will be; by nothing it is said what the pane is for."""
        raise NotImplementedError

    def headline(self) -> str:
        """The frame's title when there is a picture."""
        raise NotImplementedError

    def legend(self) -> Content:
        """What stands above the picture."""
        raise NotImplementedError

    def checks(self) -> tuple[Check, ...]:
        """What the trust strip says."""
        raise NotImplementedError

    def unfinished(self, result: Result) -> str:
        """How much of a cancelled run is there."""
        raise NotImplementedError

    def pictured(self) -> tuple[Request, ...]:
        """The requests whose answers are drawn, the one that is looked at first."""
        return ()

    def asked_of(self, case: Case) -> tuple[Request, ...]:
        """The request whose answer is looked at, about another case."""
        requests = (request for request in self.pictured()[:1] if "case" in type(request).model_fields)
        return tuple(request.about(case) for request in requests)

    def at_cursor(self, result: Result) -> str:  # noqa: ARG002 - a pane that pictures nothing compares nothing
        """What an answer to the pictured request that is looked at says at the cursor, in a few words."""
        return ""

    def failure(self, error: StepError) -> str:
        """A failed step in one sentence. What has to be confirmed can be, from here."""
        if not (needs_yes(error) and self.live):
            return error.message
        return f"{error.message}; press {Key.CONFIRM} to do it all the same"

    def how_far(self, progress: Progressed) -> str:
        """What is being done, and how much of it is done."""
        share = f" {progress.done / progress.total:.0%}" if progress.done and progress.total else ""
        return f"{progress.stage}{share}"

    @property
    def out_of_date(self) -> bool:
        """Whether the picture was drawn with other edits, and no newer one is on its way."""
        return not (self.empty or self._under_way) and self.drawn_edits != self.edits

    @property
    def of_another_case(self) -> bool:
        """Whether what is drawn, or said in its place, is of another case than the one on the screen."""
        return self.drawn_case is not None and self.on_screen not in (None, self.drawn_case)

    def question(self, request: Request) -> Hashable:
        """The request itself."""
        return request if self.pictures(request) else None

    @property
    def here(self) -> Cursor | None:
        """The shared cursor, or where the person has moved it here while the main screen has yet to follow."""
        return self._echoes.latest or self.cursor

    # What happened

    def on_mount(self) -> None:
        """Begin empty."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self.redraw())
        self._begin_empty()

    def clear(self) -> None:
        """Begin empty again."""
        self.drawn_case, self.drawn_edits = None, ()
        self._failure, self._status, self._under_way = "", "", False
        self._kept, self._refused = False, None
        self._begin_empty()

    def waiting(self, request: Request) -> None:
        """Say that it will run."""
        said = waiting_for(self.running)
        self._begin(request, said, said[0].upper() + said[1:])

    def started(self, request: Request) -> None:
        """Say that it runs; what was found before stays until there is something newer."""
        self._begin(request, "running …", "Running the model …")

    def show_progress(self, progress: Progressed) -> None:
        """Draw what there is already, and say how long the rest will take."""
        if not self.pictures(progress.request):
            return
        left = f" · {time_left(progress.remaining)} left" if progress.remaining is not None else ""
        self._under_way, self._failure = True, ""
        self._status = f"{self.how_far(progress)}{left}"
        if progress.partial is None:
            self.draw_frame()
        else:
            self._draw_new(progress.request, progress.partial, self.edits)

    def show_step(self, step: Step) -> None:
        """Draw a result; or keep the one before it, and say why there is no newer one."""
        self._under_way = False
        self._hear_refusal(step)
        self._failure = self.failure(step.error) if step.error else ""
        self._status = {"failed": "failed", "cancelled": "cancelled"}.get(step.status, "")
        if step.result is not None:
            self._status = self.unfinished(step.result) if step.status == "partial" else ""
            self._draw_new(step.request, step.result, step.edits)
        elif self.empty:
            cancelled = self._and_how_to_ask_again("Cancelled before anything was found")
            self.say_instead(cancelled if step.status == "cancelled" else self._failure)
            self.drawn_case = step.case
            self.draw_frame()
        else:
            self._kept = True
            self.draw_frame()

    def watch_cursor(self, cursor: Cursor | None) -> None:
        """The main screen moved the cursor. Echoes of moves that later keys have overtaken are not drawn."""
        if not self._echoes.overtaken(cursor) and cursor is not None and not self.empty:
            self.draw_cursor()
            self.draw_frame()

    def watch_on_screen(self) -> None:
        """Another prompt than the one drawn makes the picture stale."""
        self.draw_frame()
        if self._refused is not None:
            self.refresh_bindings()

    def watch_model(self) -> None:
        """The trust strip names it."""
        self.draw_frame()

    def watch_queue(self) -> None:
        """Other edits than those it was drawn with make the picture stale too."""
        self.draw_frame()

    def watch_number(self) -> None:
        """The title begins with the pane's key."""
        self.draw_frame()

    def watch_live(self) -> None:
        """A replay does not say how to ask."""
        if self.is_mounted and self.empty and not (self._status or self._failure):
            self._begin_empty()
        self.draw_frame()

    def move_cursor(self, cursor: Cursor) -> None:
        """The person moved in this picture, where it is drawn already: tell everybody."""
        self._echoes.expect(cursor)
        self.post_message(CursorMoved(cursor))

    def on_resize(self) -> None:
        """A high pane has room for all that the trust strip has to say; one that was hidden may say other things."""
        for fields in self.query(SettingsFields):
            fields.fit()
        self._frame.draw_legend(self._legend())
        self.query_one(TrustStrip).lines = max(1, self.size.height // 9)

    def redraw(self) -> None:
        """Draw everything."""
        if not self.empty:
            self.draw()
        self.draw_frame()

    def draw_frame(self) -> None:
        """Draw what stands around the picture, as far as it has changed."""
        if not (self.is_mounted and self.children):
            return
        self._frame.entitle(self.TITLE if self.empty else self.headline())
        self._frame.say_below(" · ".join(said for said in (self._status, self._staleness()) if said))
        self._frame.draw_legend(self._legend())
        checks = () if self.empty else self.checks()
        self.query_one(TrustStrip).show(None if self.empty else self.model, self.drawn_edits, checks)

    def in_words(self) -> tuple[str, Content, tuple[Content, ...], tuple[Sign, ...]]:
        """Title, legend and trust strip in full, and what may be drawn that explains itself not."""
        title = self.TITLE if self.empty else self.headline()
        return title, self._legend(), self.query_one(TrustStrip).pieces, self.SIGNS

    def _begin_empty(self) -> None:
        if self.children:
            self.say_instead("" if self.live else NOT_RECORDED)
        self.draw_frame()

    def _begin(self, request: Request, status: str, instead: str) -> None:
        if not self.pictures(request):
            return
        self._under_way, self._failure, self._status, self._kept = True, "", status, False
        self._frame.forget_lines()
        self._forget_refusal()
        if self.empty:
            self.drawn_case = getattr(request, "case", None)
            self.say_instead(instead)
        self.draw_frame()

    def _draw_new(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        self._kept = False
        self.take(request, result, edits)
        self.draw()
        self.draw_frame()

    def _legend(self) -> Content:
        if self.empty:
            return Content("")
        if self._failure:
            return Content.styled(f"✗ {self._failure}", "$text-error")
        lines = (self.legend(), self._compared())
        return Content("\n").join(line for line in lines if line.plain)

    def _compared(self) -> Content:
        """What is at the cursor with these edits, and with others where the same was asked then: fewer edits first.

        What is drawn stands out.
        """
        if not (requests := self.pictured()):
            return Content("")
        question = self.question(requests[0])
        now, other = self.answers.find(question, self.drawn_edits), self.answers.other(question, self.drawn_edits)
        if now is None or other is None:
            return Content("")
        said = [
            Content.styled(
                f"{edits_in_words(step.edits)}: {at_cursor}", "bold $foreground" if step is now else "$foreground"
            )
            for step in sorted((now, other), key=lambda step: len(step.edits))
            if step.result is not None and (at_cursor := self.at_cursor(step.result))
        ]
        return Content(" → ").join(said) if len(said) == 2 else Content("")

    def _staleness(self) -> str:
        """Why the picture is not what would be found now."""
        if self.of_another_case:
            return self._stale("the prompt has changed")
        if self._kept:
            return "stale: this is the result before"
        return self._stale("the edits have changed") if self.out_of_date else ""

    def _stale(self, because: str) -> str:
        """Also how to ask again, where there is room beside what else is said."""
        said = f"stale: {because}"
        return said if self._status else self._and_how_to_ask_again(said)

    def _and_how_to_ask_again(self, said: str) -> str:
        return f"{said}; press {self.ASK_BY or self.ASK_KEY} to ask again" if self.live else said

    # What is asked back about

    def _hear_refusal(self, step: Step) -> None:
        self._refused = step.request if step.error is not None and needs_yes(step.error) else None
        self.refresh_bindings()

    def _forget_refusal(self) -> None:
        if self._refused is not None:
            self._refused = None
            self.refresh_bindings()

    @property
    def can_confirm(self) -> bool:
        """Whether something waits for a yes, and is still about what is on the screen."""
        return self.live and self._refused is not None and not self._asked_of_another(self._refused)

    def _asked_of_another(self, request: Request) -> bool:
        case = getattr(request, "case", None)
        return case is not None and case != self.on_screen

    def action_confirm(self) -> None:
        """Do what was asked back about."""
        if self.can_confirm and self._refused is not None:
            self.post_message(Ask(self._refused.model_copy(update={"confirmed": True})))


def needs_yes(error: StepError) -> bool:
    """Whether a step was refused until it is confirmed."""
    return error.kind == NotConfirmed.__name__
