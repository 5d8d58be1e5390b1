"""Which pane shows what: requests and steps on their way to the panes that accept them, and what is shown there."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from screens.answers import Edits, KeptSteps
from screens.panes.pane import Pane
from screens.panes.picture import PicturePane
from workbench.events import Progressed, Started
from workbench.protocol import Request
from workbench.session import Step


class Showing:
    """Tells panes of what has to do with their requests. It knows no method: panes say which requests they accept."""

    def __init__(self, prompt: Pane, others: Sequence[Pane]) -> None:
        self._others, self._panes = tuple(others), (prompt, *others)
        self.answers = KeptSteps()
        self._latest: dict[Pane, Step] = {}
        self._begun: dict[tuple[Pane, Hashable], int] = {}  # the last job of those that take each other's place
        for pane in self._panes:
            pane.answers = self.answers

    def accepting(self, request: Request) -> list[Pane]:
        """The panes that accept a request."""
        return [pane for pane in self._panes if pane.takes(request)]

    def home_of(self, request: Request) -> Pane | None:
        """The pane a request belongs to, though others may accept it too."""
        return next((pane for pane in self._others if pane.takes(request)), None)

    def slot(self, request: Request) -> Hashable:
        """What a step of this request takes the place of: a step with the same slot is not seen any more."""
        return request.kind, *(pane.slot(request) for pane in self.accepting(request))

    def latest(self, pane: Pane) -> Step | None:
        """The last step with a result that a pane was shown."""
        return self._latest.get(pane)

    def hear(self, event: Started | Progressed) -> None:
        """A request has begun to run, or is under way."""
        for pane in self.accepting(event.request):
            if isinstance(event, Started):
                self._begun[pane, pane.slot(event.request)] = event.job
                pane.started(event.request)
            elif not self._overtaken(pane, event.request, event.job):
                pane.show_progress(event)

    def show(self, step: Step, job: int | None = None) -> None:
        """Show a step in the panes that accept it, and remember what it answers. One of a session is of no ``job``."""
        for pane in self._panes:
            if not pane.takes(step.request):
                pane.hear(step)
                continue
            if step.result is not None and (question := pane.question(step.request)):
                self.answers.keep(question, step)
            if job is not None and self._overtaken(pane, step.request, job):
                continue
            pane.show_step(step)
            if step.result is not None:
                self._latest[pane] = step

    def catch_up(self, edits: Edits) -> list[Request]:
        """The edits have changed: show what was found with these before. Returns what is cheap to ask again instead."""
        wanted = []
        for pane in self._others:
            if not isinstance(pane, PicturePane) or not pane.out_of_date or pane.of_another_case:
                continue
            requests = pane.pictured()
            known = [self.answers.find(pane.question(request), edits) for request in requests]
            if known and known[0] is not None:
                for step in reversed([step for step in known if step is not None]):
                    pane.show_step(step)
            elif requests and pane.ASKS_AGAIN:
                wanted.append(requests[0])
        return wanted

    def stale(self) -> list[PicturePane]:
        """The panes that draw something of another case, or with other edits."""
        pictures = (pane for pane in self._others if isinstance(pane, PicturePane) and not pane.empty)
        return [pane for pane in pictures if pane.of_another_case or pane.out_of_date]

    def clear(self) -> None:
        """Forget all steps, here and in the panes."""
        self.answers.clear()
        self._latest.clear()
        for pane in self._panes:
            pane.clear()

    def _overtaken(self, pane: Pane, request: Request, job: int) -> bool:
        """Whether a job that went first has answered the same kind of question already: one of these is seen."""
        return self._begun.get((pane, pane.slot(request)), job) > job
