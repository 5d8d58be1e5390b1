"""The pane of sweeps over the records of a file: what they have come to, one beside another, and a form for asking."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content

from screens import signs
from screens.keys import Key
from screens.messages import Ask
from screens.panes.picture import PicturePane
from screens.panes.sweeps.form import SweepForm
from screens.widgets.closing_input import ClosingInput
from screens.widgets.figure import FigureView
from workbench.editing.editors import editor
from workbench.editing.figures import facts_standing
from workbench.editing.records import FactsEditRequest, FactsEditResult
from workbench.editing.standings import standings_figures
from workbench.events import Progressed
from workbench.figures import Figure
from workbench.protocol import Check, Request, Result
from workbench.registry import method
from workbench.session import Step
from workbench.shards import RecordsSweep
from workbench.sweeping.asked import sweeps
from workbench.sweeping.beside import STAGE
from workbench.wording import count

COMPARED = "compared"


class SweepPane(PicturePane):
    """Shows one sweep at a time, finished or as far as it has come; ``m`` goes to the next.

    Those of several editors over the same records are one more, in which they stand side by side. ``_found`` are the
    last of each method and editor, and ``_seen`` is which of them is looked at.
    """

    TITLE = "Records"
    ASK_KEY = Key.RECORDS
    ASK_BY = "#"
    ABOUT_PROMPT = False
    SIGNS = signs.FIGURES
    accepts = tuple(each.request for each in sweeps().values())

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.NEXT, "next", "Next sweep", tooltip="The next sweep; all editors", id="sweeps.next"),
        Binding(Key.CONFIRM, "confirm", "Do it", tooltip="Though it takes long", id="sweeps.confirm"),
        Binding(Key.NEW, "new", "Settings", tooltip="The form of another sweep", show=False, id="sweeps.new"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[Hashable, tuple[Request, Result]] = {}
        self._seen: Hashable = None
        self._ended: dict[Hashable, str] = {}  # how, where it was not well
        self._workers: dict[Hashable, int] = {}  # that were asked

    def compose_picture(self) -> ComposeResult:
        """The form and the figures."""
        yield SweepForm()
        yield FigureView()

    def focus_content(self) -> None:
        """Put the keyboard into the first figure with a cursor."""
        self.query_one(FigureView).focus_figure()

    # Asking

    def ask(self) -> None:
        """Open the form."""
        self.query_one(SweepForm).open()

    def action_new(self) -> None:
        """Open the form."""
        self.ask()

    @on(SweepForm.Submitted)
    def ask_typed(self, message: SweepForm.Submitted) -> None:
        """Ask, unless workers would look at another model than the one here."""
        message.stop()
        if message.workers and self.edits and not isinstance(message.requests[0], FactsEditRequest):
            on = f"{count(len(self.edits), 'edit')} {'is' if len(self.edits) == 1 else 'are'} on"
            self.query_one(SweepForm).say(
                f"{on}, and workers have the model without; {Key.COMPARE} takes all off, or set workers to 0"
            )
            return
        self._leave_form()
        for request in message.requests:
            self._workers[self.slot(request)] = message.workers
            self.post_message(Ask(request, workers=message.workers))

    @on(ClosingInput.Closed)
    def leave(self, message: ClosingInput.Closed) -> None:
        """Close the form; what was typed stays."""
        message.stop()
        self._leave_form()

    def _leave_form(self) -> None:
        self.query_one(SweepForm).close()
        self.focus_content()

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """There must be another one, something to confirm, or somebody who answers."""
        if action == "next":
            return len(self._places) > 1
        if action == "confirm":
            return self.can_confirm
        return action != "new" or self.live

    def action_next(self) -> None:
        """Look at the next sweep, or at all editors."""
        places = self._places
        at = places.index(self._seen) if self._seen in places else -1
        self._look_at(places[(at + 1) % len(places)])

    # What happened

    @property
    def empty(self) -> bool:
        """Whether nothing was found yet."""
        return not self._found

    def clear(self) -> None:
        """Begin empty again."""
        self._found, self._ended, self._seen = {}, {}, None
        super().clear()

    def slot(self, request: Request) -> Hashable:
        """A sweep takes the place of one by the same method and editor."""
        return request.kind, request.editor if isinstance(request, FactsEditRequest) else ""

    def question(self, request: Request) -> Hashable:  # noqa: ARG002 - thousands of records are no key to look up by
        """None."""
        return None

    def started(self, request: Request) -> None:
        """What runs is looked at as soon as there is something to see."""
        if self.slot(request) in self._found:
            self._seen = self.slot(request)
        super().started(request)

    def show_progress(self, progress: Progressed) -> None:
        """Draw what there is, once it is more than what is drawn."""
        known = self._found.get(self.slot(progress.request))
        if progress.partial is not None and known is not None and known[1] is progress.partial:
            progress = replace(progress, partial=None)
        super().show_progress(progress)
        if self.empty:
            self.say_instead(self._first(progress.request, self.how_far(progress)))

    def _begin(self, request: Request, status: str, instead: str) -> None:
        """Workers wait for nobody, but have to be there first."""
        if workers := self._workers.get(self.slot(request)):
            status = instead = f"starting {count(workers, 'worker')} …"
        super()._begin(request, status, self._first(request, instead))

    def _first(self, request: Request, said: str) -> str:
        """What is said until there is something to see."""
        assert isinstance(request, RecordsSweep)
        others = "go on" if self._workers.get(self.slot(request)) else "wait"
        ends = f"Other questions {others} meanwhile; esc stops it, what is done is kept."
        return f"{_name(request)} · {count(len(request.every), 'record')}\n{said}\n{ends}"

    def show_step(self, step: Step) -> None:
        """Look at what has ended; after the last of several editors, at all of them."""
        if step.result is not None:
            self._seen = self.slot(step.request)
        super().show_step(step)
        self._ended[self.slot(step.request)] = self._status
        if step.status == "done" and self._seen_with() and COMPARED in self._places:
            self._look_at(COMPARED)

    def how_far(self, progress: Progressed) -> str:
        """How many records, where workers answer; and of which sweep, where that is not the one that is seen."""
        counted = f"{progress.done} of {progress.total} {progress.stage}"
        far = counted if progress.stage == STAGE else super().how_far(progress)
        return far if self._seen in (None, self.slot(progress.request)) else f"{_name(progress.request)}: {far}"

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep it in place of the one before. Records are edited without the edits that are on."""
        slot = self.slot(request)
        if self._found.get(slot, (request,))[0] != request or self._seen is None:
            self._seen = slot
        self._found[slot] = request, result
        self.drawn_edits = () if isinstance(request, FactsEditRequest) else edits
        self.refresh_bindings()

    def unfinished(self, result: Result) -> str:  # noqa: ARG002 - how much of it there is, is in the title
        """What there is, and how it goes on."""
        return f"stopped; what is done is kept, {self.ASK_BY} goes on" if self.live else "partial"

    @property
    def out_of_date(self) -> bool:
        """Never of edits of records."""
        return super().out_of_date and not (self._shown and isinstance(self._shown[0], FactsEditRequest))

    # Drawing

    @property
    def _places(self) -> list[Hashable]:
        """What there is to look at."""
        return [*self._found, *([COMPARED] if len(self._edited()) > 1 else [])]

    @property
    def _shown(self) -> tuple[Request, Result] | None:
        """The sweep that is looked at; among all editors, the last one."""
        if not self._found:
            return None
        return self._found.get(self._seen) or next(reversed(self._found.values()))

    def _edited(self) -> list[tuple[FactsEditRequest, FactsEditResult]]:
        """The sweeps of editors over the records of the last one."""
        edited = [
            (request, result)
            for request, result in self._found.values()
            if isinstance(request, FactsEditRequest) and isinstance(result, FactsEditResult)
        ]
        return [each for each in edited if each[0].records == edited[-1][0].records]

    def _seen_with(self) -> bool:
        """Whether what is looked at is one of several editors'."""
        return any(self.slot(request) == self._seen for request, _ in self._edited())

    def _look_at(self, place: Hashable) -> None:
        self._seen = place
        if not self._under_way:
            self._status = self._ended.get(place, "")
        self.draw()
        self.draw_frame()

    def draw(self) -> None:
        """Draw the figures."""
        self.query_one(FigureView).show(self._figures())

    def _figures(self) -> tuple[Figure, ...]:
        if self._seen == COMPARED:
            rows = [facts_standing(editor(request.editor).title, result) for request, result in self._edited()]
            return standings_figures("Editors compared", rows)
        return method(self._shown[0].kind).figures(self._shown[1]) if self._shown else ()

    def draw_cursor(self) -> None:
        """Records have no place among layers and tokens."""

    def say_instead(self, sentence: str) -> None:
        """Say something where the figures will be."""
        ask = f"Press {self.ASK_BY} to edit, trace or ask all records of a file.\nOther questions go on meanwhile."
        self.query_one(FigureView).show_placeholder(sentence or f"Nothing yet.\n{ask}")

    def headline(self) -> str:
        """Which sweep, and over how many records."""
        request, _ = self._shown or (None, None)
        assert isinstance(request, RecordsSweep)
        by = f" by {count(len(self._edited()), 'editor')}"
        name = method(request.kind).title + by if self._seen == COMPARED else _name(request)
        return f"{name} · {len(request.every)}"

    def legend(self) -> Content:
        """What can be done here."""
        said = ["esc stops it, what is done is kept"] if self._under_way else []
        if len(self._places) > 1:
            said.append(f"m: the next of {len(self._places)}")
        return Content(" · ".join(said))

    def checks(self) -> tuple[Check, ...]:
        """The method's own."""
        return self._shown[1].checks if self._shown else ()


def _name(request: Request) -> str:
    """What a sweep is called."""
    by = f" by {editor(request.editor).title}" if isinstance(request, FactsEditRequest) else ""
    return f"{method(request.kind).title}{by}"
