"""The form of a new edit: subject and target, the editor, its settings, and the suite."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Static

from screens.widgets.choice_field import ChoiceField
from screens.widgets.settings_fields import SettingsFields
from workbench.case import Case
from workbench.datasets.suites import read_suite
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editor, editors
from workbench.errors import InputError
from workbench.paths import written_path
from workbench.settings import filled

HINT = "enter edits · ↑ ↓ choose · esc closes · empty: the default"
CHANGED = "the prompt has changed, and so has this form: look it over, then enter"


class EditForm(Vertical):
    """Filled from the case and the trace's peak. The settings are those that the chosen editor declares."""

    DEFAULT_CSS = """
    EditForm {
        height: auto; display: none; padding: 0 1; background: $surface;
        &.-open { display: block; }
        & Horizontal { height: 1; }
        & Horizontal Label { color: $foreground 60%; width: 14; }
        & Horizontal ChoiceField {
            width: 1fr; height: 1; border: none; padding: 0; margin: 0 1 0 0; background: $surface-lighten-2;
        }
        & ChoiceField:focus { background: $surface-lighten-3; }
        & #hint { height: auto; color: $foreground 60%; }
        & #hint.-problem { color: $text-error; }
    }
    """

    @dataclass
    class Submitted(Message):
        """The form is complete: this is what it asks. It was filled from the case that it is ``about``."""

        request: EditRequest
        about: Case

    def __init__(self) -> None:
        super().__init__()
        self._case: Case | None = None
        self._suggested: int | None = None
        self._editors = {each.name: each for each in editors("fact")}

    def compose(self) -> ComposeResult:
        """What is edited, by what, and how; and a line that says what to do or what is wrong."""
        first = next(iter(self._editors))
        with Horizontal():
            yield Label("subject")
            yield ChoiceField((), placeholder="words of the prompt", name="subject")
            yield Label("target")
            yield ChoiceField((), placeholder="wanted", name="target")
        with Horizontal():
            yield Label("editor")
            yield ChoiceField(tuple(self._editors), first, name="editor")
            yield Label("suite")
            yield ChoiceField((), placeholder="of the shipped facts", name="suite")
        yield SettingsFields(each.settings for each in self._editors.values())
        yield Static(HINT, id="hint", markup=False)

    def on_mount(self) -> None:
        """Show the first editor's settings."""
        self._show_settings()

    def open(self, case: Case, suggested: int | None) -> None:
        """Show it; another case than last time fills it anew, and so does a layer that was not suggested yet.

        What was emptied is filled again, as it stands in the prompt.
        """
        before, layer = self._case, self.query_one(SettingsFields).field("layer")
        if before is None or _of_edit(before) != _of_edit(case):
            self._field("subject").value = case.subject or ""
            self._field("target").value = case.target or ""
            self._suggested, layer.value = None, ""
        for name in ("subject", "target"):
            self._field(name).value = self._field(name).value or getattr(case, name) or ""
        if suggested is not None and suggested != self._suggested:
            self._suggested, layer.value = suggested, str(suggested)
        self._case = case
        self.say("")
        self.add_class("-open")
        empty = [name for name in ("subject", "target") if not self._field(name).value]
        self._field(empty[0] if empty else "target").focus()

    def close(self) -> None:
        """Hide it; what was typed stays."""
        self.remove_class("-open")

    @on(Input.Changed, "#editor")
    def _show_settings(self) -> None:
        chosen = self._editors.get(self._field("editor").value.strip())
        if chosen is not None:
            self.query_one(SettingsFields).show(chosen.settings)

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

    def _request(self) -> tuple[EditRequest, Case]:
        assert self._case is not None, "it is open"
        name, suite = self._field("editor").value.strip(), self._field("suite").value.strip()
        if name not in self._editors:
            raise InputError(f"there is no editor {name!r}; choose one of {', '.join(self._editors)}")
        given = {each: value if (value := self._field(each).value).strip() else None for each in ("subject", "target")}
        case, chosen = self._case.model_copy(update=given), editor(name)
        settings = filled(chosen.settings, self.query_one(SettingsFields).typed())
        chosen.check((case,), settings)
        attached = read_suite(written_path(suite)) if suite else None
        return EditRequest(editor=name, case=case, settings=settings, suite=attached), self._case

    def _field(self, name: str) -> ChoiceField:
        return self.query_one(f"#{name}", ChoiceField)

    def say(self, problem: str) -> None:
        """What is wrong, or by nothing what to do."""
        hint = self.query_one("#hint", Static)
        hint.update(f"✗ {problem}" if problem else HINT)
        hint.set_class(bool(problem), "-problem")


def _of_edit(case: Case) -> tuple[str, str | None, str | None]:
    return case.prompt, case.subject, case.target
