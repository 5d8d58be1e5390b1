"""A title and a note for the session and for a step of it, in one dialog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Label

from screens.dialog import Framed
from workbench.session import Session, Step


@dataclass(frozen=True)
class Noted:
    """Titles and notes as they were typed; of a step where there is one."""

    title: str
    note: str
    step: int | None = None
    step_title: str = ""
    step_note: str = ""


@dataclass
class Annotated(Message):
    """Somebody has written a title or a note. The app puts it into the session's file."""

    noted: Noted


class NotesScreen(Framed[Noted | None]):
    """Dismissed with what was typed, by enter in any of the fields, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", id="notes.back", tooltip="Leave them as they were"),
    ]

    HINT = "enter keeps, tab next field, escape leaves them"
    SHARE, WIDEST = 90, 100

    DEFAULT_CSS = """
    NotesScreen Input { border: none; height: 1; padding: 0; background: $boost; margin-bottom: 1; }
    """

    def __init__(self, session: Session, step: Step | None) -> None:
        super().__init__()
        self._session, self._step = session, step

    def compose_inside(self) -> ComposeResult:
        """A field for each."""
        yield Label("Title of the session")
        yield Input(self._session.title, id="title")
        yield Label("Note on the session")
        yield Input(self._session.note, id="note")
        if self._step is not None:
            yield Label(f"Title of step {self._step.id} ({self._step.request.kind})")
            yield Input(self._step.title, id="step-title")
            yield Label(f"Note on step {self._step.id}")
            yield Input(self._step.note, id="step-note")

    def on_mount(self) -> None:
        """Begin with the step, if there is one: that is what one has just seen."""
        self.entitle("Titles and notes")
        self.query_one("#step-note" if self._step is not None else "#note").focus()

    @on(Input.Submitted)
    def keep(self, message: Input.Submitted) -> None:
        """Enter."""
        message.stop()
        typed = {field.id: field.value.strip() for field in self.query(Input)}
        step = self._step.id if self._step is not None else None
        self.dismiss(
            Noted(typed["title"], typed["note"], step, typed.get("step-title", ""), typed.get("step-note", ""))
        )
