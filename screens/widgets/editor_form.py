"""What the forms of all editors share: which editor, the settings that it declares, and a line of help."""

from __future__ import annotations

from typing import ClassVar, Literal

from textual import on
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from screens.widgets.choice_field import ChoiceField
from screens.widgets.settings_fields import SettingsFields
from workbench.editing.editors import editors
from workbench.errors import InputError


class EditorForm(Vertical):
    """A form for the editors ``OF`` one kind. What was typed stays for as long as the app runs.

    A form composes a `ChoiceField` named ``editor``, `SettingsFields` and a `Static` named ``hint``, and says in
    ``_asked`` what its fields ask.
    """

    OF: ClassVar[Literal["fact", "concept"]]
    HINT: ClassVar[str]

    DEFAULT_CSS = """
    EditorForm {
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

    def __init__(self) -> None:
        super().__init__()
        self._editors = {each.name: each for each in editors(self.OF)}

    def on_mount(self) -> None:
        """Show the first editor's settings."""
        self._show_settings()

    @property
    def is_open(self) -> bool:
        """Whether it is shown."""
        return self.has_class("-open")

    def close(self) -> None:
        """Hide it; what was typed stays."""
        self.remove_class("-open")

    def say(self, problem: str, hint: str = "") -> None:
        """What is wrong; or, by an empty ``problem``, what to do."""
        line = self.query_one("#hint", Static)
        line.update(f"✗ {problem}" if problem else hint or self.HINT)
        line.set_class(bool(problem), "-problem")

    @on(Input.Changed, "#editor")
    def _show_settings(self) -> None:
        chosen = self._editors.get(self._field("editor").value.strip())
        if chosen is not None:
            self.query_one(SettingsFields).show(chosen.settings)

    @on(Input.Submitted)
    def submit(self, message: Input.Submitted) -> None:
        """Ask for what the fields say, or say what is wrong."""
        message.stop()
        try:
            asked = self._asked()
        except InputError as error:
            self.say(str(error))
        else:
            self.post_message(asked)

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
