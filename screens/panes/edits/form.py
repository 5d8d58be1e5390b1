"""The lines that are typed into in the edits pane: the form of a new edit, and the path of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from screens.answers import Answers
from screens.widgets.closing_input import ClosingInput
from workbench.case import Case
from workbench.datasets.suites import read_suite
from workbench.editing.editors.rome.rome import RomeRequest, check_case
from workbench.errors import InputError
from workbench.methods.tracing.causal_trace import TraceRequest, TraceResult

FIELDS = (
    ("subject", "words of the prompt"),
    ("target", "wanted"),
    ("layer", "the default"),
    ("suite", "a file; else the shipped facts"),
)
HINT = "enter edits · escape closes · a layer of nothing: the one that is known for the model"
CHANGED = "the prompt has changed, and so has this form: look it over, then enter"


class EditForm(Vertical):
    """Subject, target, layer and suite of an edit, filled from the case and the trace's peak."""

    DEFAULT_CSS = """
    EditForm {
        height: auto; display: none; padding: 0 1; background: $surface;
        &.-open { display: block; }
        & Horizontal { height: 1; }
        & Label { color: $foreground 60%; width: 8; }
        & ClosingInput {
            width: 1fr; height: 1; border: none; padding: 0; margin: 0 1 0 0; background: $surface-lighten-2;
        }
        & ClosingInput:focus { background: $surface-lighten-3; }
        & #hint { height: auto; color: $foreground 60%; }
        & #hint.-problem { color: $text-error; }
    }
    """

    @dataclass
    class Submitted(Message):
        """The form is complete: this is what it asks. It was filled from the case that it is ``about``."""

        request: RomeRequest
        about: Case

    def __init__(self) -> None:
        super().__init__()
        self._case: Case | None = None
        self._suggested: int | None = None

    def compose(self) -> ComposeResult:
        """Two fields a row, and a line that says what to do or what is wrong."""
        for row in (FIELDS[:2], FIELDS[2:]):
            with Horizontal():
                for name, placeholder in row:
                    yield Label(name)
                    yield ClosingInput(placeholder=placeholder, compact=True, id=name)
        yield Static(HINT, id="hint", markup=False)

    def open(self, case: Case, suggested: int | None) -> None:
        """Show it; another case than last time fills it anew, and so does a layer that was not suggested yet.

        What was emptied is filled again, as it stands in the prompt.
        """
        before = self._case
        if before is None or _of_edit(before) != _of_edit(case):
            self._field("subject").value = case.subject or ""
            self._field("target").value = case.target or ""
            self._suggested, self._field("layer").value = None, ""
        for name in ("subject", "target"):
            self._field(name).value = self._field(name).value or getattr(case, name) or ""
        if suggested is not None and suggested != self._suggested:
            self._suggested, self._field("layer").value = suggested, str(suggested)
        self._case = case
        self.say("")
        self.add_class("-open")
        empty = [name for name, _ in FIELDS[:2] if not self._field(name).value]
        self._field(empty[0] if empty else "target").focus()

    def close(self) -> None:
        """Hide it; what was typed stays."""
        self.remove_class("-open")

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Ask for the edit, or say what is wrong."""
        message.stop()
        try:
            request, about = self._request()
        except InputError as error:
            self.say(str(error))
        else:
            self.post_message(self.Submitted(request, about))

    def _request(self) -> tuple[RomeRequest, Case]:
        assert self._case is not None, "it is open"
        subject, target, layer, suite = (self._field(name).value for name, _ in FIELDS)
        case = self._case.model_copy(update={"subject": subject, "target": target})
        check_case(case)
        if layer.strip() and not layer.strip().isdecimal():
            raise InputError(f"“{layer}” is no layer: type a whole number from 0 on, or nothing for the default.")
        request = RomeRequest(
            case=case,
            layer=int(layer) if layer.strip() else None,
            suite=read_suite(Path(suite.strip()).expanduser()) if suite.strip() else None,
        )
        return request, self._case

    def _field(self, name: str) -> ClosingInput:
        return self.query_one(f"#{name}", ClosingInput)

    def say(self, problem: str) -> None:
        """What is wrong, or by nothing what to do."""
        hint = self.query_one("#hint", Static)
        hint.update(f"✗ {problem}" if problem else HINT)
        hint.set_class(bool(problem), "-problem")


def traced_layer(answers: Answers, case: Case) -> int | None:
    """Where a trace of this prompt and subject peaks among the subject's tokens, in MLPs if those were traced.

    Elsewhere than at the subject a peak says nothing about where to edit.
    """
    for step in answers:
        request, result = step.request, step.result
        if not (isinstance(request, TraceRequest) and isinstance(result, TraceResult)):
            continue
        if (request.case.prompt, request.case.subject) != (case.prompt, case.subject) or not result.encoded.subject:
            continue
        grid = next((grid for grid in result.grids if grid.kind == "mlp"), result.grids[0])
        if peak := grid.peak_among(range(*result.encoded.subject)):
            return peak.layer
    return None


def _of_edit(case: Case) -> tuple[str, str | None, str | None]:
    return case.prompt, case.subject, case.target
