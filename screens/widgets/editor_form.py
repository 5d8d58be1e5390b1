"""What the forms of all editors share: which editor, the settings that it declares, and a line of help."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from textual import on
from textual.message import Message
from textual.widgets import Input

from screens.widgets.choice_field import ChoiceField
from screens.widgets.form import Form
from screens.widgets.settings_fields import Hints, SettingsFields
from workbench.editing.editor import Editor
from workbench.editing.editors import editors
from workbench.errors import InputError


class EditorForm(Form):
    """A form for the editors ``OF`` one kind. What was typed stays for as long as the app runs.

    Its fields are a `ChoiceField` named ``editor``, `SettingsFields` and a `Static` named ``hint``; it says in
    ``_asked`` what they ask.
    """

    OF: ClassVar[Literal["fact", "concept"]]

    def __init__(self) -> None:
        super().__init__()
        self._editors = {each.name: each for each in editors(self.OF)}

    def unfold(self, fill: Callable[[], None]) -> None:
        """Show it, with the chosen editor's settings."""

        def filled() -> None:
            self._show_settings()
            fill()

        super().unfold(filled)

    @on(Input.Changed, "#editor")
    def _show_settings(self) -> None:
        chosen = self._editors.get(self._field("editor").value.strip())
        if chosen is not None:
            self.query_one(SettingsFields).show(chosen.settings, defaults=self.defaults(chosen))

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Ask for what the fields say, or say what is wrong."""
        message.stop()
        try:
            asked = self._asked()
        except InputError as error:
            self.say(str(error))
        else:
            self.send(asked)

    def send(self, asked: Message) -> None:
        """Ask for it."""
        self.post_message(asked)

    def defaults(self, _chosen: Editor) -> Hints:
        """What an editor's empty fields come to, where its settings do not say it."""
        return {}

    def _asked(self) -> Message:
        """The message that asks for what the fields say. Raises `InputError`."""
        raise NotImplementedError

    def _chosen(self) -> str:
        """The name of an editor there is. Raises `InputError`."""
        name = self._field("editor").value.strip()
        if name not in self._editors:
            raise InputError(f"there is no editor {name!r}; choose one of {', '.join(self._editors)}")
        return name

    def _field(self, name: str) -> ChoiceField:
        return self.query_one(f"#{name}", ChoiceField)
