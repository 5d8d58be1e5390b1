"""The form of a sweep: which, over the records of which file, by which editors, and the settings of its request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label, Static

from screens.widgets.choice_field import ChoiceField
from screens.widgets.form import Form
from screens.widgets.settings_fields import SettingsFields
from workbench.editing.edit import WithSettings
from workbench.editing.editors import editors
from workbench.editing.methods import RECORDS
from workbench.errors import InputError
from workbench.shards import RecordsSweep
from workbench.sweeping.asked import SweepAsked, asked, settings_models, sweeps


class SweepForm(Form):
    """Shows the settings of the sweep and the editors that are named. What was typed stays while the app runs."""

    HINT = "enter asks · ↑ ↓ choose · esc closes · empty: the default"

    @dataclass
    class Submitted(Message):
        """These are asked, of so many workers."""

        requests: tuple[RecordsSweep, ...]
        workers: int

    @dataclass
    class Refused(Message):
        """Why nothing is asked."""

        why: str

    def __init__(self) -> None:
        super().__init__()
        self._editors = {each.name: each.settings for each in editors("fact")}
        self._sweeps = sweeps()

    def fields(self) -> ComposeResult:
        """Which sweep and file, which editors, how; and a line that says what to do or what is wrong."""
        with Horizontal():
            yield Label("sweep")
            yield ChoiceField(tuple(self._sweeps), RECORDS.kind, name="sweep")
            yield Label("editors", id="by")
            yield ChoiceField((*self._editors, "all"), next(iter(self._editors)), name="editors")
        with Horizontal():
            yield Label("file")
            yield ChoiceField((), name="file")
        requests = (each.request for each in self._sweeps.values())
        yield SettingsFields((SweepAsked, RECORDS.request, *self._editors.values(), *requests), but=("file",))
        yield Static(self.HINT, id="hint", markup=False)

    def open(self) -> None:
        """Show it, with the keyboard in what must be typed."""
        self.unfold(self._fill)

    def _fill(self) -> None:
        self._show_settings()
        self.say("")
        self._field("file").focus()

    @on(Input.Changed, "#sweep")
    @on(Input.Changed, "#editors")
    def _show_settings(self) -> None:
        """Those of what is named, once that is the name of something."""
        kind = self._value("sweep")
        if kind not in self._sweeps:
            return
        request = self._sweeps[kind].request
        has_editors = issubclass(request, WithSettings)
        assert issubclass(request, RecordsSweep)
        self._field("editors").display = self.query_one("#by").display = has_editors
        self._field("file").hints = (f"a file of {request.OVER}, one JSON object a line", request.OVER)
        try:
            models = settings_models(kind, self._value("editors"))
        except InputError:
            return
        self.query_one(SettingsFields).show(*models)

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Read the file, and ask; or say what is wrong."""
        message.stop()
        typed = {**self.query_one(SettingsFields).typed(), "file": self._value("file")}
        self.say("", "reading …")
        self._read(self._value("sweep"), self._value("editors"), typed)

    @work(thread=True, exclusive=True)
    def _read(self, kind: str, by: str, typed: Mapping[str, str]) -> None:
        """On a thread: a file may be long."""
        try:
            found = asked(kind, by, typed)
        except InputError as error:
            self.post_message(self.Refused(str(error)))
        else:
            self.post_message(self.Submitted(*found))

    @on(Refused)
    def _say_why(self, message: Refused) -> None:
        message.stop()
        self.say(message.why)

    def _value(self, name: str) -> str:
        return self._field(name).value.strip()

    def _field(self, name: str) -> ChoiceField:
        return self.query_one(f"#{name}", ChoiceField)
