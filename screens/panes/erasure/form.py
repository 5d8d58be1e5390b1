"""The form of an erasure or of steering: which concept, by which editor, and its settings."""

from __future__ import annotations

from dataclasses import dataclass

from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Label, Static

from screens.widgets.choice_field import ChoiceField
from screens.widgets.editor_form import EditorForm
from screens.widgets.settings_fields import SettingsFields
from workbench.case import Case
from workbench.datasets.concepts import shipped_concepts
from workbench.editing.edit import EditRequest
from workbench.editing.editors.erasure.erasure import ErasureSettings, concept_of
from workbench.errors import InputError
from workbench.settings import filled

READING = "reading the texts …"


class ErasureForm(EditorForm):
    """Keeps what was typed for as long as the app runs. The settings are those that the chosen editor declares."""

    OF = "concept"
    HINT = "enter erases · ↑ ↓ choose · esc closes · empty: the default"

    DEFAULT_CSS = """
    ErasureForm {
        & Horizontal Label { width: 9; }
        & Horizontal #concept { width: 2fr; }
        & SettingsFields { grid-columns: 8 1fr 8 1fr; }
    }
    """

    @dataclass
    class Submitted(Message):
        """The form is complete, and its texts are read: this is what it asks."""

        request: EditRequest

    def __init__(self) -> None:
        super().__init__()
        self._case: Case | None = None
        self._reading: EditRequest | None = None  # whose texts are being read

    def fields(self) -> ComposeResult:
        """The data and the editor, its settings, and a line that says what to do or what is wrong."""
        names = tuple(self._editors)
        with Horizontal():
            yield Label("concept")
            yield ChoiceField(shipped_concepts(), "pronoun-gender", "a set, or a file", "concept")
            yield Label("editor")
            yield ChoiceField(names, names[0], name="editor")
        yield SettingsFields((each.settings for each in self._editors.values()), but=("concept", "data"))
        yield Static(self.HINT, id="hint", markup=False)

    def open(self, case: Case | None) -> None:
        """Show it. ``case`` is watched, where there is one."""
        self._case = case if case is not None and case.prompt.strip() else None
        self.unfold(self._begin)

    def _begin(self) -> None:
        self.say("")
        self._field("concept").focus()

    def _asked(self) -> Submitted:
        name = self._chosen()
        settings = filled(self._editors[name].settings, {**self.query_one(SettingsFields).typed(), **self._data()})
        prepend = self._case.prepend if self._case else "as-is"
        settings = settings.model_copy(update={"prepend": prepend})
        return self.Submitted(EditRequest(editor=name, case=self._case, settings=settings, test=False))

    def send(self, asked: Message) -> None:
        """Read the texts first, before the model has to: what is wrong with them is said here."""
        assert isinstance(asked, self.Submitted)
        self.say("", READING)
        if self._reading is None:
            self._reading = asked.request
            self._read(asked.request)

    @work(thread=True)
    def _read(self, request: EditRequest) -> None:
        read: EditRequest | InputError
        try:
            read = with_digest(request)
        except InputError as error:
            read = error
        self.app.call_from_thread(self._texts_are_read, request, read)

    def _texts_are_read(self, request: EditRequest, read: EditRequest | InputError) -> None:
        if self._reading is not request:  # the form was left
            return
        self._reading = None
        if isinstance(read, InputError):
            self.say(str(read))
        else:
            self.post_message(self.Submitted(read))

    def close(self) -> None:
        """What is being read is not waited for."""
        self._reading = None
        super().close()

    def _data(self) -> dict[str, str]:
        """A shipped set by its name; what looks like a path is one."""
        text = self._field("concept").value.strip()
        if text in shipped_concepts():
            return {"concept": text}
        if not any(sign in text for sign in "./\\"):
            named = ", ".join(shipped_concepts())
            raise InputError(f"there is no concept “{text}”; choose {named}, or name a file (.csv, .tsv, .jsonl)")
        return {"data": text}


def with_digest(request: EditRequest) -> EditRequest:
    """The request with the digest of its texts, which are read for it. Raises `InputError`."""
    settings = request.settings
    assert isinstance(settings, ErasureSettings)
    digest = concept_of(settings).digest
    return request.model_copy(update={"settings": settings.model_copy(update={"digest": digest})})
