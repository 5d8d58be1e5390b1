"""Choosing a model: those that are here or known, or a directory, a GGUF file or a hub id."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from screens.dialog import Dialog
from screens.widgets.options import Options
from workbench.models.store.catalog import list_models


class ModelsScreen(Dialog[str | None]):
    """Dismissed with what ``--model`` would take, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back", id="models.back", tooltip="Keep the model that is loaded"),
    ]

    DEFAULT_CSS = """
    ModelsScreen { align: center middle; }
    ModelsScreen > Vertical { width: 90%; max-width: 100; height: auto; max-height: 80%; border: round $border;
        background: $surface; padding: 0 1; }
    ModelsScreen OptionList { height: auto; max-height: 14; border: none; }
    """

    def __init__(self, loaded: str | None) -> None:
        super().__init__()
        self._loaded = loaded
        self._names: list[str] = []

    def compose(self) -> ComposeResult:
        """The list, and a field for anything else."""
        with Vertical() as box:
            box.border_title = "Load a model"
            yield Label("Enter loads, escape goes back.")
            yield Options(*self._options())
            yield Input(placeholder="or a directory, a GGUF file, a Hugging Face id (owner/name)")

    def on_mount(self) -> None:
        """Begin in the list."""
        self.query_one(OptionList).focus()

    def _options(self) -> list[Option]:
        options = []
        for model in list_models():
            mark = "●" if model.name == self._loaded else " "
            state = f"  {model.state}" + (f": {model.problem}" if model.problem else "")
            text = Text.assemble(f"{mark} ", (model.name, "bold"), (state, "dim"), no_wrap=True)
            options.append(Option(text))
            self._names.append(model.name)
        return options

    @on(OptionList.OptionSelected)
    def chosen(self, message: OptionList.OptionSelected) -> None:
        """One of the list."""
        self.dismiss(self._names[message.option_index])

    @on(Input.Submitted)
    def typed(self, message: Input.Submitted) -> None:
        """Something else."""
        if message.value.strip():
            self.dismiss(message.value.strip())
