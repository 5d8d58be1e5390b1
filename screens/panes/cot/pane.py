"""The reasoning pane: what the model reasons, the answer if it had stopped at each sentence, and what else was done."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList, Static

from screens import signs
from screens.keys import Key
from screens.messages import Ask, CaseChosen, FollowUp
from screens.more import MoreScreen, following
from screens.panes.cot import views
from screens.panes.cot.detail import CotDetail
from screens.panes.cot.ledger import CotLedger, CotRun, base_of, parts, slot_of
from screens.panes.cot.reasoned import ReasoningView
from screens.panes.cot.resampled import disagreement
from screens.panes.cot.views import OutcomeRow
from screens.panes.cot.widgets import CHANGED, CotForm, CotLine, LinePurpose
from screens.panes.picture import PicturePane
from screens.widgets.closing_input import ClosingInput
from workbench.case import Case
from workbench.events import Progressed
from workbench.methods.cot.interventions import Filler, Intervention, LeaveOneOut
from workbench.methods.cot.resample_result import ResampleRequest, ResampleResult
from workbench.methods.cot.result import CotResult
from workbench.methods.cot.truncation import CotRequest
from workbench.protocol import Check, Method, Request, Result
from workbench.session import Step

EMPTY = """No reasoning yet.
Press r to let the model reason about the prompt and then answer.
The prompt is the question, asked through the chat template.
Then j and k go through the sentences: what would the answer be, had the model stopped there?"""

NEEDS_RUN = ("remove", "line", "filler", "inside", "more")
NEEDS_MODEL = ("new", *NEEDS_RUN)


def is_writing(progress: Progressed) -> bool:
    """Whether the model is at its words, and not at the answers after them."""
    return progress.stage.startswith("reasoning")


class CotPane(PicturePane):
    """Shows one reasoning, and every intervention in it side by side. What is asked later is about the same text."""

    TITLE = "Reasoning"
    SIGNS = signs.REASONING
    ASK_KEY = Key.REASONING
    SIDE = "right"
    accepts: ClassVar[tuple[type[Request], ...]] = (CotRequest,)

    DEFAULT_CSS = """
    CotPane > #instead { height: auto; padding: 0 1; color: $foreground 55%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.REMOVE, "remove", "Leave out", tooltip="Each sentence up to here, in its turn", id="cot.drop"),
        Binding(Key.MISTAKE, "line('mistake')", "Mistake", tooltip="Put one into this sentence", id="cot.mistake"),
        Binding(Key.INSIDE, "inside", "Inside", tooltip="The lens where the answer is read", id="cot.lens"),
        Binding(Key.REWORD, "line('paraphrase')", "Reword", tooltip="This sentence in other words", id="cot.reword"),
        Binding(Key.FILLER, "filler", "Filler", tooltip="Dots in place of the reasoning", id="cot.filler"),
        Binding(Key.HINT, "line('cue')", "Hint", tooltip="Ask again with a suggested answer", id="cot.cue"),
        Binding(Key.MORE, "more", "More", tooltip="Questions that go on from this reasoning", id="cot.more"),
        Binding(Key.NEW, "new", "New", tooltip="Choices, sampling; reason anew", show=False, id="cot.new"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._ledger = CotLedger()
        self._said = ""  # of the intervention that ended last
        self._weights: str | None = None
        self._detail: CotDetail | None = None

    def compose_picture(self) -> ComposeResult:
        """The form, the sentences beside the answers, the line to type into."""
        yield Static(id="instead", markup=False)
        yield CotForm()
        yield ReasoningView()
        yield CotLine()

    def focus_content(self) -> None:
        """Put the keyboard into the sentences."""
        self._reasoned.focus_list()

    # Asking

    def _question(self, case: Case | None) -> str:
        """The prompt; of one on which a lens was opened here, the question that it came from."""
        return self._ledger.question_in(case.prompt) if case is not None else ""

    def ask(self) -> None:
        """Ask again as it was asked before, where that is not answered with these edits; else open the form."""
        last = self._ledger.last_about(self._question(self.case_on_screen()))
        if last is None or self._ledger.known(last.request, self.edits):
            self.action_new()
            return
        request = last.request
        if last.edits == self.edits and last.result.sentences:  # cancelled after the reasoning, which is there
            request = request.model_copy(update={"reasoning": last.result.recorded})
        self._post(request)

    def action_new(self, problem: str = "") -> None:
        """Open the form for the question on screen."""
        question = self._question(self.case_on_screen())
        if not question:
            self.notify("Type a question into the prompt first.")
            return
        self.query_one(CotLine).close()
        last = self._ledger.last_about(question)
        self.query_one(CotForm).open(question, last.request if last else None, problem)
        self.draw()

    @on(CotForm.Submitted)
    def reason(self, message: CotForm.Submitted) -> None:
        """Let the model reason, or show what it reasoned when the same was asked before.

        If the question that the form was opened for is still the one on the screen.
        """
        message.stop()
        if message.request.question != self._question(self.case_on_screen()):
            self.action_new(CHANGED)
            return
        self._close_lines()
        known = self._ledger.known(message.request, self.edits)
        if known is None:
            self._post(message.request)
        else:
            self._ledger.at, self.drawn_edits = known, known.edits
            self.redraw()

    def action_remove(self) -> None:
        """Leave out each of the sentences up to the highlighted one."""
        if (place := self._place()) is not None and self._run is not None:
            self._do(LeaveOneOut(within=None if place == len(self._run.result.sentences) else place))

    def action_filler(self) -> None:
        """Put filler in the place of the reasoning."""
        self._do(Filler())

    def action_line(self, purpose: LinePurpose) -> None:
        """Open the line for a mistake, other words or a cue."""
        run = self._run_to_change()
        if run is None:
            return
        self.query_one(CotForm).close()
        if purpose == "cue":
            listed = run.request.read == "letters"
            self.query_one(CotLine).open(purpose, 0, views.suggestion(run), run.request.question, listed)
        elif (place := self._place()) is not None:
            own = " ".join(run.result.sentences[place - 1].split())
            self.query_one(CotLine).open(purpose, place - 1, own, run.result.reasoning)

    @on(CotLine.Submitted)
    def intervene(self, message: CotLine.Submitted) -> None:
        """Do what was typed."""
        message.stop()
        self._close_lines()
        self._do(message.intervention)

    @on(ClosingInput.Closed)
    def _close_lines(self) -> None:
        self.query_one(CotForm).close()
        self.query_one(CotLine).close()
        self.draw()
        self.focus_content()

    def action_inside(self) -> None:
        """Look through the lens at the text that the answer here was read after, at this answer and the full one."""
        row = self._row
        if row is None or row.result is None or row.outcome is None:
            self.notify("The answer here is not known yet, so there is nothing to compare in the lens.")
        else:
            self.post_message(CaseChosen(row.result.case(row.outcome)))

    def action_more(self) -> None:
        """Offer what goes on from this reasoning, and open the form of what is chosen."""
        run = self._run_to_change()
        if run is None:
            return

        def follow(method: Method | None) -> None:
            if method is not None:
                self.post_message(FollowUp(method.request, method.begins(run.request, run.result)))

        self.app.push_screen(MoreScreen("What more can be asked of this reasoning", following(CotRequest)), follow)

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Where nobody answers or nothing was reasoned, nothing is done to it."""
        if action in NEEDS_MODEL and not self.live:
            return False
        return self._run is not None and bool(self._run.result.sentences) if action in NEEDS_RUN else True

    def _place(self) -> int | None:
        """How many sentences there are up to the highlighted one."""
        if self._row is not None and self._row.place:
            return self._row.place
        self.notify("Move to a sentence first, with j or k.")
        return None

    def _run_to_change(self) -> CotRun | None:
        run = self._run
        if run is None or run.result.full is None:
            self.notify("The answer is not known yet: wait for it, or press r to ask again.")
        elif self._of_another_question:
            self.notify("The prompt has changed since: press r to let the model reason about it.")
        elif self.drawn_edits != self.edits:
            self.notify("The edits have changed since: press r to let the model reason with these.")
        else:
            return run
        return None

    def _do(self, intervention: Intervention) -> None:
        """Ask for an intervention, or go to what came of it before."""
        run = self._run_to_change()
        if run is None:
            return
        if (done := run.found(intervention)) is not None:
            there = next(row.id for row in self._reasoned.rows if row.outcome is done.outcomes[0])
            self._reasoned.show(run, self._ledger.jobs, there)
            self._said = views.came_of(done)
            self.draw_frame()
        else:
            self._post(run.about(intervention))

    def _post(self, request: CotRequest) -> None:
        if not self._ledger.waits(request):
            self.post_message(Ask(request))

    # What happened

    @property
    def empty(self) -> bool:
        """Whether nothing was reasoned yet."""
        return self._ledger.at is None

    def clear(self) -> None:
        """Begin empty again."""
        self._ledger, self._said = CotLedger(), ""
        super().clear()
        self.draw()

    def slot(self, request: Request) -> Hashable:
        """Reasonings stand side by side, and so do interventions, by kind and sentence."""
        assert isinstance(request, CotRequest)
        return base_of(request), tuple(map(slot_of, request.interventions))

    def question(self, request: Request) -> Hashable:
        """With other edits it is another reasoning that the same is done to."""
        assert isinstance(request, CotRequest)
        return request.model_copy(update={"reasoning": None})

    def pictured(self) -> tuple[Request, ...]:
        """What the model reasoned first; the rest goes with it."""
        return (self._run.request,) if self._run is not None else ()

    def at_cursor(self, result: Result) -> str:
        """The answer with all of the reasoning."""
        assert isinstance(result, CotResult)
        return views.answered(result)

    def waiting(self, request: Request) -> None:
        """An intervention stands in the list until it is done."""
        assert isinstance(request, CotRequest)
        self._ledger.asked(request)
        self._said = ""
        super().waiting(request)
        self.draw()

    def show_progress(self, progress: Progressed) -> None:
        """Draw what there is already, the model's words as they come."""
        assert isinstance(progress.request, CotRequest)
        if isinstance(progress.partial, CotResult):
            self._ledger.under_way(progress.request, progress.partial.writing)
        super().show_progress(replace(progress, remaining=None) if is_writing(progress) else progress)

    def how_far(self, progress: Progressed) -> str:
        """Nobody knows how long a reasoning will be: tokens are counted, and the most there can be."""
        if is_writing(progress):
            return f"{progress.stage}, {progress.done} of at most {progress.total} tokens"
        return super().how_far(progress)

    def show_step(self, step: Step) -> None:
        """Take the result. An intervention that failed leaves the reasoning as it is."""
        assert isinstance(step.request, CotRequest)
        self._ledger.ended(step.request)
        super().show_step(step)
        run = self._run
        if isinstance(step.result, CotResult) and run is not None and step.request != run.request:
            self._said = " · ".join(views.came_of(done) for done in parts(step.request, step.result))
        if step.result is None and run is not None and base_of(step.request) == base_of(run.request):
            self._status, self._kept = step.status, False
        self.draw()
        self.draw_frame()

    def hear(self, step: Step) -> None:
        """Resampling, of whose result the pane says where leaving one out disagrees with it."""
        if isinstance(step.request, ResampleRequest) and isinstance(step.result, ResampleResult):
            self._ledger.resample(step.request, step.result, step.edits)
            self.redraw()

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep a result beside what else was done to the same reasoning."""
        assert isinstance(request, CotRequest)
        assert isinstance(result, CotResult)
        before = self._run
        self._ledger.take(request, result, edits)
        self.drawn_edits = edits
        if self._run is not before:
            self._said = ""

    def unfinished(self, result: Result) -> str:
        """What there is stays."""
        assert isinstance(result, CotResult)
        return "partial" if result.sentences else "partial: the reasoning was cut short"

    def watch_model(self) -> None:
        """Other weights have not reasoned yet."""
        weights = self.model.fingerprint if self.model is not None else None
        if self._weights is not None and weights not in (None, self._weights):
            self.clear()
        self._weights = weights or self._weights
        super().watch_model()

    # Drawing

    @property
    def _reasoned(self) -> ReasoningView:
        return self.query_one(ReasoningView)

    @property
    def _run(self) -> CotRun | None:
        return self._ledger.at

    @property
    def _row(self) -> OutcomeRow | None:
        """The row that is highlighted."""
        return self._reasoned.row

    def draw(self) -> None:
        """Draw the sentences, or the tokens while they are written, and the answers at the highlighted row."""
        if not self.is_mounted:
            return
        self._reasoned.show(self._run, self._ledger.jobs)
        self.query_one("#instead").display = self.empty and not self.query_one(CotForm).is_open
        self.refresh_bindings()

    def draw_cursor(self) -> None:
        """Sentences have no place among layers and tokens."""

    def say_instead(self, sentence: str) -> None:
        """Say something where the sentences will be."""
        self.query_one("#instead", Static).update(sentence or EMPTY)
        self.query_one("#instead").display = not self.query_one(CotForm).is_open

    def headline(self) -> str:
        """The answer, and how far it depends on the reasoning."""
        return views.headline(self._run) if self._run is not None else self.TITLE

    def legend(self) -> Content:
        """What was done last, and what all of it is about."""
        disagrees = disagreement(self._run) if self._run is not None else ""
        lines = [Content.styled(self._said, "bold $foreground")] if self._said else []
        lines += [Content.styled(disagrees, "$text-warning")] if disagrees else []
        return Content("\n").join([*lines, Content(views.CAPTION)])

    def checks(self) -> tuple[Check, ...]:
        """Those of the reasoning, and of what is highlighted."""
        own = self._row.result.checks if self._row is not None and self._row.result is not None else ()
        first = self._run.checks if self._run is not None else {}
        return tuple((first | {check.name: check for check in own}).values())

    @property
    def of_another_case(self) -> bool:
        """Whether the prompt asks another question. A lens that was opened here asks the same."""
        return self._of_another_question if self._run is not None else super().of_another_case

    @property
    def _of_another_question(self) -> bool:
        asked = self._run.request.question if self._run is not None else None
        return asked is not None and self.on_screen is not None and self._question(self.on_screen) != asked

    # The row that is highlighted, and its details

    @on(OptionList.OptionHighlighted)
    def choose(self, message: OptionList.OptionHighlighted) -> None:
        """Another sentence is highlighted."""
        message.stop()
        if self._detail is not None and self._detail.is_mounted and self._row is not None and self._run is not None:
            self._detail.show(self._row, self._run)
        self.draw_frame()

    @on(OptionList.OptionSelected)
    def open_detail(self, message: OptionList.OptionSelected) -> None:
        """Show everything about it."""
        message.stop()
        if self._row is not None and self._run is not None:
            self._detail = CotDetail(self._row, self._run, self._reasoned.step)
            self.app.push_screen(self._detail, lambda _: self._close_detail())

    def _close_detail(self) -> None:
        self._detail = None
