"""The form of a new edit: subject and target, the editor, its settings, and the suite."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Static

from screens.widgets.choice_field import ChoiceField
from screens.widgets.editor_form import EditorForm
from screens.widgets.settings_fields import Hints, SettingsFields
from workbench.case import Case
from workbench.datasets.suites import read_records, read_suite
from workbench.editing.edit import EditRequest
from workbench.editing.editor import Editor
from workbench.editing.layers import known_layer
from workbench.models.info import ModelInfo
from workbench.paths import written_path
from workbench.settings import filled

CHANGED = "the prompt has changed, and so has this form: look it over, then enter"


class EditForm(EditorForm):
    """Filled from the case. The settings are those that the chosen editor declares.

    Which layer it changes unless told otherwise stands in the layer's field, and the trace's peak in the line below: as
    what is typed only where nobody has measured which layer of the model is the best to edit.
    """

    OF = "fact"
    HINT = "enter edits · ↑ ↓ choose · esc closes · empty: the default"

    @dataclass
    class Submitted(Message):
        """The form is complete: this is what it asks. It was filled from the case that it is ``about``."""

        request: EditRequest
        about: Case

    def __init__(self) -> None:
        super().__init__()
        self._case: Case | None = None
        self._suggested: int | None = None
        self._model: ModelInfo | None = None

    def fields(self) -> ComposeResult:
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
        with Horizontal(id="together") as together:
            together.display = False  # until an editor is chosen that takes many
            yield Label("together with")
            yield ChoiceField((), placeholder="a file of records, written in the same edit", name="others")
        yield SettingsFields(each.settings for each in self._editors.values())
        yield Static(self.HINT, id="hint", markup=False)

    @on(Input.Changed, "#editor")
    def _show_together(self) -> None:
        """Several facts are for the editors that take them."""
        chosen = self._editors.get(self._field("editor").value.strip())
        if chosen is not None:
            self.query_one("#together").display = chosen.many

    def open(
        self, case: Case, traced: int | None, model: ModelInfo | None = None, problem: str = "", warning: str = ""
    ) -> None:
        """Show it; another case than last time fills it anew, and so does a layer that was not suggested yet.

        ``traced`` is where a trace of the case peaks. What was emptied is filled again, as it stands in the prompt. A
        ``warning`` stands before the keys.
        """
        self._model = model
        self.unfold(lambda: self._fill(case, traced, problem, warning))

    def defaults(self, chosen: Editor) -> Hints:
        """The layer or layers that it changes, and why, as far as there is room."""
        where = chosen.where(self._model) if self._model is not None else ""
        parts = where.split(", ")
        shorter = tuple(", ".join(parts[:number]) for number in range(len(parts), 0, -1))
        return dict.fromkeys(("layer", "layers"), shorter) if where else {}

    def _fill(self, case: Case, traced: int | None, problem: str, warning: str) -> None:
        is_measured = self._model is not None and known_layer(self._model) is not None
        suggested = None if is_measured else traced
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
        peak = f"the trace peaks at layer {traced}" if traced is not None else ""
        said = " · ".join(part for part in (f"! {warning}" if warning else "", peak) if part)
        self.say(problem, said)
        empty = [name for name in ("subject", "target") if not self._field(name).value]
        self._field(empty[0] if empty else "target").focus()

    def _asked(self) -> Submitted:
        assert self._case is not None, "it is open"
        name, suite = self._chosen(), self._field("suite").value.strip()
        given = {each: value if (value := self._field(each).value).strip() else None for each in ("subject", "target")}
        case, chosen = self._case.model_copy(update=given), self._editors[name]
        settings = filled(chosen.settings, self.query_one(SettingsFields).typed())
        attached = read_suite(written_path(suite)) if suite else None
        file = self._field("others").value.strip() if chosen.many else ""
        others = read_records(written_path(file)) if file else ()
        request = EditRequest(editor=name, case=case, others=others, settings=settings, suite=attached)
        chosen.check(request.cases, settings)
        return self.Submitted(request, self._case)


def _of_edit(case: Case) -> tuple[str, str | None, str | None]:
    return case.prompt, case.subject, case.target
