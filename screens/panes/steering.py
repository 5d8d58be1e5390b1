"""The steering pane: strengths swept along a contrast set, and the edit of the best one put into the queue."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from screens.keys import Key
from screens.messages import Ask
from screens.panes.figure_pane import FigurePane
from workbench.datasets.contrasts import shipped_contrasts
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editor
from workbench.editing.editors.steering.steering import ContrastSettings
from workbench.editing.methods import STEER_SWEEP
from workbench.editing.steer_sweep import SteerSweepRequest, SteerSweepResult, SweptStrength
from workbench.protocol import Request
from workbench.registry import method


class SteeringPane(FigurePane):
    """Shows the last sweep, or the last edit that steers behaviour.

    ``m`` goes to the next shipped set, which is asked for by the pane's key; space steers by the best strength found.
    """

    METHOD = STEER_SWEEP
    HAS_FORM = False  # a set is chosen by m

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.NEXT, "next", "Next set", tooltip="The next contrast set", id="steering.next"),
        Binding(Key.SWITCH, "switch", "Steer", tooltip="Steer by the best strength: an edit", id="steering.switch"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._contrast = "formality"

    def ask(self) -> None:
        """Ask for a sweep of the chosen set, with the defaults for all else."""
        self.post_message(Ask(SteerSweepRequest(contrast=self._contrast)))

    def takes(self, request: Request) -> bool:
        """Sweeps, and edits of behaviour."""
        return super().takes(request) or (isinstance(request, EditRequest) and editor(request.editor).of == "behaviour")

    def draw(self) -> None:
        """Draw the figures of a sweep, or of an edit."""
        if self._shown is not None:
            request, result = self._shown
            self._view.show(method(request.kind).figures(result))
            self.draw_cursor()
            self.refresh_bindings()

    def say_instead(self, sentence: str) -> None:
        """What can be asked, where there is nothing yet."""
        nothing = f"Nothing yet.\nPress {self.ASK_KEY} to steer along {self._contrast}, m for another set."
        super().say_instead(sentence or nothing)

    def headline(self) -> str:
        """The set that will be asked for, too."""
        return f"{self.TITLE} · {self._contrast}"

    def action_next(self) -> None:
        """Choose the next set."""
        names = shipped_contrasts()
        self._contrast = names[(names.index(self._contrast) + 1) % len(names)]
        if self.empty and not self._under_way:
            self.say_instead("")
        self.draw_frame()

    def action_switch(self) -> None:
        """Put the edit of the best strength into the queue."""
        assert self._shown is not None
        request, best = self._shown[0], self._best
        assert isinstance(request, SteerSweepRequest)
        assert best is not None
        settings = ContrastSettings(
            contrast=request.contrast,
            digest=request.digest,
            by=request.by,
            layers=(best.layer,),
            strength=best.strength,
            tokens=request.tokens,
            seed=request.seed,
        )
        self.post_message(Ask(EditRequest(editor="contrast", settings=settings, test=False)))

    @property
    def _best(self) -> SweptStrength | None:
        """The best usable strength of the sweep on screen."""
        result = self._shown[1] if self._shown else None
        return result.best if isinstance(result, SteerSweepResult) else None

    def check_action(self, action: str, _parameters: tuple[object, ...]) -> bool | None:
        """Steering needs a strength that is usable, and a model."""
        if action not in ("next", "switch"):
            return super().check_action(action, _parameters)
        return self.live and (action != "switch" or self._best is not None)
