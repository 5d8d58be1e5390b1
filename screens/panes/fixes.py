"""The pane of fixes: candidates side by side, of which one is applied."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from screens.keys import Key
from screens.messages import Ask, CaseChosen
from screens.panes.figure_pane import FigurePane
from workbench.editing.fix import FixResult
from workbench.editing.fix_candidates import FixCandidate
from workbench.editing.methods import FIX
from workbench.editing.operations import QueueRequest
from workbench.editing.queue import QueuedEdit
from workbench.methods.diagnose.diagnosis import DiagnoseResult
from workbench.protocol import Request, Result


class FixPane(FigurePane):
    """Shows the candidates of the last fix; the recommended one is chosen at first.

    ``m`` goes to the next candidate, enter applies it: a prompt is put into the prompt, an edit into the queue, and
    space switches that edit off and on again. What a diagnosis of the case found is asked with, and not again.
    """

    METHOD = FIX

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(Key.CHOOSE, "apply", "Apply", tooltip="Use this fix", id="fixes.apply"),
        Binding(Key.NEXT, "next", "Next fix", tooltip="The next candidate", id="fixes.next"),
        Binding(Key.SWITCH, "switch", "On/off", tooltip="Switch the edit of this fix", id="fixes.switch"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._place: int | None = None

    def known(self) -> dict[str, Any]:
        """What the last diagnosis of this case found."""
        diagnoses = (step.result for step in self.answers if isinstance(step.result, DiagnoseResult))
        return {"failure": next((each.failure for each in diagnoses if each.case == self.case), None)}

    def take(self, request: Request, result: Result, edits: tuple[str, ...]) -> None:
        """Keep it, and choose what is recommended."""
        super().take(request, result, edits)
        assert isinstance(result, FixResult), "it answers a fix"
        self._place = result.recommended

    def clear(self) -> None:
        """Begin empty again."""
        self._place = None
        super().clear()

    def legend(self) -> Content:
        """What enter would do."""
        if (chosen := self._candidate) is None:
            return Content("m chooses a fix" if self._candidates else "")
        if chosen.case is None and chosen.edit is None:
            return Content(f"{chosen.title} could not be made · m: the next")
        if chosen.case is not None:
            there = chosen.case == self.on_screen
            here = f"{chosen.title} is in the prompt" if there else f"enter: {chosen.title} into the prompt"
            return Content(f"{here} · m: the next")
        if chosen.edit is not None and chosen.edit.id in self.edits:
            return Content(f"{chosen.title} is on · space: off · m: the next · b: before/after")
        return Content(f"enter: {chosen.title} into the queue of edits · m: the next · b: before/after")

    @property
    def out_of_date(self) -> bool:
        """Whether other edits than its own are on than when it was made."""
        own = {each.edit.id for each in self._candidates if each.edit is not None}
        return super().out_of_date and not own.issuperset({*self.edits} ^ {*self.drawn_edits})

    @property
    def of_another_case(self) -> bool:
        """Whether the prompt is another one, and none that it proposes."""
        return super().of_another_case and all(each.case != self.on_screen for each in self._candidates)

    def action_next(self) -> None:
        """Choose the next candidate."""
        if self._candidates:
            self._place = 0 if self._place is None else (self._place + 1) % len(self._candidates)
            self.draw_frame()

    def action_apply(self) -> None:
        """Use the chosen candidate."""
        chosen = self._candidate
        if chosen is None or not self.live:
            return
        if chosen.case is not None:
            self.post_message(CaseChosen(chosen.case))
        elif chosen.edit is None:
            self.notify(f"{chosen.title} could not be made: {chosen.why}", markup=False)
        elif any(entry.info.id == chosen.edit.id for entry in self.queue.entries):
            self.post_message(Ask(QueueRequest(action="on", edit=chosen.edit.id)))
        else:
            entries = (*self.queue.entries, QueuedEdit(info=chosen.edit, on=True))
            self.post_message(Ask(QueueRequest(action="restore", entries=entries)))

    def action_switch(self) -> None:
        """Switch the edit of the chosen candidate off, or on again."""
        chosen = self._candidate
        if chosen is None or chosen.edit is None:
            return
        entry = next((each for each in self.queue.entries if each.info.id == chosen.edit.id), None)
        if entry is None:
            self.action_apply()
        else:
            self.post_message(Ask(QueueRequest(action="off" if entry.on else "on", edit=chosen.edit.id)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing can be applied in a replay, or before there is something."""
        if action in ("apply", "switch"):
            return self.live and self._candidate is not None
        return bool(self._candidates) if action == "next" else super().check_action(action, parameters)

    @property
    def _candidates(self) -> tuple[FixCandidate, ...]:
        result = self._shown[1] if self._shown else None
        return result.candidates if isinstance(result, FixResult) else ()

    @property
    def _candidate(self) -> FixCandidate | None:
        return None if self._place is None or self._place >= len(self._candidates) else self._candidates[self._place]
