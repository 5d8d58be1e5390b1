"""Fields for the settings of an editor or a request, made of what its own fields say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from textual.containers import Container
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Label

from screens.widgets.choice_field import ChoiceField
from workbench.protocol import Frozen
from workbench.settings import Setting, settings_of

FLAG = ("yes", "no")

Hints = Mapping[str, tuple[str, ...]]
"""What empty fields come to: in full, and in a word."""

EMPTY: Hints = MappingProxyType({})

TWO_COLUMNS = 56
"""So many cells have room for two fields beside each other, with their names."""


class SettingsFields(Container):
    """A field for every setting of some models, of which those of one are shown.

    A field that is empty means the default, which stands in it dimmed; what a setting is stands in its tooltip. It is
    made when it is first shown or filled, and then keeps what was typed while others are shown.
    """

    DEFAULT_CSS = """
    SettingsFields {
        layout: grid; grid-size: 4; grid-columns: 13 1fr 13 1fr; grid-rows: 1; grid-gutter: 0 1;
        height: auto; max-height: 4; overflow-y: auto; scrollbar-size: 0 1; scrollbar-gutter: stable;
        & Label { color: $foreground 60%; width: 100%; }
        & ChoiceField { width: 100%; height: 1; border: none; padding: 0; background: $surface-lighten-2; }
        & ChoiceField.-wide { column-span: 3; }
        & ChoiceField:focus { background: $surface-lighten-3; }
        &.-one-column { grid-size: 2; grid-columns: 13 1fr; }
        &.-one-column ChoiceField.-wide { column-span: 1; }
    }
    """

    def __init__(self, models: Iterable[type[Frozen]], but: Collection[str] = ()) -> None:
        """``but`` are the names of settings that have fields elsewhere."""
        super().__init__()
        every = (setting for model in models for setting in settings_of(model))
        self._settings = {setting.name: setting for setting in every if setting.name not in but}
        self._lines = dict[str, tuple[Label, ChoiceField]]()

    def show(self, *models: type[Frozen], defaults: Hints = EMPTY) -> None:
        """Show the settings of these models only, with their own defaults, or with what is said here of them.

        Of a setting that several have, it is the first one's.
        """
        shown = {setting.name: setting for model in reversed(models) for setting in settings_of(model)}
        self._make(shown)
        for name, (label, field) in self._lines.items():
            setting = shown.get(name)
            label.display = field.display = setting is not None
            if setting is not None:
                field.hints = (setting.default,) if setting.default else defaults.get(name, ("default",))
                field.tooltip = Content(_explained(setting))
                field.choices = _choices(setting)

    def _make(self, names: Collection[str]) -> None:
        """Put a label and a field for each setting that has none between those that there are, in their order."""
        made: list[Widget] = []
        following: Widget | None = None
        for name, setting in reversed(self._settings.items()):
            if name in self._lines:
                self._mount(made, following)
                made, following = [], self._lines[name][0]
            elif name in names:
                self._lines[name] = _line(setting)
                made = [*self._lines[name], *made]
        self._mount(made, following)

    def _mount(self, made: list[Widget], before: Widget | None) -> None:
        if made:
            self.mount(*made, before=before)

    def on_mount(self) -> None:
        """Begin as there is room."""
        self.fit()

    def fit(self) -> None:
        """Take as many rows as there is room for on the screen; the others are scrolled to.

        One field in a row where names and values of two would be cut. Textual tells only what becomes larger or smaller
        that the screen has, hence the pane says so.
        """
        width, height = self.app.size
        self.set_class(width < TWO_COLUMNS, "-one-column")
        self.styles.max_height = max(2, min(8, height // 4 - 2))

    def field(self, name: str) -> ChoiceField:
        """The field of a setting."""
        if name not in self._lines:
            self._make({name})
            label, field = self._lines[name]
            label.display = field.display = False  # until it is shown
        return self._lines[name][1]

    def has(self, name: str) -> bool:
        """Whether there is a field for it."""
        return name in self._settings

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What there are fields for."""
        return tuple(self._settings.values())

    def typed(self) -> dict[str, str]:
        """What stands in the fields, for `workbench.settings.filled`, which takes those that are its model's."""
        return {name: self._typed(setting) for name, setting in self._settings.items()}

    def _typed(self, setting: Setting) -> str:
        text = self._lines[setting.name][1].value if setting.name in self._lines else ""
        return text.replace("−", "-") if setting.kind in ("number", "whole number") else text  # as it is shown


def _line(setting: Setting) -> tuple[Label, ChoiceField]:
    label = Label(setting.name.replace("_", " "))
    label.tooltip = Content(_explained(setting))
    wide = "-wide" if setting.kind == "prompt" else ""
    return label, ChoiceField(_choices(setting), name=setting.name, classes=wide)


def _choices(setting: Setting) -> tuple[str, ...]:
    return FLAG if setting.kind == "flag" else setting.choices


def _explained(setting: Setting) -> str:
    return setting.help + (f" ({setting.bounds})" if setting.bounds else "")
