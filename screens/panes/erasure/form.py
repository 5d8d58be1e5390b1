"""The form of an erasure or of steering: which concept, by which editor, and its settings."""

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
from workbench.datasets.concepts import shipped_concepts
from workbench.editing.edit import EditRequest
from workbench.editing.editors import editors
from workbench.editing.editors.erasure.erasure import ErasureSettings, concept_of
from workbench.errors import InputError
from workbench.settings import filled

HINT = "enter erases · ↑ ↓ choose · esc closes · empty: the default"
READING = "reading the texts …"


class ErasureForm(Vertical):
    """Keeps what was typed for as long as the app runs. The settings are those that the chosen editor declares."""

    DEFAULT_CSS = """
    ErasureForm {
        height: auto; display: none; padding: 0 1; background: $surface;
        &.-open { display: block; }
        & Horizontal { height: 1; }
        & Horizontal Label { color: $foreground 60%; width: 9; }
        & Horizontal ChoiceField {
            width: 1fr; height: 1; border: none; padding: 0; margin: 0 1 0 0; background: $surface-lighten-2;
        }
        & Horizontal #concept { width: 2fr; }
        & SettingsFields { grid-columns: 8 1fr 8 1fr; }
        & ChoiceField:focus { background: $surface-lighten-3; }
        & #hint { height: auto; color: $foreground 60%; }
        & #hint.-problem { color: $text-error; }
    }
    """

    @dataclass
    class Submitted(Message):
        """The form is complete: this is what it asks, once the texts are read."""

        request: EditRequest

    def __init__(self) -> None:
        super().__init__()
        self._case: Case | None = None
        self._editors = {each.name: each for each in editors("concept")}

    def compose(self) -> ComposeResult:
        """The data and the editor, its settings, and a line that says what to do or what is wrong."""
        names = tuple(self._editors)
        with Horizontal():
            yield Label("concept")
            yield ChoiceField(shipped_concepts(), "pronoun-gender", "a set, or a file", "concept")
            yield Label("editor")
            yield ChoiceField(names, names[0], name="editor")
        yield SettingsFields((each.settings for each in self._editors.values()), but=("concept", "data"))
        yield Static(HINT, id="hint", markup=False)

    def on_mount(self) -> None:
        """Show the first editor's settings."""
        self._show_settings()

    @property
    def is_open(self) -> bool:
        """Whether it is shown."""
        return self.has_class("-open")

    def open(self, case: Case | None) -> None:
        """Show it. ``case`` is watched, where there is one."""
        self._case = case if case is not None and case.prompt.strip() else None
        self.say("")
        self.add_class("-open")
        self._field("concept").focus()

    def close(self) -> None:
        """Hide it; what was typed stays."""
        self.remove_class("-open")

    def say(self, problem: str, hint: str = HINT) -> None:
        """What is wrong, or what to do."""
        line = self.query_one("#hint", Static)
        line.update(f"✗ {problem}" if problem else hint)
        line.set_class(bool(problem), "-problem")

    @on(Input.Changed, "#editor")
    def _show_settings(self) -> None:
        chosen = self._editors.get(self._field("editor").value.strip())
        if chosen is not None:
            self.query_one(SettingsFields).show(chosen.settings)

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Ask for the erasure, or say what is wrong."""
        message.stop()
        try:
            request = self._request()
        except InputError as error:
            self.say(str(error))
        else:
            self.say("", READING)
            self.post_message(self.Submitted(request))

    def _request(self) -> EditRequest:
        """What the fields say. Raises `InputError`."""
        name = self._field("editor").value.strip()
        if name not in self._editors:
            raise InputError(f"there is no editor {name!r}; choose one of {', '.join(self._editors)}")
        typed = {**self.query_one(SettingsFields).typed(), **self._data()}
        settings = filled(self._editors[name].settings, typed)
        start = self._case.start if self._case else "as-is"
        return EditRequest(
            editor=name, case=self._case, settings=settings.model_copy(update={"start": start}), test=False
        )

    def _data(self) -> dict[str, str]:
        """A shipped set by its name; what looks like a path is one."""
        text = self._field("concept").value.strip()
        if text in shipped_concepts():
            return {"concept": text}
        if not any(sign in text for sign in "./\\"):
            named = ", ".join(shipped_concepts())
            raise InputError(f"there is no concept “{text}”; choose {named}, or name a file (.csv, .tsv, .jsonl)")
        return {"data": text}

    def _field(self, name: str) -> ChoiceField:
        return self.query_one(f"#{name}", ChoiceField)


def with_digest(request: EditRequest) -> EditRequest:
    """The request with the digest of its texts, which are read for it. Raises `InputError`."""
    settings = request.settings
    assert isinstance(settings, ErasureSettings)
    digest = concept_of(settings).digest
    return request.model_copy(update={"settings": settings.model_copy(update={"digest": digest})})
